"""Short names of devices."""

from __future__ import annotations


class Named:
    """A device that is shown by its class and name.

    ophyd shows every argument of every part. Each status that a device gives shows the device once, and that took a
    fifth of the time of an exposure.
    """

    name: str

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"

    __str__ = __repr__
