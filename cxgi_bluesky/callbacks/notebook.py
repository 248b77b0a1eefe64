"""A picture in the output of a notebook's cell, that is renewed while the cell runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

_after_cells: list[Callable[[Any], None]] = []  # the function that is called now, if there is one


def find_shell() -> Any:
    """Find the IPython shell of this process; None where there is none."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def in_notebook() -> bool:
    """Return whether what is displayed goes to a notebook, or another client of a Jupyter kernel."""
    return hasattr(find_shell(), "kernel")


def show_png(png: bytes, text: str, name: str, *, renew: bool) -> None:
    """Show a picture in the output of the cell that runs, from any thread, or renew it where it was shown.

    Parameters
    ----------
    png : bytes
    text : str
        What stands there where no pictures can be shown.
    name : str
        Under which it is renewed.
    renew : bool
        Whether it has been shown before.
    """
    from IPython.display import display

    display({"image/png": png, "text/plain": text}, raw=True, display_id=name, update=renew)


def call_after_cells(function: Callable[[], None]) -> None:
    """Have a function called at the end of each cell, in place of the one before."""
    events = find_shell().events
    while _after_cells:
        events.unregister("post_run_cell", _after_cells.pop())

    def call(_: Any) -> None:
        function()

    events.register("post_run_cell", call)
    _after_cells.append(call)
