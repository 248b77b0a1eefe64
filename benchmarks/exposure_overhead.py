"""Overhead of an exposure above motion and exposure: soft devices, and over Channel Access with and without motors.

Nothing takes physical time (time scale 0), so that the whole time of an exposure is overhead: moving to a tile,
opening, exposing, closing, checking, storing an event in a RunEngine without subscribers. Beside each whole exposure
stand its parts, each alone. `bare` is an IOC of EPICS base without physics (`bare_ioc.py`, in the peers' environment):
what the client costs where the IOC costs next to nothing. `scan_of_768_s` is a whole scan of 768 tiles, with all that
belongs to it.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks._timing import report

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".venv-peers" / "bin" / "python"
WARM, FEW, BOARD = 20, 20, "cu32"
MUST_MS = {
    "soft": 5.0,
    "ioc, motor records": 25.0,
    "ioc, setpoints that complete": 8.0,
    "bare, setpoints that complete": 8.0,
}
SETPOINTS = {a: {"setpoint": f"STAGE:{a.upper()}.VAL", "readback": f"STAGE:{a.upper()}.RBV"} for a in "xy"}
BARE = {
    "version": 1,
    "name": "bare",
    "prefix": "BARE:",
    "board": BOARD,
    "stage": {a: {"setpoint": f"{a.upper()}:SET", "readback": f"{a.upper()}:RBV"} for a in "xy"},
    "shutter": {"command": "SHUTTER:CMD", "readback": "SHUTTER:STATUS", "permit": "SHUTTER:PERMIT"},
    "diode": {"class": "generic", "acquire": "ACQUIRE", "value": "VALUE", "spread": "SPREAD", "exposure": "EXPOSURE_S"},
}


def milliseconds(step: Callable[[int], Any], count: int) -> float:
    """Median time of a step, after one to warm up."""
    step(0)
    times = []
    for number in range(1, count + 1):
        begun = time.perf_counter()
        step(number)
        times.append(time.perf_counter() - begun)
    return round(1e3 * statistics.median(times), 2)


def measure(line: Any, count: int) -> dict[str, Any]:
    """Overhead of an exposure with these devices, and its parts (ms)."""
    from bluesky import RunEngine

    from cxgi_bluesky.masks.pattern_set import PatternSet
    from cxgi_bluesky.plans import hadamard_scan

    engine = RunEngine({})
    nothing_else = {"open_exposures": 0, "open_every": 0, "dark_exposures": 0, "incident_exposures": 0}

    def scan(patterns: int, **options: Any) -> float:
        words = {
            "board": line.board,
            "pattern_set": PatternSet(line.board.size, patterns),
            "exposure_s": 1.0,
            **options,
        }
        begun = time.perf_counter()
        engine(hadamard_scan(line.stage, line.shutter, line.diode, **words))
        return time.perf_counter() - begun

    def whole() -> float:
        short = scan(FEW, **nothing_else)
        return (scan(FEW + count, **nothing_else) - short) / count

    scan(WARM, **nothing_else)
    rounds = [whole() for _ in range(3)]
    parts = {
        "move to a tile": milliseconds(lambda n: line.stage.tile.set(n % 100).wait(timeout=10), count),
        "open": 0.0,
        "close": 0.0,
        "expose": milliseconds(lambda n: line.diode.trigger().wait(timeout=10), count),
        "read the stage": milliseconds(lambda n: line.stage.read(), count),
    }
    both = {"open": [], "closed": []}
    for _ in range(count):
        for state, times in both.items():
            begun = time.perf_counter()
            line.shutter.set(state).wait(timeout=10)
            times.append(time.perf_counter() - begun)
    parts["open"], parts["close"] = (round(1e3 * statistics.median(times), 2) for times in both.values())
    overhead = round(1e3 * min(rounds), 2)
    parts["RunEngine and the rest"] = round(overhead - sum(parts.values()), 2)
    return {
        "overhead_ms": overhead,
        "rounds_ms": [round(1e3 * seconds, 2) for seconds in rounds],
        "parts_ms": parts,
        "scan_of_768_s": round(scan(768), 1),
    }


def client(file: str, count: int) -> None:
    """In a process of its own, as libca is set up once."""
    from cxgi_bluesky.devices.config.load import load_beamline

    print(json.dumps(measure(load_beamline(file), count)), flush=True)


def soft(count: int) -> dict[str, Any]:
    """The same with soft devices."""
    from cxgi_bluesky.devices.simulated.beamline import simulated_beamline

    return measure(simulated_beamline(BOARD, "CAS"), count)


def over_channel_access(words: dict[str, Any], environment: dict[str, str], count: int) -> dict[str, Any]:
    """Measure a beamline file in a client of its own."""
    import yaml

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "beamline.yml"
        file.write_text(yaml.safe_dump(words), encoding="utf-8")
        command = [sys.executable, "-m", "benchmarks.exposure_overhead", "--client", str(file), "--count", str(count)]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        answer = subprocess.run(command, **pipes, text=True, env={**os.environ, **environment}, check=True, timeout=600)
    result: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return result


@contextmanager
def simulated_ioc() -> Iterator[dict[str, Any]]:
    """`cxgi ioc` as fast as it can."""
    words = ["-m", "cxgi_bluesky.cli", "ioc", "--json", "--time-scale", "0", "--board", BOARD, "--object", "CAS"]
    server = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())
    finally:
        server.terminate()
        server.communicate(timeout=15)


@contextmanager
def bare_ioc() -> Iterator[dict[str, str]]:
    """An IOC of EPICS base; the environment of its clients."""
    port, *others = (_free_port() for _ in range(3))
    environment = {
        "EPICS_CAS_SERVER_PORT": str(port),
        "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_PVA_SERVER_PORT": str(others[0]),
        "EPICS_PVA_BROADCAST_PORT": str(others[1]),
    }
    words = [str(PEERS), str(Path(__file__).with_name("bare_ioc.py"))]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(words, **pipes, text=True, env={**os.environ, **environment})
    try:
        assert server.stdout is not None
        if not any("READY" in line for line in server.stdout):
            raise RuntimeError(f"{words[1]} did not start")
        yield {
            "EPICS_CA_ADDR_LIST": f"127.0.0.1:{port}",
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
            "EPICS_CA_SERVER_PORT": str(port),
        }
    finally:
        server.terminate()
        server.communicate(timeout=15)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def all_of_them(count: int) -> dict[str, Any]:
    """Each kind of devices, in one run."""
    import yaml

    from cxgi_bluesky.devices.config.load import example_path

    results = {"soft": soft(count)}
    example = yaml.safe_load(example_path("ioc").read_text(encoding="utf-8"))
    with simulated_ioc() as ioc:
        words = {**example, "prefix": ioc["prefix"], "board": BOARD}
        stage = {"move_timeout_s": 10}
        for name, axes in {
            "motor records": {"x": "STAGE:X", "y": "STAGE:Y"},
            "setpoints that complete": SETPOINTS,
        }.items():
            results[f"ioc, {name}"] = over_channel_access(
                {**words, "stage": {**stage, **axes}}, ioc["environment"], count
            )
    if PEERS.exists():
        with bare_ioc() as environment:
            results["bare, setpoints that complete"] = over_channel_access(BARE, environment, count)
    for name, result in results.items():
        result["must_ms"] = MUST_MS[name]
        result["ratio_to_soft"] = round(result["overhead_ms"] / results["soft"]["overhead_ms"], 1)
    return results


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        client(options.client, options.count)
    else:
        report("exposure_overhead", {"count": options.count, **all_of_them(options.count)})


if __name__ == "__main__":
    main()
