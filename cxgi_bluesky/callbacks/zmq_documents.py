"""Documents over 0MQ, to and from a proxy of Bluesky's (``bluesky-0MQ-proxy``), as JSON; a pickle is never loaded."""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from ..devices.beamline import PROXY_ADDRESS
from ..errors import ConfigError, name_missing_extra
from ..measurement.plain_values import plain_or_text

logger = logging.getLogger(__name__)

LINGER_MS = 1000  # so long a process waits at its end for documents that are on their way
_PICKLE = b"\x80"  # how one begins, since protocol 2


def check_proxy(address: str) -> str:
    """Return the address of a proxy, ``host:port``.

    Raises
    ------
    CxgiError
        If it is something else.
    """
    if not re.match(PROXY_ADDRESS, address):
        raise ConfigError(f"0MQ proxy {address!r} is no address: give HOST:PORT, such as localhost:5577")
    return address


def to_wire(document: Mapping[str, Any]) -> bytes:
    """One document as JSON; numpy's numbers and arrays become plain ones, other values that JSON does not know text."""
    return json.dumps(document, default=_plain).encode()


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else plain_or_text(value, "")[0]


def from_wire(payload: bytes) -> dict[str, Any]:
    """Parse a document of `to_wire`.

    Raises
    ------
    CxgiError
        For everything else, pickles above all, which run what their sender likes when they are loaded.
    """
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError) as error:
        what = "a pickle, which is never loaded" if payload.startswith(_PICKLE) else f"{payload[:20]!r}"
        raise ConfigError(
            f"what comes is {what}, and not JSON: publish with session.start(publish='HOST:PORT'), or with "
            "Publisher(..., serializer=to_wire) of cxgi_bluesky.callbacks.zmq_documents"
        ) from error
    if not isinstance(document, dict):
        raise ConfigError(f"what comes is JSON, but no document: {payload[:20]!r}")
    return document


class DocumentPublisher:
    """Publish every document to a 0MQ proxy; subscribe it to a RunEngine, after what stores the runs.

    Advisory: a proxy that is slow, dead or missing gets what it can, and the rest is dropped; nothing waits for it.

    Parameters
    ----------
    address : str
        Where the proxy takes documents, ``host:port``.

    Raises
    ------
    CxgiError
        If the address is none, or pyzmq is not installed.
    """

    def __init__(self, address: str) -> None:
        with name_missing_extra():
            import zmq
            from bluesky.callbacks.zmq import Publisher
        self._publisher = Publisher(check_proxy(address), serializer=to_wire)
        self._publisher._socket.setsockopt(zmq.LINGER, LINGER_MS)  # else a proxy that hangs would keep the process
        self._said = False
        atexit.register(self.close)

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Publish one document; never raises, never waits."""
        try:
            self._publisher(str(name), document)
        except Exception as error:
            if not self._said:
                logger.warning("documents are not published (%s); the scan goes on and its data is stored", error)
            self._said = True

    def close(self) -> None:
        """Send what is on its way, for a second at most, and publish no more."""
        atexit.unregister(self.close)
        self._publisher.close()


class DocumentReceiver:
    """Receive the documents of a 0MQ proxy.

    Parameters
    ----------
    address : str
        Where the proxy gives documents, ``host:port``.
    take : callable
        Takes name and document, in the thread of `run`.

    Raises
    ------
    CxgiError
        If the address is none, or pyzmq is not installed.
    """

    def __init__(self, address: str, take: Callable[[str, Mapping[str, Any]], None]) -> None:
        with name_missing_extra():
            from bluesky.callbacks.zmq import RemoteDispatcher
        self._address, self._loop = check_proxy(address), asyncio.new_event_loop()
        self._dispatcher = RemoteDispatcher(self._address, loop=self._loop, deserializer=from_wire, strict=True)
        self._dispatcher.subscribe(take)

    def run(self) -> None:
        """Receive until `close`.

        Raises
        ------
        CxgiError
            For a message that is no document in JSON.
        """
        from bluesky.callbacks.zmq import Bluesky0MQDecodeError

        try:
            self._dispatcher.start()
        except asyncio.CancelledError:
            return
        except (Bluesky0MQDecodeError, KeyError) as error:
            why = error.__cause__ if isinstance(error.__cause__, ConfigError) else "a message is no document"
            raise ConfigError(f"0MQ proxy {self._address}: {why}") from error

    def close(self) -> None:
        """Have `run` return; from any thread."""
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(self._loop)])
