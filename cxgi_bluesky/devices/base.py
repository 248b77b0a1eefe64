"""Short names and labels of devices."""

from __future__ import annotations

from typing import Any, ClassVar


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
