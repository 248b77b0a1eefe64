from __future__ import annotations

import os
from itertools import count

import pytest

from cxgi_bluesky.ioc.server import free_port

from .serving import Client, IocProcess

LIBRARY_PORTS: list[int] = []  # of the shared IOC, and of one of a test's own: libca reads its addresses once
OWN_NUMBERS = count()


@pytest.fixture(scope="session")
def ca_ports():
    """Ports that this process's Channel Access library asks, chosen before it starts."""
    if not LIBRARY_PORTS:
        LIBRARY_PORTS.extend([free_port("127.0.0.1"), free_port("127.0.0.1")])
        os.environ["EPICS_CA_ADDR_LIST"] = " ".join(f"127.0.0.1:{port}" for port in LIBRARY_PORTS)
        os.environ["EPICS_CA_AUTO_ADDR_LIST"] = "NO"
        os.environ["EPICS_CA_REPEATER_PORT"] = str(free_port("127.0.0.1"))
    return LIBRARY_PORTS


@pytest.fixture(scope="session")
def shared_ioc(ca_ports):
    ioc = IocProcess("--time-scale", "0", "--board", "cu32", "--object", "CAS", "--seed", "7", port=ca_ports[0])
    yield ioc
    ioc.end()


@pytest.fixture
def ca(shared_ioc) -> Client:
    """Client of the shared IOC, which is as new: cu32, CAS, as fast as it can."""
    client = Client(shared_ioc.prefix)
    client.reset()
    return client


@pytest.fixture
def own_ioc(ca_ports):
    """Starts an IOC of the test's own; at most one, and each with a prefix that libca has not met."""
    started: list[IocProcess] = []
    number = next(OWN_NUMBERS)

    def start(*arguments: str) -> IocProcess:
        words = ("--time-scale", "0", "--board", "cu32", "--prefix", f"OWN{number}:")
        started.append(IocProcess(*words, *arguments, port=ca_ports[1]))
        return started[-1]

    yield start
    for ioc in started:
        ioc.end()
