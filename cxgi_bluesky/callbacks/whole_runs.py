"""Runs that come over a network, where documents get lost: whole from their beginning, or not at all."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from ..catalog.journal import Document
from ..measurement.per_run import Callback

logger = logging.getLogger(__name__)

ASK_AGAIN_S = 2.0  # between two questions for what is missing of a run under way
END_S = 15.0  # so long what is missing of a run that has ended is waited for


class Store(Protocol):
    """Where runs are stored while they are under way, as `catalog.follow.StoredRuns`."""

    location: Any

    def documents(self, uid: str) -> list[Document]:
        """Read what is stored of a run by now."""

    def run_of_descriptor(self, descriptor: str) -> str | None:
        """Find the run that has a descriptor."""


class Ended(NamedTuple):
    """A run that has ended: its start and stop document, its events that were passed on, and those that never came."""

    start: Mapping[str, Any]
    stop: Mapping[str, Any]
    events: int
    missing: int


class WholeRuns:
    """Pass runs on so that what is passed on of a run is always its whole beginning.

    Where an event is missing, and for a run that began before, what is stored of the run is read; until that has the
    missing event, the later ones wait. What is stored nowhere is reported, once.

    Parameters
    ----------
    take : callable
        Takes name and document.
    store : Store
        Where runs are looked up.
    on_end : callable, optional
        Takes each run that has ended (`Ended`).
    """

    def __init__(self, take: Callback, store: Store, *, on_end: Callable[[Ended], None] | None = None) -> None:
        self._take, self._store, self._on_end = take, store, on_end
        self._runs: dict[str, _Run] = {}
        self._run_of: dict[str, str] = {}  # by descriptor, also of runs that have ended
        self._ended: set[str] = set()
        self._asked: dict[str, float] = {}  # when, by descriptor or run
        self._said = False

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document as it comes; never raises."""
        try:
            for kind, one in _one_by_one(name, document):
                self._handle(kind, one)
        except Exception as error:
            logger.warning("a document (%s) is left out: %s: %s", name, type(error).__name__, error)

    def _handle(self, name: str, document: Mapping[str, Any]) -> None:
        if name == "start":
            self._said = False
            for uid in [uid for uid in self._runs if self._may_ask(uid)]:
                self.update(uid)  # the end of a run may be lost too
            self._begin(document)
        elif name == "event":
            self._handle_event(document)
        elif name in ("descriptor", "stop") and document["run_start"] not in self._ended:
            uid = document["run_start"]
            if uid not in self._runs:
                self.update(uid)
            elif name == "descriptor":
                self._describe(self._runs[uid], document)
            else:
                self._end(self._runs[uid], document)

    def _handle_event(self, event: Mapping[str, Any]) -> None:
        descriptor = event["descriptor"]
        uid = self._run_of.get(descriptor)
        if uid in self._ended:
            return
        if uid is None:
            uid = self._store.run_of_descriptor(descriptor) if self._may_ask(descriptor) else None
            if uid is None:
                self._report_unknown(event)
                return
            self.update(uid)
        run = self._runs.get(uid)
        if run is None:
            return
        self._pass_on(run, [event])
        if run.waiting and self._may_ask(uid):
            self.update(uid)

    @property
    def under_way(self) -> int:
        """Number of runs that have begun and not ended."""
        return len(self._runs)

    def update(self, uid: str) -> None:
        """Pass on what is stored of a run, and was not passed on yet.

        Parameters
        ----------
        uid : str
            Of the run.
        """
        if uid in self._ended:
            return
        stored = list(self._stored(uid))
        start = next((document for name, document in stored if name == "start"), None)
        if start is None:
            return
        self._begin(start)
        run = self._runs[uid]
        self._pass_on_stored(run, stored)
        for name, document in stored:
            if name == "stop":
                self._end(run, document)

    def _stored(self, uid: str) -> Iterator[Document]:
        for name, document in self._store.documents(uid):
            yield from _one_by_one(name, document)

    def _begin(self, start: Mapping[str, Any]) -> None:
        uid = str(start["uid"])
        if uid not in self._runs and uid not in self._ended:
            self._runs[uid] = _Run(start)
            self._take("start", start)

    def _describe(self, run: _Run, descriptor: Mapping[str, Any]) -> None:
        uid = descriptor["uid"]
        if uid not in run.streams:
            run.streams[uid] = descriptor["name"]
            self._run_of[uid] = run.uid
            self._take("descriptor", descriptor)

    def _pass_on(self, run: _Run, events: Iterable[Mapping[str, Any]]) -> None:
        for event in run.in_turn(events):
            self._take("event", event)

    def _pass_on_stored(self, run: _Run, stored: Iterable[Document]) -> None:
        events = []
        for name, document in stored:
            if name == "descriptor":
                self._describe(run, document)
            elif name == "event":
                events.append(document)
        self._pass_on(run, events)

    def _end(self, run: _Run, stop: Mapping[str, Any]) -> None:
        self._wait_for_missing(run, stop)
        if missing := run.missing(stop):
            logger.warning(
                "run %s: %d of its events did not come, and %s does not have them; the image is of what came before",
                run.uid[:8], missing, self._store.location,
            )  # fmt: skip
        del self._runs[run.uid]
        self._ended.add(run.uid)
        self._take("stop", stop)
        if self._on_end is not None:
            self._on_end(Ended(run.start, stop, len(run.seen), missing))

    def _wait_for_missing(self, run: _Run, stop: Mapping[str, Any]) -> None:
        """Read what is stored until nothing is missing: a catalog may be behind a scan, but not at its end."""
        deadline = time.monotonic() + END_S
        while run.missing(stop) and (stored := list(self._stored(run.uid))):
            self._pass_on_stored(run, stored)
            if not run.missing(stop) or time.monotonic() > deadline:
                return
            time.sleep(ASK_AGAIN_S)

    def _may_ask(self, what: str) -> bool:
        if time.monotonic() < self._asked.get(what, -ASK_AGAIN_S) + ASK_AGAIN_S:
            return False
        self._asked[what] = time.monotonic()
        return True

    def _report_unknown(self, event: Mapping[str, Any]) -> None:
        if not self._said:
            logger.warning(
                "a run is under way whose first %d events were missed, and it is not in %s: no image of it; waiting "
                "for the next scan (with --data, the data folder of the scan or its server, it can be followed)",
                event["seq_num"] - 1, self._store.location,
            )  # fmt: skip
        self._said = True


