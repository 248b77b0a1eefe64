"""Whole runs into the embedded catalog in one transaction, by Tiled's own code without the requests between.

Tiled's client writes a run in a dozen requests to itself, each with a transaction of its own. Here `TiledWriter` gets a
client that calls what those requests call, in Tiled's event loop, with one database session for all of them. So the
tables are those of any other run, and the runs are in the catalog all at once, or not at all.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

NodeKind = TypeVar("NodeKind", bound="_Node")


@contextmanager
def open_transaction(catalog: Any) -> Iterator[Container]:
    """Give a container like the catalog to `TiledWriter`; what it writes is in the catalog at the end.

    After an error nothing of it is; files of arrays may be left over, which no run refers to.

    Parameters
    ----------
    catalog : tiled container
        Of a data folder, not of a server.
    """
    client = catalog.context.http_client
    call = client.portal.call
    tree = copy.copy(client.app.state.root_tree)
    session = tree.context.session()
    tree.context = copy.copy(tree.context)
    tree.context.session = lambda: _Joined(session)
    try:
        yield Container(tree, call)
        call(session.commit)
    except BaseException:
        call(session.rollback)
        raise
    finally:
        call(session.close)


class _Joined:
    """A database session that is used as one of its own, and neither committed nor closed."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def __aenter__(self) -> _Joined:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave it open."""

    async def commit(self) -> None:
        await self._session.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


class _Node:
    """What `TiledWriter` uses of Tiled's clients; `metadata` as they would read it."""

    def __init__(self, adapter: Any, call: Callable[..., Any], path: tuple[str, ...] = ()) -> None:
        self._adapter, self._call = adapter, call
        self.uri = "/".join(path)
        self._path = path
        self.metadata = adapter.metadata()

    def close_stream(self) -> None:
        """Nobody follows the streams of an embedded catalog."""

    def update_metadata(self, metadata: Mapping[str, Any], *, drop_revision: bool) -> None:
        """As Tiled's, for keys at the top."""
        self.metadata = {**self.metadata, **_as_sent(metadata)}
        self._call(self._replace_metadata, drop_revision)

    async def _replace_metadata(self, drop_revision: bool) -> None:
        await self._adapter.replace_metadata(metadata=self.metadata, drop_revision=drop_revision)

    async def _write(self, method: str, *data: Any) -> None:
        from tiled.utils import ensure_awaitable

        await ensure_awaitable(getattr(await self._adapter.get_adapter(), method), *data)


class _Array(_Node):
    def write(self, array: np.ndarray[Any, Any]) -> None:
        self._call(self._write, "write", array)


class _Table(_Node):
    def append_partition(self, partition: int, table: Any) -> None:
        """As Tiled's."""
        self._call(self._write, "append_partition", partition, table)


class Container(_Node):
    """A container in which nodes are made."""

    def __init__(self, adapter: Any, call: Callable[..., Any], path: tuple[str, ...] = ()) -> None:
        super().__init__(adapter, call, path)
        self.base = self
        self.children: dict[str, _Node] = {}
        self.item = {"id": path[-1] if path else ""}

    def include_data_sources(self) -> Container:
        """Give itself: nothing is asked for."""
        return self

    def count(self) -> int:
        """Count what is in it."""
        return int(self._call(self._adapter.exact_len))

    def create_container(
        self, key: str, *, metadata: Mapping[str, Any], specs: Any, access_tags: Any = None
    ) -> Container:
        """As Tiled's."""
        return self._create(Container, "container", key, metadata, specs=specs)

    def write_array(
        self, array: np.ndarray[Any, Any], *, key: str, metadata: Mapping[str, Any], dims: Any, access_tags: Any = None
    ) -> _Array:
        """As Tiled's, for arrays that it would write in one piece."""
        from dask.array.core import normalize_chunks
        from tiled.structures.array import ArrayStructure, BuiltinDtype

        chunks = normalize_chunks(("auto",) * array.ndim, shape=array.shape, limit=100_000_000, dtype=array.dtype)
        data_type = BuiltinDtype.from_numpy_dtype(array.dtype)
        structure = ArrayStructure(shape=array.shape, chunks=chunks, dims=dims, data_type=data_type)
        node = self._create(_Array, "array", key, metadata, structure=structure)
        node.write(array)
        return node

    def create_appendable_table(
        self, schema: Any, *, key: str, metadata: Mapping[str, Any], access_tags: Any = None
    ) -> _Table:
        """As Tiled's."""
        from tiled.structures.table import TableStructure

        structure = TableStructure.from_schema(schema, 1)
        return self._create(
            _Table, "table", key, metadata, structure=structure, mimetype="application/x-tiled-sql-table"
        )

    def _create(
        self,
        kind: type[NodeKind],
        family: str,
        key: str,
        metadata: Mapping[str, Any],
        *,
        specs: Any = (),
        structure: Any = None,
        **source: Any,
    ) -> NodeKind:
        """Make a node, from what the server would make of the request."""
        from tiled.server.schemas import PostMetadataRequest

        sources = [{"structure_family": family, "structure": asdict(structure), **source}] if structure else []
        specs = [asdict(spec) for spec in specs]
        body = _as_sent({"metadata": metadata, "structure_family": family, "specs": specs, "data_sources": sources})
        request = PostMetadataRequest(id=key, **body)
        node = kind(self._call(self._create_node, request), self._call, (*self._path, key))
        self.children[key] = node
        return node

    async def _create_node(self, request: Any) -> Any:
        return await self._adapter.create_node(
            metadata=request.metadata,
            structure_family=request.structure_family,
            key=request.id,
            specs=request.specs,
            data_sources=request.data_sources,
        )


def _as_sent(body: Mapping[str, Any]) -> Any:
    """Values as they arrive at a server."""
    from tiled.utils import safe_json_dump

    return json.loads(safe_json_dump(body))
