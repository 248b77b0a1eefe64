"""What a user adds to the start document: plain values are kept, the rest refused by name before anything moves."""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.measurement.plain_values import MAX_DEPTH
from tests.conftest import ALONE, small_scan

KEPT = {
    "day": (date(2026, 1, 2), "2026-01-02"),
    "at": (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
    "moment": (np.datetime64("2026-01-02T03:04:05.000000001"), "2026-01-02T03:04:05.000000001"),
    "folder": (Path("/data/run #1"), "/data/run #1"),
    "ticket": (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    "energy": (np.float32(12.5), 12.5),
    "flat": (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
    "people": ({"Kim", "Ada"}, ["Ada", "Kim"]),
    "mixed": ({1, "a"}, ["a", 1]),
    "largest": (2**53 - 1, 2**53 - 1),
    "grüße": ({"a": [None, True, "ä"]}, {"a": [None, True, "ä"]}),
}


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


REFUSED = [
    ({"barcode": 12345678901234567890}, "md.barcode 12345678901234567890 is a whole number beyond 2^53"),
    ({"flux": 1e17}, "md.flux 1e+17 is a whole number beyond 2^53"),
    ({"gain": float("inf")}, "md.gain inf is not finite"),
    ({"a": {"b": [0, np.array([1.0, np.nan])]}}, "md.a.b[1][1] nan is not finite"),
    ({"raw": b"\xff"}, r"md.raw b'\xff' is bytes"),
    ({"name": "\udcff"}, r"md.name '\udcff' is no UTF-8"),
    ({"map": {3: "x"}}, "md.map: the key 3 is no text"),
    ({"what": object()}, " is object, which cannot be kept"),
    ({"deep": nested(MAX_DEPTH + 1)}, " lies more than 50 levels deep"),
    ({"deep": nested(100_000)}, " lies more than 50 levels deep"),
    ({"motors": ["x"]}, "md has a key 'motors'"),
    ({"plan_args": {}}, "md has a key 'plan_args'"),
    ({"uid": "mine"}, "md has a key 'uid'"),
    ({"scan_id": 3}, "md has a key 'scan_id'"),
    ({"hints": 3}, "md['hints'] is not as event-model has it"),
    ({"a.b": 3}, "md['a.b'] is not as event-model has it"),
    ({"plan_name": 3}, "md['plan_name'] 3 is no text"),
    ([1], "md [1]: give a mapping"),
]


def test_plain_values_are_kept(RE, beamline, documents):
    RE(small_scan(beamline, 4, **ALONE, md={name: given for name, (given, _) in KEPT.items()}))
    (start,) = documents.of("start")
    assert {name: start[name] for name in KEPT} == {name: kept for name, (_, kept) in KEPT.items()}
    json.dumps(start, allow_nan=False)


@pytest.mark.parametrize(("md", "message"), REFUSED)
def test_what_would_be_altered_is_refused_before_anything_moves(RE, beamline, documents, md, message):
    touched = []
    RE.msg_hook = touched.append
    with pytest.raises(CxgiError, match=re.escape(message)) as caught:
        RE(small_scan(beamline, 4, **ALONE, md=md))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert not documents + touched


def test_an_argument_that_would_be_altered_is_refused_too(RE, beamline, documents):
    with pytest.raises(CxgiError, match=r"plan_args\.validation_seed 9007199254740993 is a whole number beyond"):
        RE(small_scan(beamline, 4, **ALONE, validation_seed=2**53 + 1))
    assert not documents


def test_hints_are_added_and_the_plan_may_have_another_name(RE, beamline, documents):
    RE(small_scan(beamline, 4, **ALONE, md={"hints": {"window": "left"}, "plan_name": "daily_check"}))
    (start,) = documents.of("start")
    assert start["plan_name"] == "daily_check"
    assert start["hints"] == {"dimensions": [([beamline.stage.tile.name], "primary")], "window": "left"}
