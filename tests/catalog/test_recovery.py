from __future__ import annotations

import os
import shutil
import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxgi_bluesky._files.file_lock import hold_lock
from cxgi_bluesky.catalog import (
    find_run,
    last_scan,
    open_catalog,
    recover_journals,
    run_writer,
    summarise,
    waiting_runs,
)
from cxgi_bluesky.catalog import recovery as module
from cxgi_bluesky.catalog.journal import write_journal
from cxgi_bluesky.catalog.recovery import read_documents, union
from cxgi_bluesky.errors import CxgiError
from tests.conftest import ALONE, small_scan

pytestmark = pytest.mark.usefixtures("catalog")


@pytest.fixture
def scan(RE, documents, beamline):
    """Documents of a finished scan that is nowhere yet."""
    RE(small_scan(beamline, 9, **ALONE))
    return list(documents)


@pytest.fixture
def journals(folder):
    """Where journals are; empty again afterwards."""
    place = folder / "journal"
    place.mkdir(exist_ok=True)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def leave(journals):
    """Leave a journal behind, as a process does that is killed."""

    def write(documents):
        path = journals / f"{uid_of(documents)}.jsonl"
        write_journal(path, documents)
        return path

    return write


def store(catalog, documents):
    write = run_writer(catalog, batch_size=1)
    for name, document in documents:
        write(name, document)


def events(documents):
    """Stream, seq_num and time of each event, and how often it is there."""
    stream_of = {d["uid"]: d["name"] for name, d in documents if name == "descriptor"}
    return Counter((stream_of[d["descriptor"]], d["seq_num"], d["time"]) for n, d in documents if n == "event")


def uid_of(documents):
    return documents[0][1]["uid"]


def test_a_run_that_the_catalog_has_not_is_stored_whole(catalog, scan, leave):
    path = leave(scan)
    assert recover_journals(catalog).recovered == [uid_of(scan)]
    assert events(read_documents(catalog, uid_of(scan))) == events(scan)
    assert summarise(find_run(catalog, uid_of(scan)))["exit_status"] == "success"
    assert not path.exists()
    assert (path.parent / "done" / path.name).exists()


def test_a_finished_run_is_never_replaced_by_a_journal_that_was_cut(catalog, scan, leave):
    store(catalog, scan)
    leave(scan[:9])
    recover_journals(catalog)
    assert events(read_documents(catalog, uid_of(scan))) == events(scan)
    assert summarise(find_run(catalog, uid_of(scan)))["exit_status"] == "success"


def test_what_is_only_in_the_catalog_and_what_is_only_in_the_journal_are_joined(catalog, scan, leave):
    events_at = [k for k, (name, _) in enumerate(scan) if name == "event"]
    stored, kept = set(events_at[:9]), set(events_at[:3] + events_at[6:])
    store(catalog, [d for k, d in enumerate(scan[:-1]) if d[0] != "event" or k in stored])
    leave([d for k, d in enumerate(scan[:-1]) if d[0] != "event" or k in kept])
    recover_journals(catalog)
    whole = read_documents(catalog, uid_of(scan))
    assert events(whole) == events(scan)
    assert [d["seq_num"] for n, d in whole if n == "event"] == [
        d["seq_num"] for stream in find_run(catalog, uid_of(scan)) for n, d in whole_stream(whole, stream)
    ]
    assert whole[-1][1]["exit_status"] == "abort"


def whole_stream(documents, stream):
    uids = [d["uid"] for name, d in documents if name == "descriptor" and d["name"] == stream]
    return [(n, d) for n, d in documents if n == "event" and d["descriptor"] in uids]


def test_a_rewound_exposure_is_kept_twice(catalog, scan, leave):
    (name, last) = next(d for d in reversed(scan) if d[0] == "event")
    again = (name, {**last, "uid": "again", "time": last["time"] + 1.0})
    whole = [*scan[:-1], again, scan[-1]]
    store(catalog, whole[:-2])
    leave(whole)
    recover_journals(catalog)
    assert events(read_documents(catalog, uid_of(scan))) == events(whole)


