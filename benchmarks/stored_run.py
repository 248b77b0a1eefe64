"""From a finished run to its image: a run of 768 exposures in the catalog, reconstructed in a new process.

``python -m benchmarks.stored_run [COUNT ...] [--in FOLDER]`` puts 100, 1000 and 10,000 runs (or COUNT) into a folder:
one with 768 exposures on the 64 x 64 board, the others with 40 on a smaller one; FOLDER is kept for the next time. The
one is reconstructed, embedded and over HTTP from `cxgi serve`. Each time is of a process of its own, with the catalog
open, everything imported and the compiled solver loaded; the network's weights are loaded within it. Beside it stand
opening, loading the solver, and the whole command, all of this included; the number of requests; the thumbnail of the
image in one request; and as baseline the exposures as a table, read with databroker's client alone.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from benchmarks._timing import report
from benchmarks.start_up import fill, in_process, several, sizes_and_folder

SIZES = (100, 1000, 10_000)
METHODS = ("tv", "ch-mwcnn")
KEY = "0123456789abcdef"
# Arguments: data, uid, method, and the modules to import first. Prints seconds, the number of requests, and the modules
# that were imported meanwhile.
IMAGE = """
import gc, importlib, json, sys, time
from contextlib import suppress
from cxgi_bluesky.cli.program import OBJECTS_BETWEEN_COLLECTIONS
from cxgi_bluesky.catalog import find_run, open_catalog
from cxgi_bluesky.reconstruction.solvers.kernels import compile_primal_dual
from cxgi_bluesky.session.reconstruct_run import reconstruct_run
data, uid, method, modules = sys.argv[1:]
gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)  # as `cxgi` does
began = time.perf_counter()
catalog = open_catalog(data)
opened = time.perf_counter() - began
for name in modules.split():
    with suppress(ImportError):
        importlib.import_module(name)
began = time.perf_counter()
compile_primal_dual()  # numba loads it from its cache
loading = time.perf_counter() - began
requests, before = [], set(sys.modules)
catalog.context.http_client.event_hooks["request"].append(requests.append)
start = time.perf_counter()
if method == "baseline":
    catalog[uid]["primary"].read()
    row = {}
else:
    result, _ = reconstruct_run(catalog, find_run(catalog, uid), method=method, record=False)
    assert result.exposures == 768
    row = {"of it reconstructing": result.seconds}
row = {"image": time.perf_counter() - start, **row, "opening": opened, "loading": loading, "requests": len(requests)}
print(json.dumps({"row": row, "modules": sorted(set(sys.modules) - before)}))
"""
THUMBNAIL = """
import json, os, sys, time
import httpx
address, uid = sys.argv[1:]
headers = {"Authorization": "Apikey " + os.environ["TILED_API_KEY"]}
with httpx.Client(base_url=address, headers=headers, timeout=60) as client:
    times = []
    for _ in range(6):
        start = time.perf_counter()
        answer = client.get(f"/api/v1/container/full/{uid}", params={"format": "image/png"})
        times.append(time.perf_counter() - start)
        assert answer.status_code == 200, answer.text
print(json.dumps({"first": times[0], "next": min(times[1:]), "bytes": len(answer.content)}))
"""


def scan(folder: str) -> None:
    """Store the run, and an image of it."""
    from cxgi_bluesky import session

    s = session.start(sim=True, data=folder, board="au64", object_name="CAS", live=False, progress=False, seed=1)
    (uid,) = s.RE(s.scan(768 / 4096, 3.0))
    s.reconstruct(uid, method="tv")
    (Path(folder) / "uid").write_text(uid)


def ask(script: str, *arguments: str) -> dict[str, Any]:
    found = subprocess.run([sys.executable, "-c", script, *arguments], check=True, capture_output=True, text=True)
    answer: dict[str, Any] = json.loads(found.stdout)
    return answer


def make_image(data: str, uid: str, method: str, repeats: int = 3) -> dict[str, float]:
    """Medians of processes that have imported what the first of them has imported while it worked."""
    modules = " ".join(ask(IMAGE, data, uid, method, "")["modules"])
    rows = [ask(IMAGE, data, uid, method, modules)["row"] for _ in range(repeats)]
    return {name: round(statistics.median(row[name] for row in rows), 3) for name in rows[0]}


@contextmanager
def serving(folder: str) -> Iterator[str]:
    """`cxgi serve`, which is asked at the address given."""
    words = [sys.executable, "-m", "cxgi_bluesky.cli", "serve", "--data", folder, "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            process.stdout.readline()
            yield line.split(" at ")[1].split(",")[0]
        finally:
            process.terminate()


def measure(folder: str, address: str, uid: str) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for where, data in (("embedded", folder), ("over HTTP", address)):
        for method in METHODS:
            row[f"{method}, {where}"] = make_image(data, uid, method)
            words = ("reconstruct", uid, "--method", method, "--no-record", "--out", "image.png", "--data", data)
            whole = several("-m", "cxgi_bluesky.cli", *words, folder=folder, repeats=1)
            row[f"{method}, {where}"]["whole command"] = whole["seconds_median"]
        row[f"baseline: exposures as a table, {where}"] = make_image(data, uid, "baseline")
    row["thumbnail"] = {name: round(value, 4) for name, value in ask(THUMBNAIL, address, uid).items()}
    return row


def main(sizes: Sequence[int], place: AbstractContextManager[str]) -> dict[str, Any]:
    os.environ |= {"CXGI_SERVE_KEY": KEY, "TILED_API_KEY": KEY, "MPLBACKEND": "Agg"}
    results: dict[str, Any] = {}
    with place as folder:
        os.environ["XDG_DATA_HOME"] = f"{folder}/home"
        if not (Path(folder) / "uid").exists():
            in_process(scan, folder)
        uid = (Path(folder) / "uid").read_text()
        for count in sizes:
            fill(folder, count)
            with serving(folder) as address:
                results[f"{count} runs"] = measure(folder, address, uid)
    return results


if __name__ == "__main__":
    report("stored_run", main(*sizes_and_folder(sys.argv[1:], SIZES)))
