"""The repeater that Channel Access clients look for: it hands beacons on to those that have registered.

caproto's own does not confirm the empty datagram by which libca registers, so libca asks on, and complains in the end.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from caproto import RepeaterConfirmResponse

REGISTER, BEACON = 24, 13  # commands
ADDRESS = slice(12, 16)  # of the beacon's server in its header
MAX_CLIENTS = 64  # those that have gone do not say so

Client = tuple[str, int]


class Repeater(asyncio.DatagramProtocol):
    """Confirms registrations and forwards beacons, with the sender's address where they tell none."""

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
