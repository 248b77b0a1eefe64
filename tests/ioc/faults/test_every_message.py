"""A pause before each message of one exposure, and going on: closed meanwhile, each exposure once in the image."""

from __future__ import annotations

import threading

import pytest
from bluesky import Msg
from bluesky.preprocessors import plan_mutator
from bluesky.utils import RunEngineInterrupted, ensure_generator

from cxgi_bluesky.measurement.exposures import Exposures
from tests.cases import long_case
from tests.plans.test_endings import interrupted

from .books import LIT, WHOLE, check_image, counted, rows, stops
from .conftest import short_scan

SECOND_PATTERN = 3
ONE_EXPOSURE = [
    "checkpoint", "set stage_tile", "wait", "set shutter", "wait", "trigger diode", "wait", "set shutter",
    "wait", "create", "read stage", "read diode", "read exposure", "save", "checkpoint",
]  # fmt: skip


def words(message):
    named = message.command in ("set", "trigger", "read")
    return f"{message.command} {message.obj.name}" if named else message.command


def first_message(line) -> int:
    """Number of the first message of the exposure of the second pattern, from 1."""
    messages = list(short_scan(line))
    opens = [n for n, m in enumerate(messages) if words(m) == "set shutter" and m.args == ("open",)]
    begin = opens[SECOND_PATTERN - 1] - ONE_EXPOSURE.index("set shutter")
    assert [words(m) for m in messages[begin : begin + len(ONE_EXPOSURE)]] == ONE_EXPOSURE
    return begin + 1


def made(number: int) -> set[tuple[int, int, int]]:
    """What was made besides the events: exposures, dark ones, openings. Only what is under way may be one or other."""
    if number <= ONE_EXPOSURE.index("set shutter") or number == len(ONE_EXPOSURE) - 1:
        return {(0, 0, 0)}
    if number == ONE_EXPOSURE.index("set shutter") + 1:
        return {(0, 0, 0), (0, 0, 1)}
    if number == ONE_EXPOSURE.index("trigger diode"):
        return {(0, 0, 1)}
    if number == ONE_EXPOSURE.index("trigger diode") + 1:
        return {(0, 0, 1), (1, 0, 1), (0, 1, 1)}
    return {(1, 0, 1)}


EACH_TIME = (ONE_EXPOSURE.index("trigger diode"), ONE_EXPOSURE.index("trigger diode") + 1, len(ONE_EXPOSURE) - 1)


@pytest.mark.parametrize("number", [n if n in EACH_TIME else long_case(n) for n in range(len(ONE_EXPOSURE))])
def test_a_pause_before_each_message(RE, documents, ca, line, truth, number):
    with pytest.raises(RunEngineInterrupted):
        RE(interrupted(short_scan(line), first_message(line) + number))
    assert ca.get("SHUTTER:STATUS") == "Closed"
    RE.resume()
    assert ca.get("SHUTTER:STATUS") == "Closed"
    assert ca.get("SAFETY:STATUS") == "Open"
    twice = {"primary": 5} if ONE_EXPOSURE[number] == "checkpoint" else {}  # it was stored, and is exposed once more
    assert rows(documents) == {**WHOLE, **twice}
    stored = sum(rows(documents).get(stream, 0) for stream in LIT)
    count = counted(ca)
    assert (count["EXPOSURES"] - stored, count["DARK_EXPOSURES"] - 1, count["OPENINGS"] - stored) in made(number)

    check_image(Exposures.from_documents(documents), truth)


def ended(plan, at: int, end):
    """The plan, ended from another thread before its message number `at`."""
    seen = []

    def end_here(message):
        seen.append(message)
        if len(seen) != at:
            return None, None
        threading.Thread(target=end, daemon=True).start()
        return ensure_generator([Msg("sleep", None, 10.0), message]), None

    return plan_mutator(plan, end_here)


ENDINGS = [
    *((number, "abort") for number in range(1, len(ONE_EXPOSURE) - 1)),
    *((number, "halt") for number in range(5, 10)),
]


@pytest.mark.parametrize(("number", "ending"), [case if case[0] in EACH_TIME else long_case(*case) for case in ENDINGS])
def test_an_ending_before_each_message(RE, documents, ca, line, number, ending):
    with pytest.raises(RunEngineInterrupted):
        RE(ended(short_scan(line), first_message(line) + number, getattr(RE, ending)))
    assert ca.get("SHUTTER:STATUS") == "Closed"
    assert ca.get("SAFETY:STATUS") == "Open"
    assert rows(documents) == {"dark": 1, "open": 1, "primary": 1} | ({"figures": 1} if ending == "abort" else {})
    assert stops(documents) == ["abort"]
    count = counted(ca)
    assert (count["EXPOSURES"] - 2, count["DARK_EXPOSURES"] - 1, count["OPENINGS"] - 2) in made(number)
    assert line.shutter.openings.get() >= count["OPENINGS"]
    assert line.shutter.alarm is None
