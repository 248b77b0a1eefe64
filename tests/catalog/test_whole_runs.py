"""Whole runs in one transaction: the same tables as by requests, all of them or none, and nothing lost."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from bluesky import RunEngine

from benchmarks.many_runs import renew
from cxgi_bluesky.catalog import (
    compose_reconstruction,
    find_run,
    list_runs,
    open_catalog,
    read_exposures,
    read_image,
    record_reconstruction,
    recover_journals,
    waiting_runs,
    whole_runs,
    writer_of,
)
from cxgi_bluesky.errors import MeasurementError
from cxgi_bluesky.reconstruction.api import reconstruct
from tests.conftest import ALONE, signed_measurement, small_scan, smooth_image
from tests.sharing import begin_together

NODES = """
WITH RECURSIVE tree (id, path) AS (
    SELECT id, '' FROM nodes WHERE parent IS NULL
    UNION ALL SELECT nodes.id, tree.path || '/' || nodes.key FROM nodes JOIN tree ON nodes.parent = tree.id
)
SELECT path, nodes.structure_family, metadata, specs, mimetype, management, properties, structure,
    json_remove(parameters, '$.dataset_id'), association.parameter, data_uri, is_directory,
    (SELECT count(*) FROM nodes_closure WHERE descendant = nodes.id)
FROM tree JOIN nodes USING (id)
LEFT JOIN data_sources ON data_sources.node_id = nodes.id LEFT JOIN structures ON structures.id = structure_id
LEFT JOIN data_source_asset_association AS association ON data_source_id = data_sources.id
LEFT JOIN assets ON assets.id = asset_id ORDER BY path
"""


def nodes_of(folder):
    with closing(sqlite3.connect(folder / "catalog.db")) as database:
        return [[str(value).replace(str(folder), "") for value in row] for row in database.execute(NODES)]


def an_image(seed=0):
    return reconstruct(signed_measurement(smooth_image(seed=seed)), method="inverse")


@pytest.fixture
def scan_documents(beamline):
    return record_scan(beamline)


def record_scan(beamline):
    """Documents of a scan, as JSON has them."""
    documents = []
    engine = RunEngine({})
    engine.subscribe(lambda name, document: documents.append((name, document)))
    engine(small_scan(beamline, 12, **ALONE))
    return json.loads(json.dumps(documents, default=lambda value: value.tolist()))


def test_a_run_gives_the_tables_that_requests_give(tmp_path, scan_documents):
    image = compose_reconstruction(an_image(), pixel_um=3.5)
    folders = [tmp_path / "requests", tmp_path / "whole"]
    catalogs = [open_catalog(folder, to_write=True) for folder in folders]
    for (_, start), *others in (scan_documents, image):
        store = writer_of(catalogs[0]).begin(start)
        for name, document in others:
            store(name, document)
    writer_of(catalogs[1]).write_runs([scan_documents, image])
    one, other = map(nodes_of, folders)
    assert len(one) > 6
    assert one == other
    for _, start in (scan_documents[0], image[0]):
        given = [list(find_run(catalog, start["uid"]).documents()) for catalog in catalogs]
        assert given[0] == given[1]
    assert list_runs(folders[0]) == list_runs(folders[1])


def test_the_index_follows_without_reading_the_catalog(catalog, folder, monkeypatch, caplog):
    monkeypatch.setattr("cxgi_bluesky.catalog.run_index._metadata_of", None)
    uid = record_reconstruction(catalog, an_image(), pixel_um=None)
    monkeypatch.setattr("cxgi_bluesky.catalog.read.open_catalog", None)
    assert list_runs(folder)[0][-1]["uid"] == uid
    assert not caplog.text


def test_runs_that_the_catalog_does_not_take_together_are_written_one_by_one(catalog, scan_documents, caplog):
    images = [compose_reconstruction(an_image(seed), pixel_um=None) for seed in range(2)]
    before = len(catalog.new_variation())
    writer_of(catalog).write_runs([images[0]])
    writer_of(catalog).write_runs([scan_documents, *images])  # the first of them is there
    assert "nothing is lost" in caplog.text
    assert len(catalog.new_variation()) == before + 3
    assert len(read_exposures(find_run(catalog, scan_documents[0][1]["uid"]))) == 12


def test_of_runs_of_which_one_journal_cannot_be_written_those_before_are_stored(catalog, folder, scan_documents):
    bad = [("start", {"uid": "../x", "time": 1.0})]
    with pytest.raises(Exception, match=r"\.\./x"):
        writer_of(catalog).write_runs([scan_documents, bad])
    assert list_runs(folder)[0][-1]["uid"] == scan_documents[0][1]["uid"]


def test_of_runs_of_which_one_cannot_be_made_those_before_are_stored(catalog, folder):
    made = compose_reconstruction(an_image(), pixel_um=None)

    def make_each():
        yield made
        raise MeasurementError("too little was measured")

    with pytest.raises(MeasurementError, match="too little"):
        writer_of(catalog).write_runs(make_each())
    assert list_runs(folder)[0][-1]["uid"] == made[0][1]["uid"]
    assert not waiting_runs(folder)


def store_and_die(wait_for_the_others, folder, runs):
    """Store runs, and end by SIGKILL before the transaction does."""
    catalog = open_catalog(folder, to_write=True)
    whole_runs.Container.count = lambda self: os.kill(os.getpid(), signal.SIGKILL)
    wait_for_the_others()
    writer_of(catalog).write_runs(runs)


def test_a_process_killed_within_the_transaction_loses_nothing(tmp_path, start_child, scan_documents):
    folder, expected = tmp_path / "data", an_image()
    image = compose_reconstruction(expected, pixel_um=1.0)
    child = start_child(store_and_die, folder, [scan_documents, image, renew(scan_documents, 1)])
    begin_together([child])
    assert child.wait() == -signal.SIGKILL
    catalog = open_catalog(folder, to_write=True)
    assert (len(catalog), len(waiting_runs(folder))) == (0, 3)
    assert len(recover_journals(catalog).recovered) == 3
    assert len(read_exposures(find_run(catalog, scan_documents[0][1]["uid"]))) == 12
    assert np.array_equal(read_image(find_run(catalog, image[0][1]["uid"])), expected.image)
    assert list_runs(folder)[1] == 3
