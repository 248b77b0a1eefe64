"""Every benchmark can be started as ``python -m benchmarks.NAME``; what they measure takes minutes."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

import benchmarks

PEERS_ALONE = {"bare_ioc"}  # run by an interpreter that has what we do not install
NAMES = sorted({file.stem for file in Path(benchmarks.__path__[0]).glob("[!_]*.py")} - PEERS_ALONE)
ROOMS = ["peers.compare", "peers.published.__main__", "peers.published.tune", "suite.__main__"]


@pytest.mark.parametrize("name", [*NAMES, *ROOMS])
def test_a_benchmark_begins(name):
    assert callable(import_module(f"benchmarks.{name}").main)
