from __future__ import annotations

from collections import Counter

import bluesky.plan_stubs as bps
import pytest
from event_model import RunRouter
from ophyd import Signal

from cxgi_bluesky.measurement.per_run import PerRun
from tests.nested_runs import log, nested


@pytest.fixture
def temperature():
    return Signal(name="temperature", value=300.0)


def test_nested_runs_are_kept_apart(RE, documents, temperature):
    kept = {}

    def begin(start):
        rows = kept.setdefault(start["what"], [])
        return lambda name, document: rows.append((name, document))

    RE.subscribe(PerRun(begin))
    RE(nested(log(temperature, readings=4, what="outer"), lambda: log(temperature, key="inner", what="inner"), 2))
    assert [name for name, _ in kept["outer"]] == ["descriptor", *["event"] * 4, "stop"]
    assert [name for name, _ in kept["inner"]] == ["descriptor", "event", "stop"] * 2
    assert [d["seq_num"] for name, d in kept["outer"] if name == "event"] == [1, 2, 3, 4]
    assert [name for name, _ in documents].count("event") == 6


def test_a_run_that_began_before_is_left_out_which_is_said_once(RE, temperature, caplog):
    seen, router = [], PerRun(lambda start: lambda name, document: seen.append(name))

    def plan():
        yield from bps.open_run()
        yield from bps.trigger_and_read([temperature])
        RE.subscribe(router)
        yield from bps.trigger_and_read([temperature])
        yield from bps.close_run()

    RE(plan())
    assert seen == []
    assert caplog.text.count("is left out") == 1
    RE(log(temperature))
    assert seen == ["descriptor", "event", "stop"]


def test_pages_of_events_are_routed_as_events_are(RE, documents, temperature):
    seen = []
    inner = PerRun(lambda start: lambda name, document: seen.append((name, document)))
    RE.subscribe(RunRouter([lambda name, start: ([inner], [])]))
    RE(nested(log(temperature, readings=4), lambda: log(temperature, key="inner"), 2))
    assert [name for name, _ in seen].count("event_page") == 6
    assert Counter(run_of(documents)) == Counter(run_of(seen))


def run_of(documents):
    """Of each stop document."""
    return [d["run_start"] for name, d in documents if name == "stop"]


def test_a_run_may_be_left_out(RE, temperature):
    router = PerRun(lambda start: None)
    RE.subscribe(router)
    RE(log(temperature))


def test_nothing_is_kept_of_a_run_that_has_ended(RE, temperature):
    router = PerRun(lambda start: None)
    RE.subscribe(router)
    RE(log(temperature))
    assert not router._run_of
    assert not router._runs


def test_what_a_callback_raises_is_raised(RE, temperature):
    def fail(name, document):
        raise KeyError("of the callback")

    RE.subscribe(PerRun(lambda start: fail))
    with pytest.raises(KeyError, match="of the callback"):
        RE(log(temperature))