def test_a_run_whose_start_is_only_in_the_catalog_is_joined(catalog, scan, leave):
    store(catalog, scan[:6])
    path = leave(scan)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([b"\xff\n", *lines[1:]]))
    recover_journals(catalog)
    assert events(read_documents(catalog, uid_of(scan))) == events(scan)


def test_lines_that_cannot_be_read_are_counted(catalog, scan, leave, caplog):
    path = leave(scan)
    lines = path.read_bytes().splitlines(keepends=True)
    event = next(k for k, line in enumerate(lines) if line.startswith(b'["event'))
    path.write_bytes(b"".join([*lines[:event], b"\xff\n", *lines[event + 1 :]]))
    recover_journals(catalog)
    assert events(read_documents(catalog, uid_of(scan))).total() == events(scan).total() - 1
    assert "1 line of it could not be read" in caplog.text


def test_a_run_that_the_catalog_has_whole_is_not_touched(catalog, scan, leave, monkeypatch):
    store(catalog, scan)
    leave(scan)
    monkeypatch.setattr(module, "run_writer", lambda *a, **k: pytest.fail("written"))
    assert recover_journals(catalog).recovered == [uid_of(scan)]


def test_events_that_stand_twice_in_the_catalog_are_stored_once(catalog, scan, leave):
    first = next(k for k, (name, _) in enumerate(scan) if name == "event")
    store(catalog, [*scan[: first + 1], scan[first], *scan[first + 1 :]])
    leave(scan)
    recover_journals(catalog)
    assert events(read_documents(catalog, uid_of(scan))) == events(scan)


def test_the_union_is_on_disk_before_the_catalogs_run_is_touched(catalog, scan, leave, monkeypatch):
    store(catalog, scan[:9])
    path = leave([*scan[:5], *scan[9:]])
    with monkeypatch.context() as patch:
        patch.delattr(module, "run_writer")
        assert recover_journals(catalog).recovered == []
    assert uid_of(scan) not in catalog
    assert path.exists()
    recover_journals(catalog)
    assert events(read_documents(catalog, uid_of(scan))) == events(scan)


def test_a_journal_stays_until_what_was_written_is_read_back(catalog, scan, leave, monkeypatch):
    def forgetful(catalog, **options):
        write = run_writer(catalog, **options)
        return lambda name, d: None if name == "event" and d["seq_num"] == 3 else write(name, d)

    path = leave(scan)
    with monkeypatch.context() as patch:
        patch.setattr(module, "run_writer", forgetful)
        (problem,) = recover_journals(catalog).problems
    assert f"where {events(scan).total()} were written" in problem
    assert path.exists()
    assert recover_journals(catalog).recovered == [uid_of(scan)]


# ---------------------------------------------------------------- what is no journal


def make_folder(path):
    path.mkdir()


def make_link(path):
    path.with_suffix(".txt").write_text('["start", {"uid": "x"}]\n')
    path.symlink_to(path.with_suffix(".txt"))


def write(text):
    return lambda path: path.write_bytes(text)


@pytest.mark.parametrize(
    "make",
    [
        make_folder,
        make_link,
        os.mkfifo,
        write(b""),
        write(b"\xff\n"),
        write(b"[" * 100_000 + b"\n"),
        write(b'["start", {}]\n'),
        write(b'["event", {"descriptor": "unknown"}]\n'),
    ],
    ids=["folder", "link", "pipe", "empty", "no UTF-8", "deep", "no uid", "no start"],
)
def test_what_is_no_journal_of_a_run_is_set_aside_with_one_line(journals, catalog, make):
    path, said = journals / "x.jsonl", []
    make(path)
    assert waiting_runs(journals.parent, said.append) == []
    assert "x.jsonl is no journal of a run" in said[0]
    (problem,) = recover_journals(catalog).problems
    assert "was set aside as" in problem
    assert not os.path.lexists(path)
    assert recover_journals(catalog).problems == []


