"""Images of many stored runs: reconstructions per minute by worker processes, against a plain loop.

``python -m benchmarks.many_runs [--runs 200] [--methods tv ch-mwcnn] [--workers 1 2]``: runs of 64 x 64 pixels and 768
patterns, four objects with noise of their own each, stored through the catalog's writer; the storing of an image; then,
for each method (``--methods`` alone: for none), the baseline ``for uid: reconstruct_run(...)`` in one process with the
catalog open, and `reconstruct_runs` with so many workers, each time in a process of its own with the catalog open (the
start of the workers, and of the process that they are forked from, is in the time; `seconds_of_one_run` is little
else). Images are stored by all. The network makes images alone in the loop and in batches in the workers; its time and
the difference of its images alone and in batches are measured apart, in one process, without the catalog.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks._timing import report
from benchmarks.start_up import in_process

TOGETHER = 10  # runs in one transaction
OBJECTS = ("CAS", "gear", "bars", "gold")


def record_documents(object_name: str, size: int, patterns: int) -> list[tuple[str, Any]]:
    """Documents of a simulated scan, as JSON has them."""
    from bluesky import RunEngine

    from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
    from cxgi_bluesky.masks.pattern_set import PatternSet
    from cxgi_bluesky.plans import hadamard_scan

    documents: list[Any] = []
    line = simulated_beamline("au64" if size == 64 else "cu32", object_name)
    engine = RunEngine({})
    engine.subscribe(lambda name, document: documents.append([name, document]))
    devices = line.stage, line.shutter, line.diode
    plan = hadamard_scan(
        *devices, board=line.board, pattern_set=PatternSet(size, patterns), exposure_s=1.0, md={"sample": object_name}
    )
    engine(plan)
    text: str = json.dumps(documents, default=lambda value: value.tolist())
    return json.loads(text)


def renew(documents: list[tuple[str, Any]], seed: int) -> list[tuple[str, Any]]:
    """The same scan once more: new uids, and buckets with 0.1 % of noise more."""
    text = json.dumps(documents)
    for name, document in documents:
        if name in ("start", "descriptor", "stop"):
            text = text.replace(document["uid"], str(uuid.uuid4()))
    rng, copy = np.random.default_rng(seed), json.loads(text)
    bucket = copy[0][1]["cxgi"]["fields"]["bucket"]
    for name, document in copy:
        if name == "event" and bucket in document["data"]:
            document["data"][bucket] *= 1 + 1e-3 * rng.standard_normal()
    return [(name, document) for name, document in copy]


def fill(catalog: Any, count: int, *, size: int = 64, patterns: int = 768) -> list[str]:
    """Store so many runs through the catalog's writer, some together; returns their uids."""
    from cxgi_bluesky.catalog import writer_of

    scans = [record_documents(name, size, patterns) for name in OBJECTS[: max(1, min(count, len(OBJECTS)))]]
    uids = []
    for first in range(0, count, TOGETHER):
        runs = [renew(scans[seed % len(scans)], seed) for seed in range(first, min(first + TOGETHER, count))]
        writer_of(catalog).write_runs(runs)
        uids += [documents[0][1]["uid"] for documents in runs]
    return uids


def per_minute(function: Callable[[], Any], count: int) -> dict[str, float]:
    started = time.perf_counter()
    function()
    seconds = time.perf_counter() - started
    return {"seconds": round(seconds, 2), "per_minute": round(60 * count / seconds, 1)}


def batches(catalog: Any, uids: list[str]) -> dict[str, Any]:
    """The network alone and in batches: time of an image, and how far the images differ."""
    from cxgi_bluesky.catalog import find_run
    from cxgi_bluesky.session.many_runs import BATCH
    from cxgi_bluesky.session.reconstruct_run import ImageRequest

    request = ImageRequest(method="ch-mwcnn")
    ready = [request.prepare(catalog, find_run(catalog, uid)) for uid in uids]
    request.make_images(ready[:2])
    started = time.perf_counter()
    alone = [request.make_image(one) for one in ready]
    middle = time.perf_counter()
    together = [
        image for first in range(0, len(ready), BATCH) for image in request.make_images(ready[first : first + BATCH])
    ]
    end = time.perf_counter()
    spans = [float(np.ptp(one.image)) for one in alone]
    differences = [
        float(np.abs(one.image - other.image).max()) / span
        for one, other, span in zip(alone, together, spans, strict=True)
    ]
    return {
        "images": len(ready),
        "ms_alone": round(1e3 * (middle - started) / len(ready), 2),
        "ms_in_batches": round(1e3 * (end - middle) / len(ready), 2),
        "largest_difference_over_range": max(differences),
    }


