"""The class of an error tells its kind."""

from __future__ import annotations

import numpy as np
import pytest

from cxgi_bluesky import BucketTable, CxgiError, Measurement, load_board, read_buckets, reconstruct, write_buckets
from cxgi_bluesky.catalog import last_scan, open_catalog
from cxgi_bluesky.errors import ConfigError, FileFormatError, MeasurementError, ScanError, StorageError
from cxgi_bluesky.reconstruction.api import estimate_uncertainty

TABLE = BucketTable(np.arange(64), np.ones(64), size=8, coding="signed")


def write_where_a_file_is(folder):
    (folder / "file").write_text("")
    write_buckets(folder / "file" / "a.csv", TABLE)


def read_no_table(folder):
    (folder / "a.csv").write_text("no,table\n")
    read_buckets(folder / "a.csv")


@pytest.mark.parametrize(
    ("kind", "fail"),
    [
        (StorageError, write_where_a_file_is),
        (StorageError, lambda folder: last_scan(open_catalog(folder))),
        (FileFormatError, read_no_table),
        (ConfigError, lambda folder: reconstruct(Measurement.from_table(TABLE), method="magic")),
        (FileFormatError, lambda folder: load_board("no-such-board")),
        (MeasurementError, lambda folder: estimate_uncertainty(Measurement.from_table(TABLE), method="tval3")),
    ],
)
def test_the_kind_of_an_error(tmp_path, kind, fail):
    with pytest.raises(CxgiError) as caught:
        fail(tmp_path)
    assert type(caught.value) is kind, caught.value


def test_a_full_disk_and_a_shutter_that_fails_are_no_wrong_values():
    assert not issubclass(StorageError, ValueError)
    assert not issubclass(ScanError, ValueError)
