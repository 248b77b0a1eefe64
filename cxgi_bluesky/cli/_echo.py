"""What a command prints for people: plain lines into files and pipes; at a terminal few colours, and what is left."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TextIO

if TYPE_CHECKING:
    from rich.console import Console

    from ._progress import Step

STYLES = {"WARNING": "bold red", "CAUTION": "yellow", "NOTE": "yellow"}  # by the first word of a line
ANY_WIDTH = 10_000  # columns of a file: nothing is wrapped or cut
MIN_LAST = 16  # columns of the last one of a table: where there are fewer, the terminal wraps its lines


class Echo:
    """Prints lines, tables and progress; nothing with ``--json``, and no more than was asked for with ``--quiet``.

    Parameters
    ----------
    json : bool, optional
        Standard output belongs to the JSON.
    quiet : bool, optional
        Neither notes nor progress: results and warnings alone.

    Attributes
    ----------
    json, quiet : bool
    """

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json, self.quiet = json, quiet
        self._progress: Console | None = None  # the terminal while a line of progress is on it

    def __call__(self, text: str, style: str = "") -> None:
        """Print lines of the result.

        Parameters
        ----------
        text : str
            A line without its end, or several. One that begins with WARNING, CAUTION or NOTE stands out.
        style : str, optional
            At a terminal, in rich's words such as "bold" (default: plain).
        """
        if self.json:
            return
        console = self._terminal()
        for line in printable(text).split("\n"):
            if console is None:
                print(line, flush=True)
                continue
            from rich.text import Text

            console.print(Text(line, style or STYLES.get(line.partition(":")[0], "")), soft_wrap=True)

    def _terminal(self) -> Console | None:
        """The terminal that lines go to: above the progress, if there is some."""
        console = _console(sys.stdout)
        return console and (self._progress or console)

    def note(self, text: str) -> None:
        """Print what is being done or where it lies: nothing that anybody has asked for.

        Parameters
        ----------
        text : str
            A line.
        """
        if not self.quiet:
            self(text)

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        right: Sequence[int] = (),
        styles: Sequence[str] = (),
    ) -> None:
        """Print a table without lines; in files and pipes a row is a line, whatever its length.

        Parameters
        ----------
        columns : sequence of str
            Their titles; none: no titles.
        rows : sequence of sequences of str
            At a terminal that is too narrow the last column is wrapped, never cut.
        right : sequence of int, optional
            Columns that are aligned to the right, counted from 0.
        styles : sequence of str, optional
            Of the rows at a terminal, as in `__call__` (default: all plain).
        """
        if self.json or not rows:
            return
        from rich.cells import cell_len
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        cells = [[printable(cell).replace("\n", " ") for cell in row] for row in rows]
        widths = [max(map(cell_len, column)) for column in zip(*([columns] if columns else []), *cells, strict=True)]
        console = _console(sys.stdout) or Console(
            file=sys.stdout, color_system=None, force_terminal=False, width=ANY_WIDTH
        )
        if sum(widths[:-1]) + 2 * len(widths[:-1]) + MIN_LAST > console.width:
            console = Console(file=sys.stdout, width=ANY_WIDTH)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(columns), header_style="dim")
        for number in range(len(widths)):
            side: Literal["left", "right"] = "right" if number in right else "left"
            title = Text(columns[number] if columns else "")
            table.add_column(title, justify=side, no_wrap=number < len(widths) - 1, overflow="fold")
        for number, row in enumerate(cells):
            table.add_row(*map(Text, row), style=styles[number] if styles else None)
        with console.capture() as printed:
            console.print(table)
        terminal = self._terminal()
        for line in printed.get().splitlines():
            if terminal is None:
                print(line.rstrip(), flush=True)
            else:
                terminal.print(Text.from_ansi(line), soft_wrap=True)

    @contextmanager
    def working(self, what: str, total: int | None = None) -> Iterator[Step]:
        """Show at a terminal what is being done and how long it still takes; it leaves nothing behind.

        Parameters
        ----------
        what : str
            Such as "opening the catalog": also the name under which its duration is remembered for the next time.
        total : int, optional
            Number of equal parts, which `Step.advance` counts (default: it is one).
        """
        from ._progress import Step, show_progress

        console = None if self.quiet else _console(sys.stderr)
        if console is None:
            yield Step()
            return
        with show_progress(console, printable(what), total) as step:
            self._progress = console
            try:
                yield step
            finally:
                self._progress = None


def printable(text: str) -> str:
    """Escape what a terminal would obey: metadata of others may hold such characters."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def print_error(text: str) -> None:
    """Print the line with which a command ends that cannot do what it was asked for."""
    console = _console(sys.stderr)
    if console is None:
        print(f"cxgi: {printable(text)}", file=sys.stderr)
        return
    from rich.text import Text

    console.print(Text.assemble(("cxgi:", "bold red"), " ", printable(text)), soft_wrap=True)


def _console(stream: TextIO) -> Console | None:
    """The terminal behind a stream; None for files and pipes, for which rich is not even loaded."""
    if not stream.isatty():
        return None
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False)


def fit_to_terminal() -> None:
    """Escape what a stream cannot encode, and use plain ASCII at a terminal whose locale is C."""
    locale = os.environ.get("LC_ALL") or os.environ.get("LANG")  # LC_CTYPE is set by Python itself (PEP 538)
    for stream in (sys.stdout, sys.stderr):
        options: dict[str, Any] = {"encoding": "ascii"} if locale in ("C", "POSIX") and stream.isatty() else {}
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace", **options)
