"""What a scan has stored, against what the IOC has counted: nothing lost, nothing twice, shutter closed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from bluesky import Msg
from bluesky.preprocessors import msg_mutator

from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from tests.patience import eventually

SET = PatternSet(32, 4)
TILE_TIMES = {"open_exposures": 1, "dark_exposures": 1, "incident_exposures": 0, "open_every": 0}
WHOLE = {"dark": 1, "open": 2, "primary": 4, "figures": 1}  # events of a scan of `SET` without faults
LIT = ("primary", "validation", "open", "incident", "metal", "failed")
ADAPTIVE = {"count": 100, "exposure_s": 1.0, "validation": 20, "open_exposures": 1, "dark_exposures": 1}
EXPOSURE_S = 2000.0  # simulated seconds: no noise to speak of
SLOW = 60.0 / EXPOSURE_S  # time scale of an exposure in which something is done, however slow the machine
LIT_S = 4.0  # simulated seconds of light with which the IOC counts such an exposure as one that was lit
SAME = 2e-3  # of a bucket: 10 sigma of such an exposure; buckets of neighbouring tiles differ by more


def events(documents: Iterable[tuple[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Stream and data of each event of one or more runs, in the order of time; a repeated one is there twice."""
    documents = list(documents)
    stream_of = {d["uid"]: d["name"] for name, d in documents if name == "descriptor"}
    return [(stream_of[d["descriptor"]], d["data"]) for name, d in documents if name == "event"]


def run_of(documents: list[tuple[str, Any]], uid: str) -> list[tuple[str, Any]]:
    """Documents of one of several runs that came one after the other."""
    starts = [place for place, (name, _) in enumerate(documents) if name == "start"] + [len(documents)]
    (begin,) = (place for place in starts[:-1] if documents[place][1]["uid"] == uid)
    return documents[begin : min(place for place in starts if place > begin)]


def rows(documents: Iterable[tuple[str, Any]]) -> dict[str, int]:
    """Number of events of each stream."""
    return dict(Counter(stream for stream, _ in events(documents)))


def stops(documents: Iterable[tuple[str, Any]]) -> list[str]:
    """How the runs ended."""
    return [d["exit_status"] for name, d in documents if name == "stop"]


def check_books(
    ca: Any,
    documents: Iterable[tuple[str, Any]],
    *,
    interrupted: int = 0,
    dark: int = 0,
    opened: int = 0,
) -> None:
    """Hold events against the IOC's counts, and the shutters.

    Parameters
    ----------
    ca : Client
    documents : list of (str, dict)
        Of all runs since the counts were reset.
    interrupted : int
        Exposures that were lit and for which there is no event.
    dark : int
        Exposures without any light for which there is no event.
    opened : int
        Openings without an exposure.
    """
    stored = rows(documents)
    lit = sum(stored.get(stream, 0) for stream in LIT) + interrupted
    wanted = {
        "EXPOSURES": lit,
        "DARK_EXPOSURES": stored.get("dark", 0) + dark,
        "OPENINGS": lit + opened,
    }
    assert counted(ca) == wanted
    assert ca.get("SHUTTER:STATUS") == "Closed"
    assert ca.get("SAFETY:STATUS") == "Open"


def counted(ca: Any) -> dict[str, int]:
    """What the IOC has counted, when the exposure that may be under way has ended by itself."""
    eventually(lambda: ca.get("ACQUIRE"), 0)
    return {name: ca.get(f"COUNT:{name}") for name in ("EXPOSURES", "DARK_EXPOSURES", "OPENINGS")}


def openings_told(documents: Iterable[tuple[str, Any]]) -> int:
    """Openings of the runs as their last figures tell them."""
    told: list[dict[str, Any]] = []
    for name, document in documents:
        if name == "start":
            told.append({})
        elif name == "event":
            told[-1] |= document["data"]
    return sum(int(of.get("exposure_openings", 0)) for of in told)


