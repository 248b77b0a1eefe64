"""Plans run by a queue server: a real redis, a real manager, the start-up folder of ``cxgi queue-profile``."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from cxgi_bluesky.catalog import find_run, open_catalog, read_whole_scan
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.masks.pattern_set import PatternSet

from .serving import Queue

FEW, ALL = PatternSet(64, 6).to_dict(), PatternSet(64, 4096).to_dict()
WORDS = {"exposure_s": 1.0, "object_stage": "object_stage"}
SHORT = {"dark_exposures": 1, "max_open_s": 600.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def queue(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("queue")
    assert main(["queue-profile", str(folder / "profile"), "--sim", "--data", str(data)]) == 0
    with ExitStack() as ends:
        yield Queue(folder / "profile", folder, ends)


def test_a_queue_runs_a_scan_and_aborts_another(queue, data):
    done = queue.run("mask_scan", pattern_set=FEW, board="au64", md={"sample": "leaf"}, **WORDS, **SHORT)
    assert done["exit_status"] == "completed", done["msg"]
    run = find_run(open_catalog(data), done["run_uids"][0])
    assert run.metadata["start"]["sample"] == "leaf"
    assert run.metadata["start"]["cxgi"]["pattern_set"] == FEW
    assert run.metadata["stop"]["exit_status"] == "success"

    queue.begin("mask_scan", pattern_set=ALL, **WORDS)
    queue.pause("immediate")
    queue.do("re_abort")
    aborted = queue.end()
    assert aborted["exit_status"] == "aborted"
    assert find_run(open_catalog(data), aborted["run_uids"][0]).metadata["stop"]["exit_status"] == "abort"


@pytest.mark.parametrize(
    ("devices", "words", "said"),
    [
        (("stag", "shutter", "diode"), {}, "should be 'diode', 'object_stage', 'shutter' or 'stage'"),
        ((), {"pattern_set": [1, 2]}, "valid dictionary"),
        ((), {"path": "zigzag"}, "should be 'order' or 'snake'"),
        ((), {"exposure_s": "long"}, "valid number"),
    ],
)
def test_a_queue_refuses_what_a_plan_does_not_take(queue, devices, words, said):
    answer = queue.add("mask_scan", *devices, **{"pattern_set": FEW, "exposure_s": 1.0, **words})
    assert not answer["success"]
    assert said in answer["msg"]


@pytest.mark.parametrize(
    ("devices", "words", "said"),
    [
        (("diode", "shutter", "diode"), {}, "stage: SimulatedDiode(name='diode') lacks 'board', "),
        ((), {"board": "cu32"}, "is not the one of stage"),
        ((), {"reference_uid": "nowhere"}, "run 'nowhere' is not in the catalog"),
        ((), {"pattern_set": {"size": 64}}, "lacks basis, size, order or count"),
        ((), {"pattern_set": {"basis": "speckle", "sha256": "0", "count": 4}}, "are not here"),
    ],
)
def test_a_plan_that_cannot_be_done_fails_with_one_line(queue, devices, words, said):
    result = queue.run("mask_scan", *devices, **{"pattern_set": FEW, "exposure_s": 1.0, **words})
    assert result["exit_status"] == "failed"
    assert said in result["msg"]


@pytest.mark.long
def test_a_scan_takes_reference_and_dark_by_the_beginnings_of_their_uids(queue, data):
    uids = {}
    for name, devices, words in (
        ("reference", (), {"pattern_set": FEW, **WORDS}),
        ("dark", ("shutter", "diode"), {"exposure_s": 1.0}),
    ):
        (uids[f"{name}_uid"],) = queue.run(f"{name}_scan", *devices, **words)["run_uids"]
    links = {name: uid[:8] for name, uid in uids.items()}
    (scan,) = queue.run("mask_scan", pattern_set=FEW, **WORDS, **links)["run_uids"]
    words = find_run(open_catalog(data), scan).metadata["start"]["cxgi"]
    assert {name: words[name] for name in uids} == uids


@pytest.mark.long
@pytest.mark.parametrize(
    ("plan", "options"),
    [("metal_scan", {}), ("align_board", {}), ("adaptive_scan", {"count": 200, "until": {"psnr_db": 30}})],
)
def test_other_plans_run_too(queue, plan, options):
    result = queue.run(plan, **WORDS, **options)
    assert result["exit_status"] == "completed", result["msg"]


@pytest.mark.long
def test_a_scan_goes_on_after_a_pause_and_what_was_aborted_is_resumed(queue, data):
    some = PatternSet(64, 400)
    queue.begin("mask_scan", pattern_set=some.to_dict(), **WORDS, **SHORT)
    for how, next_step in (("deferred", "re_resume"), ("immediate", "re_abort")):
        queue.pause(how)
        queue.do(next_step)
    (first,) = queue.end()["run_uids"]
    (second,) = queue.run("resume_scan", uid=first[:8], object_stage="object_stage")["run_uids"]
    catalog = open_catalog(data)
    whole = read_whole_scan(catalog, find_run(catalog, second))
    assert set(whole.valid_patterns()) == set(some.pattern_index.tolist())
    assert "nothing is missing" in queue.run("resume_scan")["msg"]
