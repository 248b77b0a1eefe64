"""Images of many runs: each once, whatever happens to the processes that make them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from bluesky import RunEngine

from benchmarks.many_runs import renew
from cxgi_bluesky._files.file_lock import LockedError, hold_lock
from cxgi_bluesky.catalog import find_run, open_catalog, read_all_runs, read_image, recover_journals, writer_of
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.session.many_runs import DIED, Task, compute, reconstruct_runs
from cxgi_bluesky.session.reconstruct_run import ImageRequest, reconstruct_run
from cxgi_bluesky.session.workers import open_workers
from tests import warm
from tests.catalog.test_server import KEY, Server
from tests.conftest import QUIET, small_board, small_scan
from tests.patience import PATIENCE_S, eventually


def derived_of(folder):
    """How many derived runs each run has, by its uid."""
    blocks = [run.start["cxgi"] for run in read_all_runs(folder) if run.start["cxgi"]["purpose"] == "reconstruction"]
    return Counter(block["request"]["run_uid"] for block in blocks)


def store_scans(folder, count):
    """A catalog with scans of a sample, one that nobody can reconstruct, and the uids of the good ones."""
    documents = []
    engine = RunEngine({})
    line = simulated_beamline(small_board(), "CAS", parameters=QUIET)
    engine.subscribe(lambda name, document: documents.append((name, document)))
    few = {"open_exposures": 1, "dark_exposures": 0, "incident_exposures": 0}  # streams take their time to store
    engine(small_scan(line, 32, md={"sample": "leaf"}, **few))
    text = json.loads(json.dumps(documents, default=lambda value: value.tolist()))
    catalog = open_catalog(folder, to_write=True)
    copies = [renew(text, seed) for seed in range(count)]
    for copy in copies:
        writer_of(catalog).write_runs([copy])
    bad = renew(text, count)
    bad[0][1]["cxgi"]["resumes"] = "feedbeef"
    writer_of(catalog).write_runs([bad])
    return catalog, [copy[0][1]["uid"] for copy in copies], bad[0][1]["uid"]


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    return folder, *store_scans(folder, 4)


def test_each_image_is_made_once_and_is_that_of_a_single_run(scans, capfd):
    folder, catalog, good, bad = scans
    result = reconstruct_runs(folder, 'sample == "leaf"', workers=2, catalog=catalog)
    assert set(result.made) == set(good)
    assert "'feedbeef' is not in the catalog" in result.failed.pop(bad)
    assert not result.failed
    for uid, derived in result.made.items():
        expected = reconstruct_run(catalog, find_run(catalog, uid), record=False)[0]
        assert np.array_equal(read_image(find_run(catalog, derived)), expected.image)
    assert "5/5" in capfd.readouterr().err
    assert derived_of(folder) == dict.fromkeys(good, 1)

    second = reconstruct_runs(folder, good, workers=1, catalog=catalog)
    assert (second.made, set(second.skipped)) == ({}, set(good))
    third = reconstruct_runs(folder, good[:1], workers=1, catalog=catalog, again=True)
    assert (set(third.made), third.skipped) == ({good[0]}, [])


def test_an_image_of_a_single_run_counts_too(scans):
    folder, catalog, good, _ = scans
    reconstruct_run(catalog, find_run(catalog, good[1]), method="correlation", details=True)
    done = reconstruct_runs(folder, good[1:2], method="correlation", workers=1, catalog=catalog)
    assert done.skipped == [good[1]]


def test_the_command_lists_what_failed(scans, capsys):
    folder, _, good, bad = scans
    words = ["reconstruct", "--query", 'sample == "leaf"', "--method", "inverse", "--data", str(folder), "--json"]
    assert main([*words, "--workers", "1"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert set(said["made"]) | set(said["skipped"]) == set(good)
    assert set(said["failed"]) == {bad}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--query"),
        (["last", "--query", "sample == 'leaf'"], "give one of them"),
        (["last", "--again"], "--again is for many runs"),
        (["--query", "smaple == 'leaf'"], "did you mean sample"),
        (["--query", "sample == 'leaf'", "--out", "x.png"], "--out is for one run"),
        (["--query", "sample == 'leaf'", "--workers", "0"], "at least 1"),
        (["--query", "sample == 'leaf'", "--method", "ch-mwcnn", "--weights", "none.safetensors"], "cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_refused(words, message, scans, capsys):
    assert main(["reconstruct", *words, "--data", str(scans[0])]) == 2
    assert message in capsys.readouterr().err


def test_only_one_at_a_time_in_a_folder(scans):
    folder, catalog, good, _ = scans
    with hold_lock(Path(folder), "reconstructing many runs"), pytest.raises(LockedError, match="another process"):
        reconstruct_runs(folder, good, catalog=catalog)


@dataclass(frozen=True, kw_only=True)
class Deadly(ImageRequest):
    """Kills the worker that prepares a run: always, or only as long as a file is not there."""

    uid: str = ""
    once: str = ""

    def prepare(self, catalog, run, *, folder=None):
        if run.metadata["start"]["uid"] == self.uid and not (self.once and Path(self.once).exists()):
            if self.once:
                Path(self.once).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().prepare(catalog, run, folder=folder)


def test_runs_of_a_worker_that_dies_are_tried_again(scans, tmp_path):
    folder, _, good, _ = scans
    request = Deadly(method="inverse", uid=good[1], once=str(tmp_path / "once"))
    with open_workers(count=2) as workers:
        outcomes = list(chain.from_iterable(compute([Task(str(folder), request, (uid,)) for uid in good], workers)))
    assert sorted(uid for uid, _ in outcomes) == sorted(good)
    assert not [outcome for _, outcome in outcomes if isinstance(outcome, str)]


def test_workers_have_the_environment_of_now(monkeypatch):
    monkeypatch.setenv("CXGI_TESTS_BEFORE", "1")
    for expected in (["1", None], [None, "2"]):
        with open_workers(count=1) as workers:
            assert [workers.submit(os.getenv, f"CXGI_TESTS_{one}").result() for one in ("BEFORE", "AFTER")] == expected
        monkeypatch.delenv("CXGI_TESTS_BEFORE", raising=False)
        monkeypatch.setenv("CXGI_TESTS_AFTER", "2")


def test_ctrl_c_is_for_the_process_that_has_the_workers():
    code = """
        import os, signal, time
        from cxgi_bluesky.session.workers import open_workers
        if __name__ == "__main__":
            os.setsid()
            heard = []
            signal.signal(signal.SIGINT, lambda *_: heard.append(1))
            with open_workers(count=1) as workers:
                started = workers.submit(os.getpid)
                while not started.done():
                    os.killpg(0, signal.SIGINT)
                    time.sleep(0.02)
                print(len(heard) > 1, workers.submit(os.getpid).result() == started.result())
    """
    done = warm.run([sys.executable, "-c", textwrap.dedent(code)])
    assert (done.stdout, done.stderr) == ("True True\n", "")


@pytest.mark.long
def test_a_run_that_kills_its_worker_again_is_told_from_those_beside_it(scans):
    folder, _, good, _ = scans
    request = Deadly(method="inverse", uid=good[1])
    with open_workers(count=2) as workers:
        outcomes = dict(chain.from_iterable(compute([Task(str(folder), request, tuple(good))], workers)))
    assert set(outcomes) == set(good)
    assert [uid for uid, outcome in outcomes.items() if outcome == DIED] == [good[1]]


def test_a_script_without_its_guard_is_told(scans, tmp_path):
    folder, _, good, _ = scans
    script = tmp_path / "script.py"
    call = f"reconstruct_runs({str(folder)!r}, {good!r}, method='tval3', workers=1, progress=False)"
    script.write_text(f"from cxgi_bluesky.session.many_runs import reconstruct_runs\n{call}\n")
    done = warm.run([sys.executable, script])
    assert done.stderr.strip().splitlines()[-1].endswith('start them below if __name__ == "__main__":')


# ---------------------------------------------------------------- a cluster


def test_a_scheduler_that_is_not_there_is_one_line(scans, capsys, monkeypatch):
    monkeypatch.setattr("cxgi_bluesky.session.workers.ANSWER_S", 0.5)
    words = ["--query", "sample == 'leaf'", "--again", "--scheduler", "tcp://127.0.0.1:1"]
    assert main(["reconstruct", *words, "--data", str(scans[0])]) == 2
    assert "scheduler tcp://127.0.0.1:1 does not answer" in capsys.readouterr().err


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two workers, each a process: its address, and the workers."""
    file, logs = tmp_path / "scheduler.json", (tmp_path / "log").open("w")
    dask, heard = [sys.executable, "-m", "dask"], {"stdout": logs, "stderr": logs}
    words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    processes = [warm.Popen([*dask, "scheduler", *words], **heard)]
    try:
        eventually(file.exists, True)
        worker = ["worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        for _ in range(2):
            words = [*worker, "--host", "127.0.0.1", "--local-directory", str(tmp_path)]
            processes.append(warm.Popen([*dask, *words], **heard))
        yield json.loads(file.read_text())["address"], processes[1:]
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()
        logs.close()


@pytest.mark.long
def test_all_images_arrive_once_although_a_worker_of_the_cluster_is_killed(tmp_path, cluster):
    from distributed import Client

    folder, (address, workers) = tmp_path / "data", cluster
    _, good, bad = store_scans(folder, 40)
    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=PATIENCE_S)
    command = [sys.executable, "-m", "cxgi_bluesky.cli", "reconstruct", "--query", 'sample == "leaf"', "--json"]
    child = warm.Popen(
        [*command, "--scheduler", address, "--data", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        eventually(lambda: sum(derived_of(folder).values()), lambda count: count >= 5, every_s=0.5)
        workers[0].kill()  # SIGKILL
        assert sum(derived_of(folder).values()) < len(good)
        out, err = child.communicate(timeout=PATIENCE_S)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 1, err
    said = json.loads(out)
    assert set(said["made"]) == set(good)
    assert set(said["failed"]) == {bad}
    assert derived_of(folder) == dict.fromkeys(good, 1)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A Tiled server in a process of its own, and its key in the environment of whatever is started after it."""
    monkeypatch.setenv("TILED_API_KEY", KEY)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    (tmp_path / "server").mkdir()
    running = Server(tmp_path / "server")
    yield running.address
    running.end()


def reconstruct_all(address, *words):
    command = [sys.executable, "-m", "cxgi_bluesky.cli", "reconstruct", "--query", 'sample == "leaf"', "--json"]
    done = warm.run([*command, "--data", address, *words])
    assert done.returncode == 1, done.stderr  # one run cannot be reconstructed
    return json.loads(done.stdout)


@pytest.mark.long
def test_workers_of_a_cluster_read_from_a_server(server, cluster):
    address, _ = cluster
    catalog, good, bad = store_scans(server, 6)
    eventually(lambda: sum(run.stop is not None for run in read_all_runs(server)), 7, every_s=0.5)
    said = reconstruct_all(server, "--scheduler", address, "--method", "tv")
    assert (set(said["made"]), set(said["failed"])) == (set(good), {bad})
    recover_journals(catalog)  # what the server has not taken in time
    assert derived_of(server) == dict.fromkeys(good, 1)
    alone, _ = reconstruct_run(catalog, find_run(catalog, good[0]), method="tv", record=False)
    image = read_image(find_run(catalog, said["made"][good[0]]))
    assert np.array_equal(image, alone.image)
    said = reconstruct_all(server, "--scheduler", address, "--method", "tv")
    assert (said["made"], set(said["skipped"])) == ({}, set(good))
