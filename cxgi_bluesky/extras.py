"""Optional packages: what lacks one says which extra brings it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import CxgiError

EXTRAS = {"caproto": "epics", "epics": "epics", "spekpy": "spectra", "IPython": "session"}


def missing_extra(error: BaseException) -> CxgiError | None:
    """The error to show for an import that failed, if an extra brings the package; None for all others."""
    package = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ImportError) or package not in EXTRAS:
        return None
    return CxgiError(f"{package} is not installed: pip install 'cxgi_bluesky[{EXTRAS[package]}]'")


@contextmanager
def extras_named() -> Iterator[None]:
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
