from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from cxgi_bluesky.errors import MeasurementError
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.measurement.schema import BoardMetadata, RunMetadata

BLOCK = {
    "schema": 1,
    "purpose": "image",
    "exposure_s": 1.0,
    "fields": {"bucket": "diode_current", "i0": None},
    "board": {"id": "au64", "sha256": "0" * 64, "mirrored": True},
}


def test_the_page_of_the_schema_names_every_key():
    page = (Path(__file__).parents[2] / "docs/reference/event-schema.md").read_text(encoding="utf-8")
    keys = {field.alias or name for name, field in RunMetadata.model_fields.items()} | {*BoardMetadata.model_fields}
    assert [key for key in sorted(keys) if not re.search(rf"`{key}(: true)?`", page)] == []


def test_what_is_written_is_read_back():
    metadata = RunMetadata.from_start({"uid": "run", "cxgi": BLOCK})
    assert metadata.to_dict() == BLOCK
    assert metadata.data_keys == {"bucket": "diode_current"}
    assert metadata.basis == "hadamard"


def test_a_key_of_a_later_release_is_left_out_when_reading_and_refused_when_writing():
    assert RunMetadata.from_start({"uid": "run", "cxgi": {**BLOCK, "later": 1}}).to_dict() == BLOCK
    with pytest.raises(ValidationError, match="later"):
        RunMetadata(**BLOCK, later=1)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({**BLOCK, "schema": 2}, "run run has event schema 2, this release reads 1"),
        ({}, "run run has event schema None"),
        ("a text", "run run has event schema None"),
        ({**BLOCK, "fields": 3}, "run run is malformed: cxgi.fields of its start document is no mapping"),
        ({**BLOCK, "board": "au64"}, "cxgi.board of its start document is no mapping"),
        ({**BLOCK, "board": {"id": "au64"}}, "cxgi.board.sha256 of its start document is wrong .Field required"),
        ({**BLOCK, "exposure_s": "long"}, "cxgi.exposure_s of its start document is wrong .*valid number"),
    ],
)
def test_a_malformed_block_is_one_error(block, message):
    with pytest.raises(MeasurementError, match=message):
        RunMetadata.from_start({"uid": "run", "cxgi": block})


def test_a_scan_without_its_board_is_malformed():
    start = {"uid": "run", "cxgi": {"schema": 1, "pattern_set": {}, "fields": {}}}
    with pytest.raises(MeasurementError, match=r"cxgi\.board of its start document is missing"):
        Exposures.from_documents([("start", start)])


def test_no_documents_are_one_error():
    with pytest.raises(MeasurementError, match="no start document has been seen"):
        Measurement.from_documents([])