def check_image(measured: Exposures, truth: dict[int, float], patterns: PatternSet = SET) -> None:
    """Each pattern of a set once, each with the bucket of its tile."""
    wanted = sorted(patterns.pattern_index.tolist())
    assert sorted(Measurement.from_exposures(measured).pattern_index.tolist()) == wanted
    buckets = {k: exposure.bucket for k, exposure in measured.streams["primary"].items()}
    assert buckets == pytest.approx({k: truth[k] for k in wanted}, rel=SAME)


def wait_for_exposure(ca: Any, opening: int) -> None:
    """Until the IOC says that it exposes with so many openings behind it, and light has come."""

    def under_way() -> bool:
        return ca.get("COUNT:OPENINGS") >= opening and ca.get("ACQUIRE") == 1 and ca.get("SHUTTER:STATUS") == "Open"

    eventually(under_way, True)
    already = ca.get("COUNT:OPEN_S")
    eventually(lambda: ca.get("COUNT:OPEN_S") > already + LIT_S or not under_way(), True)


@dataclass(frozen=True)
class Pace:
    """At which openings of the next scan exposures begin to take real time, and what makes them."""

    openings: Collection[int]
    slow_down: Callable[[], None]


PACE: list[Pace] = []  # none, or one


def paced(plan: Any, shutter: Any) -> Any:
    """The plan, slowed down by `PACE`."""
    opened = 0

    def look(message: Msg) -> Msg:
        nonlocal opened
        if (message.command, message.obj, message.args) == ("set", shutter, ("open",)):
            opened += 1
            for pace in PACE:
                if opened in pace.openings:
                    pace.slow_down()
        return message

    return msg_mutator(plan, look)


@contextmanager
def in_exposure(
    ca: Any, opening: int, action: Callable[[], Any], *, then: str = "interrupted", times: int = 1
) -> Iterator[str]:
    """Do something in another thread while the IOC says that it exposes with so many openings behind it.

    All other exposures take no time. Yields what a scanning process is to be told for that (`Words.scan`).

    Parameters
    ----------
    ca : Client
    opening : int
        Number of the opening, counted from 1.
    action : callable
    then : str
        What becomes of the exposure: it is "interrupted" by what was done, which closes the shutter; it "runs out"
        when that is done; or it is "gone" with the IOC.
    times : int
        Do the same in so many exposures, one after the other.
    """
    told: list[BaseException] = []
    openings = range(opening, opening + times)

    def act() -> None:
        try:
            for number in openings:
                wait_for_exposure(ca, number)
                action()
                if then == "interrupted":
                    eventually(
                        lambda at=number: ca.get("SHUTTER:STATUS") == "Open" and ca.get("COUNT:OPENINGS") == at, False
                    )
                if then != "gone":
                    ca.put("TIME_SCALE", 0.0)
        except BaseException as error:
            told.append(error)

    thread = threading.Thread(target=act, daemon=True)
    pace = Pace(openings, lambda: ca.put("TIME_SCALE", SLOW))
    if ca.get("COUNT:OPENINGS") == opening - 1 > 0:  # a scan that is resumed has no more messages for `paced`
        pace.slow_down()
    else:
        PACE.append(pace)
    thread.start()
    try:
        yield str(opening)
    finally:
        PACE.clear()
        thread.join()  # all that it waits for has limits
    assert not told, told


class AtEvent:
    """Subscriber that does something at the event number `at` of a stream, once.

    Events come between exposures: the shutter is closed then.
    """

    def __init__(self, stream: str, at: int, action: Callable[[], None]) -> None:
        self._stream, self._at, self._action = stream, at, action
        self._uids: set[str] = set()
        self.done = False

    def __call__(self, name: str, document: Any) -> None:
        if name == "descriptor" and document["name"] == self._stream:
            self._uids.add(document["uid"])
        at = name == "event" and document["descriptor"] in self._uids and document["seq_num"] == self._at
        if at and not self.done:
            self.done = True
            self._action()
