from __future__ import annotations

import threading
from datetime import date

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.plans import count
from ophyd import Signal

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.session.run_engine import EngineMetadata


def test_what_the_user_stores_is_there_in_the_next_session(tmp_path):
    engine = RunEngine(EngineMetadata(tmp_path))
    engine.md["proposal"] = {"id": 7}
    engine.md |= {"operator": "Kim", "sample": "leaf"}
    del engine.md["sample"]
    again = EngineMetadata(tmp_path)
    assert {name: again[name] for name in again if name != "scan_id"} == {"proposal": {"id": 7}, "operator": "Kim"}


def test_keys_of_other_processes_stay(tmp_path):
    one, other = EngineMetadata(tmp_path), EngineMetadata(tmp_path)
    one["operator"] = "Kim"
    other["proposal"] = 7
    del one["operator"]
    one["sample"] = "leaf"
    assert dict(EngineMetadata(tmp_path)) == {"proposal": 7, "sample": "leaf", "scan_id": 0}


def test_what_is_changed_within_a_value_is_kept_at_the_next_scan(tmp_path):
    metadata = EngineMetadata(tmp_path)
    metadata["proposal"] = {"id": 7}
    metadata["proposal"]["id"] = 8
    metadata.next_scan_id(metadata)
    assert EngineMetadata(tmp_path)["proposal"] == {"id": 8}


def test_versions_are_those_of_the_session(tmp_path):
    RunEngine(EngineMetadata(tmp_path)).md["versions"]["bluesky"] = "0"
    EngineMetadata(tmp_path).next_scan_id({})
    assert "versions" not in EngineMetadata(tmp_path)


def test_no_number_is_given_twice(tmp_path):
    numbers, engines = [], [EngineMetadata(tmp_path) for _ in range(4)]

    def scan(metadata):
        numbers.extend(metadata.next_scan_id(metadata) for _ in range(25))

    threads = [threading.Thread(target=scan, args=(metadata,)) for metadata in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 101))


def test_numbers_begin_where_the_user_says_and_never_fall(tmp_path):
    metadata = EngineMetadata(tmp_path)
    engine, starts = RunEngine(metadata, scan_id_source=metadata.next_scan_id), []
    engine.subscribe(lambda _, start: starts.append(start["scan_id"]), "start")
    engine.md["scan_id"] = 1000
    engine(count([Signal(name="a", value=1)]))
    engine.md["scan_id"] = 5
    engine(count([Signal(name="a", value=1)]))
    assert starts == [1001, 1002]


@pytest.mark.parametrize("value", [object(), float("nan"), 2**60, b"x"])
def test_what_json_cannot_hold_is_refused_and_not_kept(tmp_path, value):
    metadata = EngineMetadata(tmp_path)
    with pytest.raises(CxgiError, match=r"metadata when .* cannot be kept"):
        metadata["when"] = value
    assert "when" not in metadata


def test_dates_paths_and_numbers_are_kept_as_json_has_them(tmp_path):
    metadata = EngineMetadata(tmp_path)
    metadata["beamtime"] = {"begin": date(2026, 1, 2), "folder": tmp_path, "shifts": {3, 1}, "energy": np.float32(12.5)}
    expected = {"begin": "2026-01-02", "folder": str(tmp_path), "shifts": [1, 3], "energy": 12.5}
    assert metadata["beamtime"] == EngineMetadata(tmp_path)["beamtime"] == expected


def test_what_is_put_within_a_value_ends_no_scan(tmp_path):
    metadata = EngineMetadata(tmp_path)
    metadata["sample"] = {}
    metadata["sample"]["mass"] = float("inf")
    assert metadata.next_scan_id(metadata) == 1
    assert EngineMetadata(tmp_path)["sample"] == {"mass": "inf"}


@pytest.mark.parametrize("text", ["{", "3", '{"scan_id": "many"}'])
def test_a_damaged_file_is_said(tmp_path, text):
    (tmp_path / "engine-metadata.json").write_text(text)
    with pytest.raises(CxgiError, match=r"engine-metadata.json cannot be read .*: mend it, or move it away"):
        EngineMetadata(tmp_path)
