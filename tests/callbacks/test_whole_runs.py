"""Runs of which documents are lost on the way, with real scans and a real journal."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cxgi_bluesky.callbacks import whole_runs as module
from cxgi_bluesky.callbacks.whole_runs import WholeRuns
from cxgi_bluesky.catalog.follow import StoredRuns
from cxgi_bluesky.catalog.journal import Journal, journal_folder
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from tests.conftest import Recorder, small_scan


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(module, "ASK_AGAIN_S", 0.0)
    monkeypatch.setattr(module, "END_S", 0.0)


@pytest.fixture
def scanned(RE, documents, beamline):
    """All documents of a scan, as they come over a network."""
    RE(small_scan(beamline))
    return [(name, json.loads(json.dumps(document, default=float))) for name, document in documents]


class Followed:
    """What comes out of documents that are given one by one, each of them in the journal before."""

    def __init__(self, folder, *, with_journal=True):
        self.out, self.ended, self._folder = Recorder(), [], folder if with_journal else folder / "another"
        folder.mkdir(exist_ok=True)
        self._journal, self._data = None, folder
        self.runs = WholeRuns(self.out, StoredRuns(self._folder), on_end=self.ended.append)

    def give(self, documents, lost):
        for n, (name, document) in enumerate(documents):
            if name == "start":
                self._journal = Journal(journal_folder(self._data), document)
            else:
                self._journal(name, document)
            if n not in lost:
                self.runs(name, document)

    def image(self):
        return reconstruct(Measurement.from_exposures(Exposures.from_documents(self.out)), method="correlation").image


def losses(count):
    rng = np.random.default_rng(0)
    some = [set(rng.choice(count, size=count // share, replace=False).tolist()) for share in (2, 4, 20)]
    return [set(), {0}, set(range(40)), set(range(30, 60)), {count - 1} - {count - 1}, {count - 2}, *some]


def test_what_is_lost_is_read_from_the_journal_and_the_image_is_the_same(scanned, tmp_path):
    whole = reconstruct(Measurement.from_documents(scanned), method="correlation").image
    for n, lost in enumerate(losses(len(scanned))):
        followed = Followed(tmp_path / str(n))
        followed.give(scanned, lost - {len(scanned) - 1})  # the end is not lost
        assert [name for name, _ in followed.out].count("start") == 1
        assert followed.out.of("event") == sorted(scanned_events(scanned), key=lambda event: event["time"])
        assert followed.out[-1] == scanned[-1]
        assert [ended.missing for ended in followed.ended] == [0]
        np.testing.assert_array_equal(followed.image(), whole)


def scanned_events(documents):
    return [document for name, document in documents if name == "event"]


def test_without_a_store_all_that_is_passed_on_is_the_beginning_before_the_first_loss(scanned, tmp_path, caplog):
    first = [n for n, (name, _) in enumerate(scanned) if name == "event"][40]
    followed = Followed(tmp_path, with_journal=False)
    followed.give(scanned, {first})
    events = scanned_events(scanned)
    assert followed.out.of("event") == events[:40]
    (ended,) = followed.ended
    assert (ended.events, ended.missing) == (40, len(events) - 40)
    assert f"{len(events) - 40} of its events did not come" in caplog.text


def test_who_joins_late_without_a_store_passes_nothing_on_and_says_so_once(scanned, tmp_path, caplog):
    followed = Followed(tmp_path, with_journal=False)
    followed.give(scanned, set(range(50)))
    assert followed.out == []
    (record,) = caplog.records
    assert "no image of it; waiting for the next scan" in record.getMessage()
    assert record.getMessage().startswith(f"a run is under way whose first {scanned[50][1]['seq_num'] - 1} events")


def test_the_end_of_a_run_that_is_lost_is_read_when_the_next_one_begins(RE, scanned, beamline, documents, tmp_path):
    followed = Followed(tmp_path)
    followed.give(scanned, {len(scanned) - 1})
    assert followed.ended == []
    RE(small_scan(beamline))
    followed.runs("start", documents.of_last_run()[0][1])
    assert [ended.stop["uid"] for ended in followed.ended] == [scanned[-1][1]["uid"]]


def test_documents_that_come_twice_or_after_the_end_are_passed_on_once(scanned, tmp_path):
    followed = Followed(tmp_path)
    followed.give(scanned, set())
    for name, document in [*scanned[1:], *scanned]:
        followed.runs(name, document)
    assert len(followed.out) == len(scanned)
    assert len(followed.ended) == 1


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("event", {}),
        ("event", {"descriptor": []}),
        ("descriptor", {}),
        ("stop", {"run_start": {}}),
        ("start", {}),
        ("event_page", {"data": 3}),
        ("stop", {"run_start": "../../etc/passwd"}),
    ],
)
def test_malformed_documents_are_left_out(name, document, scanned, tmp_path):
    followed = Followed(tmp_path)
    followed.runs(name, document)
    followed.give(scanned, set())
    assert len(followed.out) == len(scanned)
