"""What all devices share: short names and labels, and their settings in the descriptors' `configuration`."""

from __future__ import annotations

import logging
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from ophyd import Kind

from ..measurement.plain_values import plain_or_text

TWO_LINES = textwrap.TextWrapper(100, initial_indent="  ", subsequent_indent="    ", max_lines=2, placeholder=" ...")


class Named:
    """A device that is shown by its class and name, with ophyd's labels (``%wa``, ``%ct``) from its class.

    ophyd shows every argument of every part. Each status that a device gives shows the device once, and that took a
    fifth of the time of an exposure.
    """

    name: str
    kind_labels: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("labels", set(self.kind_labels))
        super().__init__(*args, **kwargs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"

    __str__ = __repr__

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show in IPython what it reads now and how it is set, in five lines at most."""
        lines = [f"{self.name}: {type(self).__name__}"]
        for ask in (self._describe_reading, self._describe_settings):
            try:
                lines += TWO_LINES.wrap(", ".join(ask()))
            except Exception as error:  # whatever hardware that is away raises
                lines.append(f"  cannot be read ({type(error).__name__}: {error})")
        printer.text("\n".join(lines))

    def _describe_reading(self) -> list[str]:
        units = {key: about.get("units") for key, about in self.describe().items()}  # type: ignore[attr-defined]
        values = {key: reading["value"] for key, reading in self.read().items()}  # type: ignore[attr-defined]
        return [
            _describe_value(key.removeprefix(f"{self.name}_"), value, units.get(key))
            for key, value in values.items()
            if not key.endswith("_setpoint")
        ]

    def _describe_settings(self) -> list[str]:
        settings: Settings = self.settings() if isinstance(self, Configured) else {}
        known = ((key, value, unit) for key, (value, unit) in settings.items() if value is not None)
        return [_describe_value(key, value, unit) for key, value, unit in known if not key.endswith("sha256")]


# ---------------------------------------------------------------- configuration


logger = logging.getLogger(__name__)

Settings = dict[str, tuple[Any, str]]  # value and unit by name; None: not known, left out


class Configured:
    """Mixed into a Device, before it: `settings` are its configuration, beside what its parts have.

    It is read once for each stream of a run. What cannot be read is left out with a warning, and ends no scan.
    """

    name: str
    _unread: frozenset[str] = frozenset()  # parts that could not be read, for which there was a warning

    def settings(self) -> Settings:
        """What it was made with: plain values by their names, with units."""
        return {}

    def list_configured_parts(self) -> Iterator[Any]:
        """Parts whose configuration belongs to this one's."""
        for _, part in self._get_components_of_kind(Kind.config):  # type: ignore[attr-defined]
            yield part

    def read_configuration(self) -> dict[str, Any]:
        """Settings, and what the parts have."""
        now = time.time()
        own = {key: {"value": value, "timestamp": now} for key, value, _ in self._own_settings()}
        return {**self._of_parts(lambda part: part.read_configuration()), **own}

    def describe_configuration(self) -> dict[str, Any]:
        """Their types and units."""
        own = {key: _describe(key, value, unit) for key, value, unit in self._own_settings()}
        return {**self._of_parts(lambda part: part.describe_configuration()), **own}

    def _own_settings(self) -> Iterator[tuple[str, Any, str]]:
        for key, (value, unit) in self.settings().items():
            if value is not None:
                yield f"{self.name}_{key}", _plain(value), unit

    def _of_parts(self, ask: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for part in self.list_configured_parts():
            try:
                found |= ask(part)
            except Exception as error:
                if part.name not in self._unread:
                    logger.warning("%s: a setting is not in the run: %s (%s)", self.name, part.name, error)
                self._unread |= {part.name}
            else:
                self._unread -= {part.name}
        return found


def prefix(part: str, settings: Mapping[str, tuple[Any, str]]) -> Settings:
    """The settings of a part of a device, by names that begin with it.

    Parameters
    ----------
    part : str
        Name of the part.
    settings : mapping of str to (value, unit)
        Of the part.

    Returns
    -------
    dict of str to (value, unit)
        By PART_NAME.
    """
    return {f"{part}_{key}": setting for key, setting in settings.items()}


def _describe_value(key: str, value: Any, unit: str | None) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    shown = unit if unit and not key.lower().endswith(f"_{unit.lower()}") else None
    return " ".join(filter(None, (key, text, shown)))


def _plain(value: Any) -> Any:
    plain, _ = plain_or_text(value, "setting")
    return list(plain) if isinstance(plain, tuple) else plain


def _describe(key: str, value: Any, unit: str) -> dict[str, Any]:
    shape = [len(value)] if isinstance(value, list) else []
    return {"source": f"SETTING:{key}", "dtype": _type_of(value), "shape": shape, "units": unit}


def _type_of(value: Any) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return kinds[type(value)]
