"""Symbolic links, looked for where nothing may be read through one."""

from __future__ import annotations

import os
from pathlib import Path


def find_link(path: Path, *, below: Path) -> Path | None:
    """Find a symbolic link on the way to a path or, if that is a folder, in it; None if there is none.

    Parameters
    ----------
    path : Path
        Absolute; one that is not below the folder is taken for a link, as is one with ``..`` in it.
    below : Path
        Folder where the way begins; may be a link itself.
    """
    if not path.is_relative_to(below) or ".." in path.parts:
        return path
    step = below
    for part in path.relative_to(below).parts:
        step /= part
        if step.is_symlink():
            return step
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            if os.path.islink(inner := os.path.join(folder, name)):
                return Path(inner)
    return None