def test_a_journal_that_may_not_be_opened_stays(catalog, scan, leave, monkeypatch):
    path = leave(scan)

    def refuse(path):
        raise PermissionError("not yours")

    with monkeypatch.context() as patch:
        patch.setattr(module, "open_left_over", refuse)
        (problem,) = recover_journals(catalog).problems
    assert "could not be recovered (PermissionError: not yours); its journal stays" in problem
    assert path.exists()


def test_a_uid_of_which_another_one_is_the_beginning_is_another_run(catalog, scan):
    store(catalog, scan)
    assert read_documents(catalog, uid_of(scan)[:8]) == []


def test_a_run_that_cannot_be_stored_stays_and_the_others_are_recovered(catalog, scan, leave, journals):
    bad = journals / "not-a-run.jsonl"
    bad.write_text('["start", {"uid": "not-a-run"}]\n["descriptor", {"uid": "a", "name": "p", "data_keys": 3}]\n')
    leave(scan)
    done = recover_journals(catalog)
    assert done.recovered == [uid_of(scan)]
    assert "run not-a-ru could not be recovered" in done.problems[0]
    assert bad.exists()


# ---------------------------------------------------------------- who recovers, and when


def test_opening_a_catalog_only_says_what_waits(folder, scan, leave, caplog):
    path = leave(scan)
    open_catalog(folder)
    assert "1 run waits to be recovered: cxgi recover" in caplog.text
    assert path.exists()


def test_the_last_scan_is_not_an_older_one_while_a_newer_one_waits(catalog, scan, leave):
    path = leave(scan)
    with pytest.raises(CxgiError, match=r"1 run waits to be recovered: cxgi recover"):
        last_scan(catalog)
    with pytest.raises(CxgiError, match=r"waits to be recovered: cxgi recover"):
        find_run(catalog, path.stem[:8])
    recover_journals(catalog)
    assert last_scan(catalog).metadata["start"]["uid"] == path.stem


def test_one_recovers_at_a_time(folder, catalog, scan, leave):
    path, done = leave(scan), threading.Event()
    with hold_lock(folder, "recovering"):
        thread = threading.Thread(target=lambda: (recover_journals(catalog), done.set()))
        thread.start()
        assert not done.wait(0.3)
        assert path.exists()
    thread.join()
    assert not path.exists()


def test_the_last_hundred_journals_are_kept(tmp_path):
    for number in range(103):
        path = tmp_path / f"{number}.jsonl"
        path.write_text("")
        module.keep_done(path)
    assert len(list((tmp_path / "done").iterdir())) == 100
    assert not (tmp_path / "done" / "0.jsonl").exists()


# ---------------------------------------------------------------- the union


START, STOP = ("start", {"uid": "run", "time": 0.0}), ("stop", {"uid": "end", "run_start": "run", "time": 99.0})
STREAMS = [("descriptor", {"uid": f"d{k}", "run_start": "run", "name": f"s{k}", "data_keys": {}}) for k in range(2)]


def event(number):
    words = {"descriptor": f"d{number % 2}", "seq_num": number // 4, "time": number + 0.5}
    return ("event", {"uid": str(number), "data": {}, "timestamps": {}, **words})


numbers = st.sets(st.integers(0, 15))


@given(numbers, numbers, st.booleans(), st.booleans())
def test_the_union_has_all_that_either_has_and_each_once(journal, stored, ended, known):
    parts = [[START, *STREAMS, *(event(k) for k in sorted(part))] for part in (journal, stored)]
    there = [*parts[1], *([STOP] if ended else [])] if known else []
    whole = union(parts[0], there)
    assert [d["uid"] for name, d in whole if name == "event"] == [
        str(k) for k in sorted(journal | (stored if known else set()))
    ]
    assert [name for name, _ in whole].count("descriptor") == 2
    assert whole[0] == START
    assert whole[-1] == STOP if ended and known else whole[-1][1]["exit_status"] == "abort"


def test_without_more_in_the_catalog_the_journal_keeps_its_own_order():
    backward = [event(3), event(1)]
    assert union([START, *STREAMS, *backward, STOP], [START, *STREAMS, event(1)])[3:5] == backward
