"""What a Tiled server gives of a run in one request: its documents, its newest image as a thumbnail, its NeXus file.

Tiled calls these functions within its event loop, with its own adapter of the run. A configuration names them under
``media_types``.
"""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CxgiError
from ..measurement.documents import cxgi_block

THUMBNAIL_PX = 256
_Filter = Callable[[Any], Awaitable[Any]]


async def export_documents(
    media_type: str, adapter: Any, metadata: Mapping[str, Any], filter_for_access: _Filter
) -> bytes:
    """Return the documents of a run as Bluesky's exporter gives them, in one piece.

    It gives them one by one, and to hand on 800 of them so takes several times as long as to make them. It also asks
    for each stream by several queries: here it finds what was looked up together.

    Parameters
    ----------
    media_type : str
        "application/json-seq".
    adapter : Tiled's CatalogContainerAdapter
        Of the run.
    metadata : mapping
        Its start and stop document.
    filter_for_access : callable
        Tiled's: takes an adapter and gives what the asker may see of it.
    """
    from bluesky_tiled_plugins.exporters import json_seq_exporter

    async def look_up(run: Any) -> Any:
        return await _Children.of(await filter_for_access(run))

    lines = [line async for line in json_seq_exporter(media_type, adapter, metadata, look_up)]
    return "".join(lines).encode()


class _Children:
    """Tiled's adapter of a container, as far as the exporter asks it, with its children looked up by one query."""

    def __init__(self, adapter: Any, children: Mapping[str, Any]) -> None:
        self.metadata, self.specs, self._children = adapter.metadata, adapter.specs, children

    @classmethod
    async def of(cls, adapter: Any) -> Any:
        """Look up the children of a container; anything else is given back as it is."""
        if adapter.structure_family != "container":
            return adapter
        return cls(adapter, dict(await adapter.items_range(0, None)))

    async def keys_range(self, offset: int, limit: int | None) -> list[str]:
        """As Tiled's, for all keys."""
        return list(self._children)

    async def lookup_adapter(self, segments: list[str]) -> Any:
        """As Tiled's, for a child."""
        (key,) = segments
        return await self.of(self._children[key])


async def export_image(media_type: str, adapter: Any, metadata: Mapping[str, Any], filter_for_access: _Filter) -> bytes:
    """Return the image of a reconstruction, or the newest one of a scan, as a PNG with about 256 rows.

    Grey values as in every PNG of this package; what is not a number is black.

    Parameters
    ----------
    media_type : str
        "image/png".
    adapter : Tiled's CatalogContainerAdapter
        Of the run.
    metadata : mapping
        Its start and stop document.
    filter_for_access : callable
        Tiled's: takes an adapter and gives what the asker may see of it.

    Raises
    ------
    SerializationError
        If there is no image; Tiled makes the status 406 of it, with this text.
    """
    start = metadata.get("start") or {}
    run = await filter_for_access(adapter)
    if not cxgi_block(start).get("raw_uids"):
        found = await _find_images(adapter, str(start.get("uid")), filter_for_access)
        if not found:
            raise _refusal(f"run {str(start.get('uid'))[:8]} has no image yet: cxgi reconstruct makes one")
        run = found[-1]
        start = run.metadata()["start"]
    try:
        image = await (await run.lookup_adapter(["primary", "image"])).read()
    except KeyError:
        raise _refusal(f"run {str(start.get('uid'))[:8]} holds no image: reconstruct its raw run again") from None
    return await asyncio.to_thread(_draw, np.asarray(image, np.float64), cxgi_block(start))


def _draw(image: Any, block: Mapping[str, Any]) -> bytes:
    from ..reconstruction.result import Reconstruction

    result = Reconstruction(
        image.reshape(image.shape[-2:]),
        block.get("scale", "relative"),
        str(block.get("method")),
        {},
        0.0,
        0,
        quality=block.get("quality") or {},
    )
    file = io.BytesIO()
    result.draw(THUMBNAIL_PX).save(file, format="PNG")
    return file.getvalue()


async def export_nexus(media_type: str, adapter: Any, metadata: Mapping[str, Any], filter_for_access: _Filter) -> bytes:
    """Return the NeXus file of a run, as `export_run` writes it.

    Parameters
    ----------
    media_type : str
        "application/x-nexus".
    adapter : Tiled's CatalogContainerAdapter
        Of the run.
    metadata : mapping
        Its start and stop document.
    filter_for_access : callable
        Tiled's: takes an adapter and gives what the asker may see of it.

    Raises
    ------
    SerializationError
        If the run is a reconstruction, or holds what no file can; Tiled makes the status 406 of it, with this text.
    """
    from .export import LINKS, write_nexus
    from .nexus_file import FiledRun, FiledRuns

    async def read(one: Any) -> FiledRun:
        return FiledRun(await _read_documents(one, filter_for_access))

    run = await read(adapter)
    runs = await filter_for_access(_parent_of(adapter))
    images = [await read(image) for image in await _find_images(adapter, run.uid, filter_for_access)]
    known, waiting = {run.uid: run}, [run]
    while waiting:
        block = cxgi_block(waiting.pop().start)
        for uid in [block.get(link) for link in LINKS]:
            if isinstance(uid, str) and uid not in known:
                try:
                    known[uid] = await read(await runs.lookup_adapter([uid]))
                except KeyError:
                    continue  # left out of the file, with a warning
                waiting.append(known[uid])

    def write() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.nxs"
            write_nexus(FiledRuns(Path("the catalog"), list(known.values())), run, images, path)
            return path.read_bytes()

    try:
        return await asyncio.to_thread(write)
    except CxgiError as error:
        raise _refusal(str(error)) from error


async def _find_images(adapter: Any, uid: str, filter_for_access: _Filter) -> list[Any]:
    """Find the reconstructions of a run, oldest first."""
    from tiled.queries import Contains

    runs = await filter_for_access(_parent_of(adapter))
    found = [run for _, run in await runs.search(Contains("start.cxgi.raw_uids", uid)).items_range(0, None)]
    return sorted(found, key=lambda run: float(run.metadata()["start"]["time"]))


def _parent_of(adapter: Any) -> Any:
    """The container of a run, of which Tiled gives its exporters only the run; to look up what is in it."""
    from tiled.catalog.adapter import CatalogContainerAdapter, RootNode

    node = RootNode({}, [], [])
    node.id = adapter.node.parent
    return CatalogContainerAdapter(adapter.context, node)


async def _read_documents(adapter: Any, filter_for_access: _Filter) -> list[tuple[str, Any]]:
    """Read all documents of a run, as every client of the catalog gets them."""
    text = await export_documents("application/json-seq", adapter, adapter.metadata(), filter_for_access)
    lines = [json.loads(line) for line in text.split(b"\x1e") if line]
    return [(line["name"], line["doc"]) for line in lines]


def _refusal(text: str) -> Exception:
    from tiled.utils import SerializationError

    error: Exception = SerializationError(text)
    return error
