"""Every benchmark can be started as ``python -m benchmarks.NAME``; what they measure takes minutes."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

import benchmarks

PEERS_ALONE = {"bare_ioc"}  # run by an interpreter that has what we do not install
NAMES = sorted(file.stem for file in Path(benchmarks.__path__[0]).glob("[!_]*.py"))


@pytest.mark.parametrize("name", [*(n for n in NAMES if n not in PEERS_ALONE), "peers.compare", "suite.__main__"])
def test_a_benchmark_begins(name):
    assert callable(import_module(f"benchmarks.{name}").main)
