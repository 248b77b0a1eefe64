"""Moves and exposures a second through Channel Access, as fast as the IOC can (time scale 0), driven by ophyd.

Baselines in the same run: caproto's server as it comes (no TCP_NODELAY, monitors kept back for 10 ms), and the soft
devices without any EPICS.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks._timing import report

ROOT = Path(__file__).parents[1]


def per_second(step: Callable[[int], None], count: int) -> float:
    """Steps a second after one to warm up."""
    step(0)
    started = time.perf_counter()
    for number in range(count):
        step(number)
    return round(count / (time.perf_counter() - started), 1)


def serve_as_it_comes() -> None:
    """`cxgi ioc` without what this project does to caproto's server."""
    from caproto.asyncio.server import Context

    from cxgi_bluesky.cli.program import main
    from cxgi_bluesky.simulation.ioc import server

    server.BATCHING_S = 0.01
    server.Server.tcp_handler = Context.tcp_handler  # type: ignore[method-assign]
    sys.exit(main(["ioc", "--json", "--time-scale", "0"]))


def measure_client(count: int) -> None:
    """In a process of its own, as libca is set up once: print the rates."""
    import epics
    from ophyd import EpicsMotor

    x, y = (EpicsMotor(f"CXGI:STAGE:{axis}", name=axis) for axis in "XY")
    pvs = {name: epics.PV(f"CXGI:{name}", auto_monitor=False) for name in ("SHUTTER:CMD", "ACQUIRE", "VALUE")}
    for thing in (x, y, *pvs.values()):
        thing.wait_for_connection(timeout=10)

    def move(number: int) -> None:
        x.set(0.1 * (number % 7)).wait(timeout=5)

    def expose(number: int) -> None:
        pvs["ACQUIRE"].put(1, wait=True, timeout=5)
        pvs["VALUE"].get()

    def whole(number: int) -> None:
        moves = [axis.set(0.1 * (number % 7)) for axis in (x, y)]
        for status in moves:
            status.wait(timeout=5)
        pvs["SHUTTER:CMD"].put("Open", wait=True, timeout=5)
        expose(number)
        pvs["SHUTTER:CMD"].put("Close", wait=True, timeout=5)

    steps = {"moves_per_s": move, "exposures_per_s": expose, "two_axes_open_expose_close_per_s": whole}
    print(json.dumps({name: per_second(step, count) for name, step in steps.items()}), flush=True)


def through_channel_access(words: list[str], count: int) -> dict[str, float]:
    """Rates of a server that is started with some words."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert server.stdout is not None
        client = {**environment, **json.loads(server.stdout.readline())["environment"]}
        command = [sys.executable, "-m", "benchmarks.ioc_speed", "--client", "--count", str(count)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        answer = subprocess.run(command, **pipes, text=True, env=client, check=True, timeout=300)
        rates: dict[str, float] = json.loads(answer.stdout.splitlines()[0])
        return rates
    finally:
        server.terminate()
        server.communicate(timeout=15)


def soft(count: int) -> dict[str, float]:
    """Rates of the soft devices."""
    from cxgi_bluesky.devices.simulated.beamline import simulated_beamline

    line = simulated_beamline()

    def whole(number: int) -> None:
        line.stage.x.set(0.1 * (number % 7)).wait(timeout=5)
        line.stage.y.set(0.1 * (number % 7)).wait(timeout=5)
        line.shutter.set("open").wait(timeout=5)
        line.diode.trigger().wait(timeout=5)
        line.shutter.set("closed").wait(timeout=5)

    return {"two_axes_open_expose_close_per_s": per_second(whole, count)}


def main() -> None:
    """Measure all three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--client", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--as-it-comes", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        measure_client(options.count)
    elif options.as_it_comes:
        serve_as_it_comes()
    else:
        ours = ["-m", "cxgi_bluesky.cli", "ioc", "--json", "--time-scale", "0"]
        rates = {
            "ioc": through_channel_access(ours, options.count),
            "caproto as it comes": through_channel_access(
                ["-m", "benchmarks.ioc_speed", "--as-it-comes"], options.count
            ),
            "soft devices": soft(options.count),
        }
        report("ioc_speed", {"count": options.count, **rates})


if __name__ == "__main__":
    main()