def storing(catalog: Any, uid: str, count: int = 16) -> dict[str, Any]:
    """Storing an image: by Tiled's requests (the baseline), in one transaction, and eight in one; milliseconds each."""
    from cxgi_bluesky.catalog import compose_reconstruction, find_run, writer_of
    from cxgi_bluesky.session.reconstruct_run import reconstruct_run

    image, _ = reconstruct_run(catalog, find_run(catalog, uid), method="tv", record=False)
    writer = writer_of(catalog)

    def by_requests(runs: list[Any]) -> None:
        for (_, start), *others in runs:
            store = writer.begin(start)
            for name, document in others:
                store(name, document)

    rows = {}
    for name, write, together in (
        ("baseline: by requests", by_requests, 1),
        ("in one transaction", writer.write_runs, 1),
        ("eight in one transaction", writer.write_runs, 8),
    ):
        runs = [compose_reconstruction(image, pixel_um=10.0) for _ in range(count + together)]
        write(runs[:together])
        times, began = [], time.process_time()
        for first in range(together, len(runs), together):
            started = time.perf_counter()
            write(runs[first : first + together])
            times.append((time.perf_counter() - started) / together)
        processor = (time.process_time() - began) / count
        milliseconds = {"median": np.median(times), "min": min(times), "of the processor": processor}
        rows[name] = {key: round(1e3 * float(seconds), 1) for key, seconds in milliseconds.items()}
    return rows


def by_workers(folder: str, uids: list[str], method: str, workers: int) -> dict[str, float]:
    """Images of runs, made by so many workers; in the process that calls."""
    from cxgi_bluesky.catalog import open_catalog
    from cxgi_bluesky.session.many_runs import reconstruct_runs

    catalog = open_catalog(folder, to_write=True)

    def work() -> None:
        words: dict[str, Any] = {"method": method, "workers": workers, "again": True, "progress": False}
        made = reconstruct_runs(folder, uids, catalog=catalog, **words).made
        assert len(made) == len(uids)

    return per_minute(work, len(uids))


def main(arguments: list[str] | None = None) -> None:
    from cxgi_bluesky.catalog import find_run, open_catalog
    from cxgi_bluesky.session.many_runs import BATCH
    from cxgi_bluesky.session.reconstruct_run import reconstruct_run

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--methods", nargs="*", default=["tv", "ch-mwcnn"])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    options = parser.parse_args(arguments)
    results: dict[str, Any] = {"runs": options.runs, "size": 64, "patterns": 768}
    with tempfile.TemporaryDirectory() as folder:
        catalog = open_catalog(folder, to_write=True)
        uids: list[str] = []
        results["storing the runs"] = per_minute(lambda: uids.extend(fill(catalog, options.runs)), options.runs)
        results["storing an image, ms"] = storing(catalog, uids[0])
        for method in options.methods:
            reconstruct_run(catalog, find_run(catalog, uids[0]), method=method, record=False)  # imports, weights, loops

            def loop(method: str = method) -> None:
                for uid in uids:
                    reconstruct_run(catalog, find_run(catalog, uid), method=method)

            rows = {"baseline: plain loop": per_minute(loop, len(uids))}
            for count in options.workers:
                row = in_process(by_workers, folder, uids, method, count)
                one = in_process(by_workers, folder, uids[:1], method, count)
                row["seconds_of_one_run"] = one["seconds"]
                row["over_plain_loop"] = round(row["per_minute"] / rows["baseline: plain loop"]["per_minute"], 2)
                rows[f"{count} workers"] = row
            results[method] = rows
        if "ch-mwcnn" in options.methods:
            results["network, image and checks"] = {"batch": BATCH, **batches(catalog, uids[: 4 * BATCH])}
    report("many_runs", results)


if __name__ == "__main__":
    main()
