"""Drawn tiles on disk: one file per board and defects, a slot per tile, each with a checksum of its own.

The folder is ``$CXGI_CACHE``, else ``tiles`` in the user's cache folder (platformdirs). It may be deleted at any time
(`clear_tile_cache`); it keeps itself below `LIMIT_BYTES` by dropping the files that were used longest ago.
Nothing in it is relied upon: a file that is damaged, cut short or half written is drawn again, and a
folder that cannot be written is as if there were none.
"""

from __future__ import annotations

import contextlib
import os
import uuid
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
Levels = NDArray[np.uint16]

LIMIT_BYTES = 2 * 1024**3
LEVELS = 65535  # of a transmission 0..1: steps of 1.5e-5, a hundredth of the noise of one exposure
SUFFIX = ".tiles"
MAGIC = b"cxgi tiles 1\n"


def cache_folder() -> Path:
    """Where drawn tiles are kept."""
    named = os.environ.get("CXGI_CACHE")
    if named:
        return Path(named)
    from platformdirs import user_cache_path

    return Path(user_cache_path("cxgi_bluesky")) / "tiles"


def clear_tile_cache() -> int:
    """Delete all drawn tiles; returns the number of bytes that were freed."""
    files = _files(cache_folder())
    freed = sum(used for _, used, _ in files)
    for path, _, _ in files:
        path.unlink(missing_ok=True)
    return freed


def to_levels(transmission: Map) -> Levels:
    """A transmission as it is stored: whole steps of 1 / `LEVELS`."""
    return np.rint(np.clip(transmission, 0, 1) * np.float32(LEVELS)).astype(np.uint16)


def from_levels(levels: Levels) -> Map:
    """The transmission that was stored."""
    return levels * np.float32(1 / LEVELS)


@dataclass(eq=False)
class TileFile:
    """Slots of drawn tiles.

    Parameters
    ----------
    key : str
        Digest of all that determines the tiles; also the file's name.
    cells : int
        Sub-pixels per side of a tile.
    folder : Path
    """

    key: str
    cells: int
    folder: Path = field(default_factory=cache_folder)
    _writable: bool = True
    _marked: bool = False

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / f"{self.key[:32]}{SUFFIX}"

    @property
    def _header(self) -> bytes:
        return MAGIC + self.key.encode()

    @property
    def _slot_bytes(self) -> int:
        return 4 + 2 * self.cells**2

    def _offset(self, tile: int) -> int:
        return len(self._header) + tile * self._slot_bytes

    def read(self, tile: int) -> Levels | None:
        """A tile, shape (cells, cells); None if it is not there, or damaged."""
        try:
            with self.path.open("rb") as file:
                if file.read(len(self._header)) != self._header:
                    return None
                file.seek(self._offset(tile))
                slot = file.read(self._slot_bytes)
        except OSError:
            return None
        if len(slot) < self._slot_bytes or zlib.crc32(slot[4:]) != int.from_bytes(slot[:4], "little"):
            return None
        self._mark_as_used()
        return np.frombuffer(slot, dtype="<u2", offset=4).reshape(self.cells, self.cells)

    def _mark_as_used(self) -> None:
        """Set the file's times, by which the folder is kept small; once is enough, a scan reads thousands of tiles."""
        if not self._marked:
            self._marked = True
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def write(self, tile: int, levels: Levels) -> None:
        """Keep a tile, if the folder can be written and has room.

        A slot that another process writes at the same time gets the same bytes; one that is torn fails its checksum.

        Parameters
        ----------
        tile : int
            Its number on the board.
        levels : ndarray of uint16, shape (cells, cells)
            Transmission in steps of 1 / `LEVELS`.
        """
        if not self._writable:
            return
        data = np.ascontiguousarray(levels, dtype="<u2").tobytes()
        slot = zlib.crc32(data).to_bytes(4, "little") + data
        try:
            for _ in range(2):
                with contextlib.suppress(FileNotFoundError):  # dropped by another process meanwhile: begun once more
                    self._put(tile, slot)
                    break
        except OSError:
            self._writable = False

    def _put(self, tile: int, slot: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._has_room():
            return
        self._begin()
        with self.path.open("r+b") as file:
            file.seek(self._offset(tile))
            file.write(slot)

    def _begin(self) -> None:
        """Give the file its header; one with another header is damaged and is begun anew, at once and whole."""
        try:
            with self.path.open("rb") as file:
                if file.read(len(self._header)) == self._header:
                    return
        except FileNotFoundError:
            pass
        new = self.path.with_suffix(f".{uuid.uuid4().hex}")  # threads and processes begin it at the same time
        try:
            new.write_bytes(self._header)
            os.replace(new, self.path)
        finally:
            new.unlink(missing_ok=True)

    def _has_room(self) -> bool:
        files = _files(self.folder)
        excess = sum(used for _, used, _ in files) + self._slot_bytes - LIMIT_BYTES
        for path, used, _ in sorted(files, key=lambda entry: entry[2]):
            if excess <= 0:
                break
            if path != self.path:
                path.unlink(missing_ok=True)
                excess -= used
        return excess <= 0


def _files(folder: Path) -> list[tuple[Path, int, float]]:
    """Files of tiles with the room they take (they have holes) and when they were last used."""
    found = []
    with contextlib.suppress(OSError):
        for path in folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(OSError):
                stat = path.stat()
                found.append((path, stat.st_blocks * 512, stat.st_mtime))
    return found
