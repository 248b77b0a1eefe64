"""Signals to the scanning process, and its sudden death."""

from __future__ import annotations

import signal
import time

import pytest

from cxgi_bluesky.measurement.exposures import Exposures
from tests.beamline_files import changed_file
from tests.cases import long_case
from tests.ioc.devices.conftest import changes_of
from tests.patience import PATIENCE_S, eventually

from .books import ADAPTIVE, SAME, SET, WHOLE, check_books, check_image, in_exposure, openings_told, rows, stops
from .scanning import Scanner

SECOND_PATTERN = 3
CUT_OFF = {"dark": 1, "open": 1, "primary": 1}
BETWEEN_SIGNALS_S = 0.4  # the RunEngine takes two within 0.1 s for one
TIMER_S = 1.0  # the most that the IOC lets the shutter be open


@pytest.fixture(scope="module")
def process(shared_ioc, tmp_path_factory):
    """A scanning process without a session."""
    folder = tmp_path_factory.mktemp("process")
    file = changed_file(folder, changes_of(shared_ioc.prefix))
    scanner = Scanner(file, folder, folder, shared_ioc.environment)
    scanner.ask("engine")
    yield scanner
    scanner.end()


@pytest.mark.parametrize("then", ["resume", "abort"])
def test_two_interrupts_in_an_exposure(ca, process, truth, then):
    def twice():
        process.signal(signal.SIGINT)
        time.sleep(BETWEEN_SIGNALS_S)
        process.signal(signal.SIGINT)

    known = len(process.documents)
    with in_exposure(ca, SECOND_PATTERN, twice) as opening:
        told = process.ask("scan", opening)
    assert told["error"].startswith("RunEngineInterrupted")
    assert told["state"] == "paused"
    assert ca.get("SHUTTER:STATUS") == "Closed"
    assert ca.get("COUNT:OPENINGS") == SECOND_PATTERN
    told = process.ask(then)
    assert (told["error"], told["state"]) == ("", "idle")
    documents = process.documents[known:]
    assert rows(documents) == (WHOLE if then == "resume" else CUT_OFF | {"figures": 1})
    assert stops(documents) == ["success" if then == "resume" else "abort"]
    check_books(ca, documents, interrupted=1)
    assert openings_told(documents) == ca.get("COUNT:OPENINGS")
    if then == "resume":
        check_image(Exposures.from_documents(documents), truth)


def test_one_interrupt_pauses_after_the_exposure(ca, process, truth):
    def once():
        process.signal(signal.SIGINT)
        eventually(lambda: "Deferred pause acknowledged" in "".join(process.said), True)

    process.said.clear()
    known = len(process.documents)
    with in_exposure(ca, SECOND_PATTERN, once, then="runs out") as opening:
        told = process.ask("scan", opening)
    assert told["state"] == "paused"
    assert rows(process.documents[known:]) == {"dark": 1, "open": 1, "primary": 2}  # it was stored
    check_books(ca, process.documents[known:])
    assert process.ask("resume")["state"] == "idle"
    assert rows(process.documents[known:]) == WHOLE
    check_books(ca, process.documents[known:])
    check_image(Exposures.from_documents(process.documents[known:]), truth)


@pytest.mark.parametrize("number", [signal.SIGHUP, long_case(signal.SIGTERM)])
def test_a_process_that_is_told_to_end_closes_first(ca, scanner, shared_ioc, beamline_file, number):
    """The IOC's own timer would come much later."""
    process = scanner(beamline_file(ca.prefix, shutter__max_open_s=60.0), shared_ioc.environment)
    process.ask("session")
    with in_exposure(ca, SECOND_PATTERN, lambda: process.signal(number)) as opening:
        process.tell("scan", opening)
    assert process.process.wait(timeout=PATIENCE_S) == -number
    assert ca.get("SHUTTER:STATUS") == "Closed"
    assert ca.get("SHUTTER:TIMED_OUT") == 0
    assert rows(process.documents) == CUT_OFF | {"figures": 1}
    assert stops(process.documents) == ["abort"]
    check_books(ca, process.documents, interrupted=1)


@pytest.mark.long
def test_a_process_that_ends_by_itself_closes_first(ca, scanner, shared_ioc, beamline_file):
    process = scanner(beamline_file(ca.prefix, shutter__max_open_s=60.0), shared_ioc.environment)
    process.ask("session")
    process.ask("open_shutter")
    assert ca.get("SHUTTER:STATUS") == "Open"
    process.process.stdin.close()
    assert process.process.wait(timeout=PATIENCE_S) == 0
    assert ca.get("SHUTTER:STATUS") == "Closed"
    assert ca.get("SHUTTER:TIMED_OUT") == 0


@pytest.mark.long
def test_a_killed_process_leaves_closing_to_the_iocs_timer_and_a_new_one_completes_the_scan(
    ca, scanner, shared_ioc, beamline_file, truth
):
    file = beamline_file(ca.prefix, shutter__max_open_s=TIMER_S)
    first, second = (scanner(file, shared_ioc.environment) for _ in range(2))
    second.tell("imports")
    first.ask("session")

    def kill():
        first.signal(signal.SIGKILL)
        assert ca.get("SHUTTER:STATUS") == "Open"

    with in_exposure(ca, SECOND_PATTERN, kill, then="runs out") as opening:
        first.tell("scan", opening)
    eventually(lambda: ca.get("SHUTTER:STATUS"), "Closed")
    assert ca.get("SHUTTER:TIMED_OUT") == 1
    assert rows(first.documents) == CUT_OFF
    uid = first.documents[0][1]["uid"]

    second.hear()
    second.ask("session")
    told = second.ask("resume_scan", uid[:8])
    assert told["error"] == ""
    check_books(ca, second.documents, interrupted=1)
    image = second.ask("image", told["result"][0])
    assert image["uids"] == [uid, told["result"][0]]
    assert sorted(image["patterns"]) == sorted(truth)
    assert image["buckets"] == pytest.approx({str(k): truth[k] for k in SET.pattern_index}, rel=SAME)
    assert image["figures"]["openings"] == ca.get("COUNT:OPENINGS") - 1  # no event tells of the interrupted one


@pytest.mark.long
def test_a_scan_that_chooses_its_patterns_is_killed_and_completed_by_a_new_process(
    ca, scanner, shared_ioc, beamline_file
):
    file = beamline_file(ca.prefix, shutter__max_open_s=TIMER_S)
    first, second = (scanner(file, shared_ioc.environment) for _ in range(2))
    second.tell("imports")
    first.ask("session")
    first.tell("adaptive_scan")
    eventually(lambda: rows(first.documents).get("batches", 0) >= 2, True)
    first.signal(signal.SIGKILL)
    first.process.wait(timeout=PATIENCE_S)
    begun = Exposures.from_documents(first.documents)
    uid = begun.start["uid"]

    second.hear()
    second.ask("session")
    told = second.ask("resume_scan", uid[:8])
    assert told["error"] == ""
    image = second.ask("image", told["result"][0])
    assert image["uids"] == [uid, told["result"][0]]
    validation = set(begun.validation_draws.patterns)
    assert len(image["buckets"]) == ADAPTIVE["count"] - len(validation)
    assert set(begun.streams["primary"]) <= {int(k) for k in image["buckets"]}  # and none of them twice
    assert rows(second.documents)["primary"] - len(image["buckets"]) <= 1  # one that was not yet in the journal
    assert set(image["patterns"]) - {int(k) for k in image["buckets"]} <= validation  # those that the rule wanted
    assert ca.get("SHUTTER:STATUS") == "Closed"
