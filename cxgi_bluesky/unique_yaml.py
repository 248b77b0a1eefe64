"""YAML in which a key stands once: of two, the first would be lost without a word. Only plain data is made of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        twice = next((key for key, count in counts.items() if count > 1), None)
        if twice is not None:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"{twice} stands twice in the part that begins in line {line}: keep one of them")
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> Any:
    """Plain data of a YAML text.

    Raises
    ------
    yaml.YAMLError
        For what is no YAML, and for a key that stands twice in one mapping.
    """
    return _Loader(text).get_single_data()
