"""Settings of devices in the descriptors' `configuration`, where NeXus writers and people look for them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ophyd import Kind

logger = logging.getLogger(__name__)

Settings = dict[str, tuple[Any, str]]  # value and unit by name; None: not known, left out
Documents = tuple[dict[str, Any], dict[str, Any]]  # readings and their descriptions


class Configured:
    """Mixed into a Device, before it: `settings` are its configuration, beside what its parts have.

    It is read once for each stream of a run. What cannot be read is left out and said, and ends no scan.
    """

    name: str
    _described: Documents | None = None

    def settings(self) -> Settings:
        """What it was made with: plain values by their names, with units."""
        return {}

    def configured_parts(self) -> Iterator[Any]:
        """Parts whose configuration belongs to this one's."""
        for _, part in self._get_components_of_kind(Kind.config):  # type: ignore[attr-defined]
            yield part

    def describe_configuration(self) -> dict[str, Any]:
        """Descriptions with types and units, of what the next `read_configuration` gives."""
        self._described = self._configuration()
        return self._described[1]

    def read_configuration(self) -> dict[str, Any]:
        """Settings, and what the parts have."""
        described, self._described = self._described, None
        return (described or self._configuration())[0]

    def _configuration(self) -> Documents:
        readings: dict[str, Any] = {}
        keys: dict[str, Any] = {}
        for part in self.configured_parts():
            try:
                read, described = part.read_configuration(), part.describe_configuration()
            except Exception as error:
                logger.warning("%s: a setting is not in the run: %s (%s)", self.name, part.name, error)
            else:
                readings, keys = {**readings, **read}, {**keys, **described}
        own = {f"{self.name}_{key}": setting for key, setting in self.settings().items() if setting[0] is not None}
        now = time.time()
        readings |= {key: {"value": _plain(value), "timestamp": now} for key, (value, _) in own.items()}
        keys |= {key: _describe(key, _plain(value), unit) for key, (value, unit) in own.items()}
        return readings, keys


def prefix(word: str, settings: Mapping[str, tuple[Any, str]]) -> Settings:
    """The settings of a part of a device, by names that begin with it."""
    return {f"{word}_{key}": setting for key, setting in settings.items()}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _describe(key: str, value: Any, unit: str) -> dict[str, Any]:
    shape = [len(value)] if isinstance(value, list) else []
    return {"source": f"SETTING:{key}", "dtype": _type_of(value), "shape": shape, "units": unit}


def _type_of(value: Any) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return kinds[type(value)]
