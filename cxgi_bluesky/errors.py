"""The errors of the project.

Every error that a user can cause or mend is a `CxgiError` whose message names the offending value and the remedy. Its
class tells the kind. The command line prints it in one line; anything else is a defect.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

MAX_CHARACTERS = 1500  # characters: a damaged file may have any number of them in a value


class CxgiError(Exception):
    """Something the user asked for cannot be done; the message says what and how to mend it."""

    def __init__(self, message: object = "") -> None:
        text = str(message)
        super().__init__(text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]} ...")


class ConfigError(CxgiError, ValueError):
    """An argument, option or configuration that cannot be used."""


class FileFormatError(CxgiError, ValueError):
    """A file that is not what it should be."""


class MeasurementError(CxgiError, ValueError):
    """Data that cannot make what was asked for."""


class ScanError(CxgiError, RuntimeError):
    """A device that failed, a position that was not reached, a budget that is spent."""


class StorageError(CxgiError):
    """A catalog, journal or folder that cannot be read or written."""


def check_choice(
    what: str, value: object, choices: Collection[str], *, kind: type[CxgiError] = ConfigError, more: str = ""
) -> None:
    """Raise an error that names the choices unless the value is one of them.

    Parameters
    ----------
    what : str
        What is chosen, for the message.
    value : object
        What was given.
    choices : collection of str
        All that there are.
    kind : type, optional
        Of the error; `ConfigError` by default.
    more : str, optional
        What else may be done, such as ", or leave it out".
    """
    if value not in choices:
        raise kind(f"{what} {value!r} is unknown: choose one of {', '.join(choices)}{more}")


def suggest_name(name: str, known: Iterable[str], otherwise: str) -> str:
    """What to try instead of an unknown name: "did you mean NAME?", or something else where none is near.

    Parameters
    ----------
    name : str
    known : iterable of str
        Names that there are.
    otherwise : str
    """
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else otherwise


# ---------------------------------------------------------------- optional packages

EXTRAS = {
    "aioca": "ophyd-async",
    "caproto": "epics",
    "epics": "epics",
    "ophyd_async": "ophyd-async",
    "spekpy": "spectra",
    "IPython": "session",
    "zmq": "zmq",
    "distributed": "cluster",
    "p4p": "pva",
}


def missing_extra(error: BaseException) -> CxgiError | None:
    """The error to show for an import that failed, if an extra brings the package; None for all others."""
    package = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ImportError) or package not in EXTRAS:
        return None
    return ConfigError(f"{package} is not installed: pip install 'cxgi_bluesky[{EXTRAS[package]}]'")


@contextmanager
def name_missing_extra() -> Iterator[None]:
    """An import that fails for want of an extra names it.

    Raises
    ------
    CxgiError
        With the command that installs it.
    """
    try:
        yield
    except ImportError as error:
        if (missing := missing_extra(error)) is not None:
            raise missing from error
        raise
