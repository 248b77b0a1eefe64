"""The Channel Access server around the PVs: private ports, no delayed packets, a clean end."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import socket
from collections.abc import Callable
from typing import Any

from caproto import RepeaterConfirmResponse
from caproto.asyncio.server import Context, VirtualCircuit
from caproto.server import common

from ...errors import ConfigError
from .control import Silence
from .options import IocOptions
from .pvdb import Groups, make_groups

REGISTER, BEACON = 24, 13  # commands
ADDRESS = slice(12, 16)  # of the beacon's server in its header
MAX_CLIENTS = 64  # clients do not report that they have gone

Client = tuple[str, int]


class Repeater(asyncio.DatagramProtocol):
    """The repeater that Channel Access clients look for: it confirms registrations and forwards beacons.

    A beacon without an address gets that of its sender. caproto's own repeater does not confirm the empty datagram by
    which libca registers, so libca asks on, and complains in the end.
    """

    def __init__(self) -> None:
        self._clients: dict[Client, None] = {}
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._transport = transport

    def datagram_received(self, data: bytes, client: Client) -> None:
        """One datagram: empty or a registration, or else what the others are to hear.

        Parameters
        ----------
        data : bytes
        client : (str, int)
            Address and port of the sender.
        """
        command = int.from_bytes(data[:2], "big")
        if not data or command == REGISTER:
            self._register(client)
        elif command == BEACON and len(data) == 16:
            beacon = bytearray(data)
            if not any(beacon[ADDRESS]):
                beacon[ADDRESS] = socket.inet_aton(client[0])
            for other in self._clients:
                self._transport.sendto(bytes(beacon), other)

    def _register(self, client: Client) -> None:
        self._clients.pop(client, None)
        self._clients[client] = None
        while len(self._clients) > MAX_CLIENTS:
            self._clients.pop(next(iter(self._clients)))
        self._transport.sendto(bytes(RepeaterConfirmResponse(client[0])), client)


# ---------------------------------------------------------------- server


BATCHING_S = 0.001  # how long caproto waits for more monitors before it sends what it has; its 10 ms were for each move
PARENT_S = 0.5  # between looks for the parent
OWN_PORTS = range(20000, 32000)  # below those that clients' sockets are given: libca and caproto share what they get
FAREWELL_S = 0.05  # for the last monitors to leave

Ready = Callable[[dict[str, Any]], None]


class Circuit(VirtualCircuit):
    """A client's connection, that keeps silent when the server does."""

    async def _send_buffers(self, *buffers: bytes) -> None:
        await self.context.silence.over()
        await super()._send_buffers(*buffers)


class Server(Context):
    """caproto's server with TCP_NODELAY, which asyncio does not set on sockets made as caproto makes them."""

    CircuitClass = Circuit

    def __init__(self, pvdb: dict[str, Any], host: str, port: int, silence: Silence) -> None:
        super().__init__(pvdb, [host])
        self.ca_server_port = port
        self.silence = silence

    async def tcp_handler(self, client: Any, addr: Any) -> None:
        """Serve one connection.

        Parameters
        ----------
        client : caproto transport
            The connection's reader and writer.
        addr : (str, int)
            Address and port of the client.
        """
        client.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await super().tcp_handler(client, addr)

    async def _broadcaster_queue_iteration(self, addr: Any, commands: Any) -> None:
        if not self.silence.now:
            await super()._broadcaster_queue_iteration(addr, commands)


def free_port(host: str, port: int = 0) -> int:
    """A port that is free for UDP and TCP.

    Parameters
    ----------
    host : str
        Address of this machine.
    port : int, optional
        The one that is wanted; 0, the default: any.

    Raises
    ------
    CxgiError
        If `port` is taken, or the address is not of this machine.
    """
    for _ in range(20):
        candidate = port or random.choice(OWN_PORTS)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tcp.bind((host, candidate))
                udp.bind((host, candidate))
            except OSError as error:
                if port:
                    raise ConfigError(f"port {port} of {host}: {error.strerror}; choose another, or 0") from error
                reason = error
            else:
                return candidate
    raise ConfigError(f"no free port at {host}: {reason.strerror}")


