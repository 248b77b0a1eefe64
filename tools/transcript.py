"""Renew docs/tutorials/at-the-terminal.md: what a new user types at a terminal, and what is printed.

    python -m tools.transcript docs/tutorials/at-the-terminal.md

Needs tmux. The keys are typed in a real terminal, in the folder of the repository, as a user with an empty home. It
takes two minutes and leaves its files in demo-output. The picture beside the page is that of the demo.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

COLUMNS, ROWS = 110, 45
PROMPT = re.compile(r"^(\$|In \[\d+\]:)$")
LONGEST_S = 600.0
HOME = "/home/you"  # in the page
DRAWING = (
    "from PIL import Image, ImageDraw; i = Image.new('L', (256, 256)); d = ImageDraw.Draw(i); "
    "d.ellipse((40, 40, 216, 216), 255); d.text((55, 60), 'Me', 0, font_size=110); i.save('demo-output/mine.png')"
)

TITLE = """# At the terminal: from the demo to an image of your own

A session of a new user, typed at a terminal in a checkout and recorded (`python -m tools.transcript` types it again).
Lines that begin with `$`, or `In [1]:` in IPython, are what was typed. A simulated beamline is behind it all.
"""

STEPS: tuple[tuple[str, Sequence[str]], ...] = (
    (
        "## The demo\n\nIt scans, stores, reconstructs with every method, and compares with the truth. "
        "In a new checkout `make` first sets up `.venv`, which takes some minutes.",
        ["make demo"],
    ),
    (
        "D_r is the share of the light that the metal of the masks takes away, CNR the contrast of the object over the "
        "noise of the image. The images are in `demo-output`; `overview.png` shows all. The scan and its images are in "
        "the catalog:",
        ["source .venv/bin/activate", "cxgi runs"],
    ),
    (
        "## A picture of your own\n\nAny square grey picture can be the object: white passes all light, black none. "
        "Here one is drawn: a disc with two letters.",
        [f'python -c "{DRAWING}"', "cxgi demo --object demo-output/mine.png --out demo-output/mine"],
    ),
    (
        "![The drawing, and its images by five methods](at-the-terminal.png)\n\n*`overview.png` of that scan.*\n\n"
        "## The same by hand\n\n`cxgi session` is IPython with the beamline in it. "
        "It says what there is, and what to type first.",
        ["cxgi session --object demo-output/mine.png"],
    ),
    ("One scan with 10 % of the patterns, two seconds each, and its image:", ["RE(scan(0.1, exposure_s=2))"]),
    ("", ['image = reconstruct(method="ch-mwcnn")', "image", 'image.save("demo-output/by-hand.png")', "exit"]),
    (
        "## Where it all is\n\nScans and images, of the demo and of the session, are in one catalog. "
        "The last line makes a file for somebody who has none.",
        ["cxgi runs --last 3", "cxgi export last --format png --out demo-output/for-anna"],
    ),
)

END = """## Go on

[Your first ghost image](your-first-ghost-image.ipynb) has the pictures of such a session,
[a first session](first-session.md) more words,
[work at the console](../how-to/work-at-the-console.md) all that the console can do.
"""


class Terminal:
    """A terminal in which keys are typed."""

    def __init__(self, home: str) -> None:
        self._server = ["tmux", "-L", f"cxgi-{os.getpid()}", "-f", "/dev/null"]
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        given = {**kept, "HOME": home, "PS1": "$ ", "LANG": "C.UTF-8", "VIRTUAL_ENV_DISABLE_PROMPT": "1"}
        shell = ["env", "-i", *(f"{name}={value}" for name, value in given.items()), "TERM=screen", "bash", "--norc"]
        size = ["-x", str(COLUMNS), "-y", str(ROWS)]
        self._tmux(
            "start-server", ";", "set-option", "-g", "history-limit", "50000", ";", "new-session", "-d", *size, *shell
        )
        self._home = home
        self._wait(0)

    def type(self, keys: str) -> str:
        """Type a line, wait for the next prompt, and return what the terminal shows of both."""
        seen = len(self._lines()) - 1
        self._tmux("send-keys", "-l", keys)
        time.sleep(0.5)
        self._tmux("send-keys", "Enter")
        self._wait(seen)
        return "\n".join(self._lines()[seen:-1]).rstrip().replace(self._home, HOME)

    def close(self) -> None:
        """End the terminal and what runs in it."""
        self._tmux("kill-server")

    def _wait(self, seen: int) -> None:
        """Wait for a prompt below the lines that were there, twice the same."""
        end, before = time.monotonic() + LONGEST_S, [""]
        while time.monotonic() < end:
            time.sleep(1)
            lines = self._lines()
            if len(lines) > seen + 1 - (seen == 0) and PROMPT.match(lines[-1]) and lines == before:
                return
            before = lines
        raise SystemExit(f"no prompt after {LONGEST_S:g} s:\n" + "\n".join(self._lines()))

    def _lines(self) -> list[str]:
        shown = self._tmux("capture-pane", "-p", "-J", "-S", "-").rstrip()
        return [line.rstrip() for line in shown.splitlines()] or [""]

    def _tmux(self, *words: str) -> str:
        return subprocess.run([*self._server, *words], check=True, capture_output=True, text=True).stdout


def main(page: Path) -> None:
    """Type everything and write the page."""
    parts = [TITLE]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:  # what ends may still write
        terminal = Terminal(home)
        try:
            for text, lines in STEPS:
                shown = "\n".join(terminal.type(line) for line in lines)
                parts.append(f"{text}\n\n```text\n{shown}\n```\n".lstrip())
        finally:
            terminal.close()
    Image.open("demo-output/mine/overview.png").convert("RGB").quantize(64).save(
        page.with_suffix(".png"), optimize=True
    )
    page.write_text("\n".join([*parts, END]), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
