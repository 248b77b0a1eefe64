from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

from .serving import Client, IocProcess, LateIoc, rest_between_polls

if find_spec("caproto") is None or find_spec("epics") is None:
    collect_ignore_glob = ["test_*.py"]  # they need the extra `epics`


@pytest.fixture(scope="session")
def shared_ioc():
    """An IOC for all tests of this process; its Channel Access library gets its address before it starts."""
    arguments = ("--time-scale", "0", "--board", "cu32", "--object", "CAS", "--seed", "7")
    ioc = IocProcess(*arguments, "--stage-rms-um", "0", "--drift-rms", "0")  # buckets of a tile differ by noise alone
    environment = ioc.environment
    addresses = f"{environment['EPICS_CA_ADDR_LIST']} 127.0.0.1:{LateIoc.port()}"
    os.environ.update({**environment, "EPICS_CA_ADDR_LIST": addresses})
    rest_between_polls()
    yield ioc
    ioc.end()


@pytest.fixture(scope="session")
def late_ioc(shared_ioc):
    """The IOC whose readings come late, for all tests of this process."""
    ioc = LateIoc()
    yield ioc
    ioc.end()


@pytest.fixture
def late(late_ioc) -> Client:
    """Its client; nothing is late yet."""
    client = Client(late_ioc.prefix)
    for name, value in late_ioc.RESET.items():
        client.put(name, value)
    return client


@pytest.fixture
def ca(shared_ioc) -> Client:
    """Client of the shared IOC, which is as new: cu32, CAS, no drift, as fast as it can."""
    client = Client(shared_ioc.prefix)
    client.reset()
    return client


@pytest.fixture
def own_ioc():
    """Starts an IOC of the test's own."""
    started: list[IocProcess] = []

    def start(*arguments: str) -> IocProcess:
        started.append(IocProcess("--time-scale", "0", "--board", "cu32", "--prefix", "OWN:", *arguments))
        return started[-1]

    yield start
    for ioc in started:
        ioc.end()
