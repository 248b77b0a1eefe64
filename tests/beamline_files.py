"""Beamline files that tests change."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cxgi_bluesky.devices.config.load import example_path

GONE = object()  # a key that a test takes out


def changed_content(changes: Mapping[str, Any], example: str = "ioc") -> dict[str, Any]:
    """Content of an example with some keys, named by dots, changed or taken out."""
    content = copy.deepcopy(yaml.safe_load(example_path(example).read_text(encoding="utf-8")))
    for path, value in changes.items():
        *blocks, key = path.split(".")
        block = content
        for name in blocks:
            block = block[name]
        if value is GONE:
            del block[key]
        else:
            block[key] = value
    return content


def changed_file(folder: Path, changes: Mapping[str, Any], example: str = "ioc") -> Path:
    """The same, written into a folder."""
    file = folder / "beamline.yml"
    file.write_text(yaml.safe_dump(changed_content(changes, example)), encoding="utf-8")
    return file
