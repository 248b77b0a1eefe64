"""What a folder's server gives and refuses, asked without a network; real processes are in tests/cli/test_serve.py."""

from __future__ import annotations

import io
import os
import shutil
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from cxgi_bluesky import session
from cxgi_bluesky.catalog import find_run, open_catalog, read_image, serve
from cxgi_bluesky.catalog.embedded import _import_test_client
from cxgi_bluesky.catalog.media_types import export_documents
from cxgi_bluesky.catalog.nexus_file import read_run_file
from cxgi_bluesky.catalog.serve import READING_POSTS, build_app, find_link, serving_key
from cxgi_bluesky.catalog.tiled_adapter import silence_import_warnings
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.reconstruction.result import grey_values
from cxgi_bluesky.session.reconstruct_run import reconstruct_run
from tests.conftest import small_board

with silence_import_warnings():
    _import_test_client()
    from starlette.testclient import TestClient, WebSocketDisconnect

KEY = "0123456789abcdef"
WITH_KEY = {"Authorization": f"Apikey {KEY}"}


def test_a_catalog_is_opened_while_another_thread_imports():
    """As that of a page which loads its images' libraries meanwhile."""
    end, interval = threading.Event(), sys.getswitchinterval()

    def import_on():
        while not end.is_set():
            for n in range(100):
                sys.modules[f"one more {n}"] = sys
            for n in range(100):
                del sys.modules[f"one more {n}"]

    importing = threading.Thread(target=import_on)
    importing.start()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(300):
            _import_test_client()
    finally:
        sys.setswitchinterval(interval)
        end.set()
        importing.join()


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A folder with a scan that has an image, and one that has none."""
    folder = tmp_path_factory.mktemp("served") / "data"
    board = small_board(8, aperture_um=80.0)
    s = session.start(sim=True, data=folder, board=board, object_name="CAS", progress=False, live=False, seed=3)
    (uid,) = s.RE(s.scan(0.5, 1.0))
    s.reconstruct(uid, method="tv")
    (bare,) = s.RE(s.scan(0.25, 1.0))
    derived = open_catalog(folder)[-2].metadata["start"]["uid"]
    return folder, uid, derived, bare


@pytest.fixture(scope="module")
def client(stored):
    with TestClient(build_app(stored[0], KEY)) as client:
        yield client


def ask(client, path: str, **options):
    return client.get(f"/api/v1/{path}", headers=WITH_KEY, **options)


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Apikey wrong"}], ids=["no key", "wrong key"])
@pytest.mark.parametrize(
    "path",
    ["metadata/", "search/", "metadata/{}", "container/full/{}?format=image/png", "distinct/?metadata=start.sample"],
)
def test_nothing_of_the_runs_is_given_without_the_key(client, stored, path, headers):
    answer = client.get(f"/api/v1/{path.format(stored[1])}", headers=headers)
    assert answer.status_code == 401
    assert stored[1] not in answer.text


@pytest.mark.parametrize("path", ["/zarr/v3/", "/zarr/v2/", "/zarr/v3/{}", "/api/graphql", "/openapi.json"])
def test_addresses_where_tiled_asks_for_no_key_are_not_served(client, stored, path):
    assert client.get(path.format(stored[1])).status_code == 403


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Apikey wrong"}], ids=["no key", "wrong key"])
def test_nobody_subscribes_without_the_key(client, headers):
    def subscribe():
        with client.websocket_connect("/api/v1/stream/single/", headers=headers) as socket:
            socket.send_json({"type": "auth", "api_key": "wrong"})
            socket.receive_json()

    with pytest.raises(WebSocketDisconnect):  # or its child, a status like 401
        subscribe()


def test_who_has_the_key_subscribes(client):
    with client.websocket_connect("/api/v1/stream/single/", headers=WITH_KEY) as socket:
        assert socket.receive_json()["type"] == "container-schema"


def test_every_address_that_does_not_read_is_refused_with_the_key(client, stored):
    """All that Tiled has, as its own list of addresses says."""
    tiled = client.app._app
    writing = [
        (method, path)
        for path, methods in tiled.openapi()["paths"].items()
        for method in methods
        if method not in ("get", "head", "options")
    ]
    assert len(writing) > 20
    for method, path in writing:
        address = path.replace("{path}", stored[1])
        if not address.startswith(READING_POSTS):
            assert client.request(method, address, headers=WITH_KEY, json={}).status_code in (403, 405), path
    assert ask(client, f"metadata/{stored[1]}").status_code == 200


def test_behind_the_gate_the_databases_refuse_to_be_written(copied):
    folder, uid, _ = copied  # which no other test has opened: connections are kept
    with TestClient(serve._build_tiled(folder, KEY), raise_server_exceptions=False) as tiled:
        answer = tiled.delete(f"/api/v1/metadata/{uid}?recursive=true&external_only=false", headers=WITH_KEY)
        assert answer.status_code >= 400
        made = {"structure_family": "container", "metadata": {}, "data_sources": [], "specs": []}
        assert tiled.post("/api/v1/metadata/", headers=WITH_KEY, json=made).status_code >= 400
        assert tiled.get(f"/api/v1/metadata/{uid}", headers=WITH_KEY).status_code == 200
        assert len(tiled.get("/api/v1/search/", headers=WITH_KEY).json()["data"]) == 3


def test_the_key_is_in_a_file_of_its_owner_and_stays(tmp_path, monkeypatch):
    monkeypatch.delenv("CXGI_SERVE_KEY", raising=False)
    key, path = serving_key(tmp_path)
    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(key) == 64
    assert serving_key(tmp_path) == (key, path)
    path.chmod(0o640)
    with pytest.raises(CxgiError, match="can be read by others"):
        serving_key(tmp_path)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CxgiError, match="cannot be used"):
        serving_key(tmp_path)


@pytest.mark.parametrize("key", ["", "short", "0123456789abcde/", "0123456789abcdeé"])
def test_a_key_that_is_bad_is_refused_and_not_shown(tmp_path, monkeypatch, key):
    monkeypatch.setenv("CXGI_SERVE_KEY", key)
    with pytest.raises(CxgiError, match=f"has {len(key)} characters") as refused:
        serving_key(tmp_path)
    assert not key or key not in str(refused.value)


# ---------------------------------------------------------------- media types


def picture_of(answer) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_one_request_gives_the_image_of_a_reconstruction_and_the_newest_of_a_scan(client, stored):
    folder, uid, derived, _ = stored
    shown = picture_of(ask(client, f"container/full/{derived}?format=image/png"))
    stretched = grey_values(read_image(find_run(open_catalog(folder), derived)), 256)
    np.testing.assert_array_equal(shown[32:], stretched[32:])  # the first rows say how far it may be believed
    np.testing.assert_array_equal(picture_of(ask(client, f"container/full/{uid}?format=png")), shown)


def test_what_is_not_a_number_is_black():
    image = np.array([[1.0, np.nan], [3.0, np.inf]])
    np.testing.assert_array_equal(grey_values(image, 2) == 0, [[True, True], [False, True]])
    assert not grey_values(np.full((2, 2), np.nan), 2).any()


def test_the_nexus_file_of_a_run_gives_the_image_of_the_catalog(client, stored, tmp_path):
    folder, uid, *_ = stored
    answer = ask(client, f"container/full/{uid}?format=nxs&filename=run.nxs")
    assert answer.headers["content-type"] == "application/x-nexus"
    assert 'filename="run.nxs"' in answer.headers["content-disposition"]
    path = tmp_path / "run.nxs"
    path.write_bytes(answer.content)
    with h5py.File(path) as file:
        assert file["entry"].attrs["default"] == "reconstruction_1"
    catalog, runs = open_catalog(folder), read_run_file(path)
    ours = reconstruct_run(catalog, find_run(catalog, uid), method="tv", record=False)[0]
    theirs = reconstruct_run(runs, runs.exported, method="tv", record=False)[0]
    np.testing.assert_array_equal(theirs.image, ours.image)


def test_what_a_run_has_not_is_one_line(client, stored):
    _, _, derived, bare = stored
    answer = ask(client, f"container/full/{bare}?format=image/png")
    assert (answer.status_code, f"run {bare[:8]} has no image yet" in answer.text) == (406, True)
    answer = ask(client, f"container/full/{derived}?format=nxs")
    assert (answer.status_code, "is a reconstruction" in answer.text) == (406, True)


def test_the_embedded_catalog_has_the_same_media_types(stored, tmp_path):
    run = find_run(open_catalog(stored[0]), stored[1])
    run.export(str(tmp_path / "run.nxs"))
    assert read_run_file(tmp_path / "run.nxs").exported.uid == stored[1]
    run.export(str(tmp_path / "thumbnail.png"))
    with Image.open(tmp_path / "thumbnail.png") as thumbnail:
        assert thumbnail.size == (256, 256)


def test_the_documents_of_a_run_are_those_of_blueskys_exporter(stored):
    from bluesky_tiled_plugins.exporters import json_seq_exporter

    catalog = open_catalog(stored[0])
    client = catalog.context.http_client

    async def export(uid: str, exporter) -> bytes:
        async def see_all(run):
            return run

        run = await client.app.state.root_tree.lookup_adapter([uid])
        given = exporter("application/json-seq", run, run.metadata(), see_all)
        return await given if hasattr(given, "__await__") else "".join([line async for line in given]).encode()

    for uid in stored[1:]:
        ours, theirs = (client.portal.call(export, uid, exporter) for exporter in (export_documents, json_seq_exporter))
        assert ours == theirs
        assert theirs.count(b'"event"') > 0


# ---------------------------------------------------------------- symbolic links


@pytest.fixture
def copied(stored, tmp_path):
    """A copy of the folder to put links into, its image, and a secret outside of it."""
    folder = tmp_path / "data"
    shutil.copytree(stored[0], folder)
    (tmp_path / "secret").write_bytes(os.urandom(4096))
    return folder, stored[2], tmp_path / "secret"


def image_of(folder: Path, derived: str):
    with TestClient(build_app(folder, KEY), raise_server_exceptions=False) as client:
        return ask(client, f"array/full/{derived}/primary/image?format=application/octet-stream")


def replace_by_link(path: Path, target: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.symlink_to(target)


def test_a_file_or_folder_in_arrays_that_is_a_link_is_not_served(copied):
    folder, derived, secret = copied
    assert image_of(folder, derived).status_code == 200
    array = folder / "arrays" / derived
    (chunk,) = [path for path in (array / "primary" / "image").rglob("c/**/*") if path.is_file()]
    outside = secret.with_name("outside")
    shutil.copytree(array, outside)
    replace_by_link(chunk, secret)
    answer = image_of(folder, derived)
    assert answer.status_code == 403
    assert "symbolic link" in answer.text
    assert str(secret) not in answer.text
    replace_by_link(array, outside)
    assert image_of(folder, derived).status_code == 403


def test_arrays_may_be_a_link_to_a_bigger_disk(copied):
    folder, derived, secret = copied
    before = image_of(folder, derived).content
    shutil.move(folder / "arrays", secret.with_name("big"))
    (folder / "arrays").symlink_to(secret.with_name("big"))
    answer = image_of(folder, derived)
    assert (answer.status_code, answer.content) == (200, before)
    (folder / "arrays").unlink()
    (folder / "arrays").symlink_to(secret.with_name("not mounted"))
    with pytest.raises(CxgiError, match="arrays is a link to what is not there"):
        build_app(folder, KEY)


@pytest.mark.parametrize("name", ["catalog.db", "tables.db"])
def test_a_database_that_is_a_link_is_not_served(copied, name):
    folder, _, secret = copied
    moved = secret.with_name(name)
    shutil.move(folder / name, moved)
    (folder / name).symlink_to(moved)
    with pytest.raises(CxgiError, match=f"{name} is a symbolic link"):
        build_app(folder, KEY)


def test_a_database_that_becomes_a_link_is_not_read(copied):
    folder, _, secret = copied
    uid = find_run(open_catalog(folder), copied[1]).metadata["start"]["cxgi"]["raw_uids"][0]
    with TestClient(build_app(folder, KEY), raise_server_exceptions=False) as client:
        path = f"table/full/{uid}/primary/internal?format=text/csv"
        assert ask(client, path).status_code == 200
        shutil.move(folder / "tables.db", secret.with_name("tables.db"))
        (folder / "tables.db").symlink_to(secret.with_name("tables.db"))
        assert ask(client, path).status_code == 403


def test_a_path_out_of_the_folder_counts_as_a_link(tmp_path):
    (tmp_path / "arrays").mkdir()
    for path in (tmp_path / "other", tmp_path / "arrays" / ".." / "other"):
        assert find_link(path, below=tmp_path / "arrays") == path
    assert find_link(tmp_path / "arrays" / "new", below=tmp_path / "arrays") is None


@pytest.mark.parametrize("path", ["../../secret", "%2e%2e/%2e%2e/secret", "..%2f..%2fsecret"])
def test_a_path_out_of_the_catalog_is_not_found(client, path):
    for what in ("metadata", "container/full", "array/full"):
        answer = client.get(f"/api/v1/{what}/{path}", headers=WITH_KEY)
        assert answer.status_code in (403, 404), answer.text
