"""Commands at a terminal of their own (a pty)."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pexpect

from tests.patience import PATIENCE_S

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*3[0-8](?:;\d+)*m")
WITHOUT = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LC_ALL", "LC_CTYPE", "LANG")


def run_at_terminal(words: list[str], *, columns: int = 100, **environment: str) -> tuple[str, int]:
    """Run a command; returns all that it has written to the terminal, and its exit status."""
    kept = {name: value for name, value in os.environ.items() if name not in WITHOUT}
    child = pexpect.spawn(
        words[0], words[1:], dimensions=(40, columns), timeout=PATIENCE_S, encoding="utf-8",
        env={**kept, "TERM": "xterm-256color", "LANG": "C.UTF-8", **environment},
    )  # fmt: skip
    child.expect(pexpect.EOF)
    child.close()
    return child.before.replace("\r\n", "\n"), child.exitstatus


def cxgi_at_terminal(*arguments: str, data: Path, columns: int = 100, **environment: str) -> tuple[str, int]:
    """Run cxgi with a data folder."""
    words = [sys.executable, "-m", "cxgi_bluesky.cli", *arguments]
    return run_at_terminal(words, columns=columns, CXGI_DATA=str(data), **environment)


def without_escapes(text: str) -> str:
    """What is there to read, lines that were wiped out too."""
    return ESCAPE.sub("", text)