@dataclass
class _Run:
    """What was passed on of a run, and what waits for an event that is missing."""

    start: Mapping[str, Any]
    streams: dict[str, str] = field(default_factory=dict)  # by descriptor
    seen: set[tuple[str, int, float]] = field(default_factory=set)
    last: dict[str, int] = field(default_factory=dict)  # seq_num by stream
    waiting: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def uid(self) -> str:
        """Of the run."""
        return str(self.start["uid"])

    def in_turn(self, events: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """Take events, and give those that follow without a gap on what was given before; the others wait.

        Parameters
        ----------
        events : iterable of mapping
            Of this run, some maybe known already.
        """
        several = sorted([*self.waiting, *events], key=lambda event: event["time"])
        self.waiting = []
        for event in several:
            stream = self.streams.get(event["descriptor"])
            key = (stream or event["descriptor"], event["seq_num"], event["time"])
            if key in self.seen:
                continue
            # A rewound plan repeats seq_num. After a gap everything waits, also what other streams have.
            if self.waiting or stream is None or event["seq_num"] > self.last.get(stream, 0) + 1:
                self.waiting.append(event)
                continue
            self.seen.add(key)
            self.last[stream] = event["seq_num"]
            yield event

    def missing(self, stop: Mapping[str, Any]) -> int:
        """Count the events that were made, as the stop document has it, and not given.

        Parameters
        ----------
        stop : mapping
            Stop document of this run.
        """
        given = {(stream, seq_num) for stream, seq_num, _ in self.seen}
        return max(0, sum((stop.get("num_events") or {}).values()) - len(given))


def _one_by_one(name: str, document: Mapping[str, Any]) -> Iterator[Document]:
    if name != "event_page":
        yield name, dict(document)
        return
    from event_model import unpack_event_page

    for event in unpack_event_page(document):
        yield "event", event
