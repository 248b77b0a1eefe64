"""YAML files: plain data alone, each key once (of two, the first would be lost silently); what is wrong with values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import yaml

from ..errors import CxgiError, FileFormatError

if TYPE_CHECKING:
    from pydantic import ValidationError

MAX_BYTES = 1_000_000
MAX_VALUES = 1_000_000  # with aliases written out


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, as yaml makes it; a key that occurs twice is a `yaml.YAMLError`.

        Parameters
        ----------
        node : yaml.MappingNode
            The mapping as it was parsed.
        deep : bool, optional
            Whether what lies in it is made at once; False by default.
        """
        counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        twice = next((key for key, count in counts.items() if count > 1), None)
        if twice is not None:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"{twice} stands twice in the part that begins in line {line}: keep one of them")
        return super().construct_mapping(node, deep)


def read_yaml_file(path: str | Path, what: str) -> Any:
    """Plain data of a YAML file.

    Parameters
    ----------
    path : str or Path
        A file of `MAX_BYTES` at most.
    what : str
        Kind of file, for messages.

    Raises
    ------
    CxgiError
        If it cannot be read or is no YAML; for a key that occurs twice in one mapping; and for a file that is too
        large, nested too deeply, or would become too large by its aliases.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise FileFormatError(f"{what} {path} has more than {MAX_BYTES} bytes: is it another file?")
        return load_yaml(content.decode("utf-8"))
    except CxgiError:
        raise
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
        raise FileFormatError(f"{what} {path} cannot be read ({' '.join(str(error).split())})") from error


def load_yaml(text: str) -> Any:
    """Plain data of a YAML text.

    Raises
    ------
    yaml.YAMLError
        For what is no YAML, a key that occurs twice in one mapping, and what is nested too deeply or too large.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _count_values(node, {}) > MAX_VALUES:
            raise yaml.YAMLError(f"its aliases make more than {MAX_VALUES} values of it: write the values themselves")
        return loader.construct_document(node)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply: write it flatter") from None
    finally:
        loader.dispose()


def _count_values(node: yaml.Node, counted: dict[int, int]) -> int:
    """Values below a node, those behind an alias as often as they are named."""
    if id(node) not in counted:
        counted[id(node)] = MAX_VALUES  # an alias of what it stands in has no end
        parts = node.value if isinstance(node, yaml.SequenceNode | yaml.MappingNode) else []
        below = [part for item in parts for part in (item if isinstance(item, tuple) else (item,))]
        counted[id(node)] = 1 + sum(_count_values(part, counted) for part in below)
    return counted[id(node)]


# ---------------------------------------------------------------- values of a model

_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden", "invalid_key")


def name_first_error(error: ValidationError, model: type, wanted: Mapping[Any, str]) -> str:
    """Describe the first error in the values of a YAML file, an unknown key before all others.

    Validators raise `CxgiError` with the whole text, or ValueError with the value and a remedy, before which the key
    is put.

    Parameters
    ----------
    error : pydantic.ValidationError
    model : type
        Dataclass of the values; its parts may be dataclasses, too.
    wanted : mapping of type to str
        What to give for each type that a field has.

    Returns
    -------
    str
        Such as "steps 0: give at least 1".
    """
    first = min(error.errors(include_url=False), key=lambda one: one["type"] not in _UNKNOWN)
    value, details, location = first["input"], first.get("ctx", {}), first["loc"]
    of_a_key = location[-1:] == ("[key]",)
    key, kind = "", model
    for part in location[:-2] if of_a_key else location[:-1] if first["type"] == "missing" else location:
        if is_dataclass(kind):
            key, fields = f"{key}.{part}" if key else str(part), get_type_hints(kind)
            if part not in fields:
                return f"{key} is unknown: choose of {', '.join(sorted(fields))}"
            kind = fields[str(part)]
        elif get_origin(kind) is dict:
            key, kind = f"{key}[{part}]", get_args(kind)[1]
        else:
            kind = get_args(kind)[int(part)]
    if of_a_key:
        key, kind = f"{key} key", get_args(kind)[0]
    if first["type"] == "value_error":
        return str(details["error"]) if isinstance(details["error"], CxgiError) else f"{key} {details['error']}"
    if first["type"] == "dataclass_type":
        return f"{key or 'the file'} is {value!r}: give names with values"
    for name, bound in (("ge", "at least"), ("le", "at most")):
        if name in details:
            return f"{key} {kind(value)}: give {bound} {details[name]:{'g' if kind is float else ''}}"
    if kind is float and isinstance(value, str) and (numbers := _exponent_in_yaml(value)):
        return f"{key} {value!r} is a word to YAML: write {numbers}"
    return f"{key} {list(value) if isinstance(value, tuple) else value!r}: give {wanted[kind]}"


def _exponent_in_yaml(text: str) -> str:
    """A number such as 1e-3 as YAML wants it, with a point and a sign; "" if the text is no such number."""
    mantissa, _, exponent = text.lower().partition("e")
    try:
        number, signed = float(text), f"{float(mantissa)}e{int(exponent):+d}"
    except ValueError:
        return ""
    plain = repr(number)
    return signed if "e" in plain or not math.isfinite(number) else f"{plain} or {signed}"