def client_environment(host: str, port: int, repeater_port: int) -> dict[str, str]:
    """Environment that a client needs, before it imports its Channel Access library.

    The port is in the address too: libca reads EPICS_CA_SERVER_PORT when it is imported, the addresses at first use.

    Parameters
    ----------
    host : str
        Address of the server; 0.0.0.0 becomes 127.0.0.1.
    port : int
        UDP port of the server.
    repeater_port : int
        UDP port of its repeater.

    Returns
    -------
    dict of str to str
        Values by name of the variable.
    """
    address = "127.0.0.1" if host == "0.0.0.0" else host
    return {
        "EPICS_CA_ADDR_LIST": f"{address}:{port}",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CA_SERVER_PORT": str(port),
        "EPICS_CA_REPEATER_PORT": str(repeater_port),
    }


async def serve(options: IocOptions, ready: Ready | None = None) -> dict[str, Any]:
    """Serve until SIGINT or SIGTERM (or the end of the parent), then close the shutter.

    Parameters
    ----------
    options : IocOptions
    ready : callable, optional
        Called with prefix, address, ports and the clients' environment as soon as clients are answered.

    Returns
    -------
    dict
        What was counted.

    Raises
    ------
    CxgiError
        For an unknown board or object, or a port that is taken.
    """
    port, repeater_port = free_port(options.host, options.port), free_port(options.host)
    _keep_beacons_private(repeater_port)
    common.HIGH_LOAD_TIMEOUT = BATCHING_S
    silence = Silence()
    groups = make_groups(options, silence)
    server = Server(groups.pvdb, options.host, port, silence)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    beacons, _ = await loop.create_datagram_endpoint(Repeater, local_addr=("127.0.0.1", repeater_port))
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, ended.set)

    async def start(async_lib: Any) -> None:
        await groups.begin()
        if ready is not None:
            ready(_announcement(options, port, repeater_port, server.port))

    running = asyncio.ensure_future(server.run(startup_hook=start))
    waiting: set[asyncio.Task[bool]] = {loop.create_task(ended.wait())}
    if options.end_with_parent:
        waiting.add(loop.create_task(_wait_until_orphaned()))
    await asyncio.wait({running, *waiting}, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await groups.shutter.shut_at_once()
    await asyncio.sleep(FAREWELL_S)
    running.cancel()
    await asyncio.wait({running})
    beacons.close()
    if not running.cancelled():
        running.result()
    return _farewell(groups)


async def _wait_until_orphaned() -> bool:
    """Wait until the process that started this one has ended."""
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(PARENT_S)
    return True


def _announcement(options: IocOptions, port: int, repeater_port: int, tcp_port: int) -> dict[str, Any]:
    return {
        "prefix": options.prefix,
        "host": options.host,
        "udp_port": port,
        "tcp_port": tcp_port,
        "pid": os.getpid(),
        "board": options.board,
        "object": options.object_name,
        "time_scale": options.time_scale,
        "seed": options.seed,
        "environment": client_environment(options.host, port, repeater_port),
    }


def _farewell(groups: Groups) -> dict[str, Any]:
    bench = groups.bench
    return {
        "shutter": groups.shutter.status.value,
        "openings": bench.counts.openings,
        "open_s": bench.open.seconds,
        "exposures": bench.counts.exposures,
        "dark_exposures": bench.counts.dark_exposures,
        "moves": bench.counts.moves,
    }


def _keep_beacons_private(repeater_port: int) -> None:
    """Beacons of a simulation must not reach a beamline's clients; that nobody listens to them is no error."""
    os.environ["EPICS_CAS_AUTO_BEACON_ADDR_LIST"] = "NO"
    os.environ["EPICS_CAS_BEACON_ADDR_LIST"] = f"127.0.0.1:{repeater_port}"
    logging.getLogger("caproto.ctx").addFilter(lambda record: not str(record.msg).startswith("Failed to send beacon"))
