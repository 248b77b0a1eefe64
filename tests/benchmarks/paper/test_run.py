from __future__ import annotations

import math
import os

import pytest

from benchmarks.paper import run
from benchmarks.paper.run import Job, check_request, jobs_of, run_jobs
from cxgi_bluesky.errors import CxgiError


def test_the_figures_to_make():
    assert check_request((), 1, 1) == run.FIGURES
    assert check_request(["fig4", "fig2"], 1, 1) == ("fig4", "fig2")
    assert check_request(["fig2", "fig3", "fig2"], 1, 1) == ("fig2", "fig3")


@pytest.mark.parametrize(
    ("request_", "named"),
    [((["fig9"], 1, 1), "fig9"), (((), 0, 1), "seeds 0"), (((), 1, 0), "processes 0"), (((), -2, 1), "seeds -2")],
)
def test_impossible_requests(request_, named):
    with pytest.raises(CxgiError, match=named):
        check_request(*request_)


def test_every_seed_has_its_work_the_longest_first():
    jobs = jobs_of(run.FIGURES, 2)
    assert len({(job.figure, job.name, job.seed) for job in jobs}) == len(jobs) == 2 * (6 + 1 + 4)
    long = [job.name.startswith(("sandpaper", "objects")) for job in jobs]
    assert long == sorted(long, reverse=True)
    assert all(job.seed in job.arguments for job in jobs)
    assert {job.arguments[-1] for job in jobs if job.name == run.gold_scan(3.0)} == {3.0}


@pytest.mark.parametrize(("figure", "count"), [("fig2", 6), ("fig3", 1), ("fig4", 4)])
def test_the_work_of_one_figure(figure, count):
    jobs = jobs_of((figure,), 1)
    assert {job.figure for job in jobs} == {figure}
    assert len(jobs) == count


def test_work_is_done_in_other_processes_of_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    said: list[str] = []
    jobs = [Job("f", "pid", 0, os.getpid, ()), Job("f", "threads", 1, os.getenv, ("OMP_NUM_THREADS",))]
    results = run_jobs(jobs, processes=1, echo=said.append)
    assert results["f", "pid", 0] != os.getpid()
    assert results["f", "threads", 1] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "NUMBA_NUM_THREADS" not in os.environ
    assert [line.split(",")[0] for line in said] == ["[1/2", "[2/2"]


def test_work_that_fails_ends_it():
    with pytest.raises(ValueError, match="math domain"):
        run_jobs([Job("f", "bad", 0, math.sqrt, (-1.0,))], processes=1, echo=lambda text: None)
