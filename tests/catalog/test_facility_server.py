"""A facility's server as in examples/tiled: the same config.yml with a real PostgreSQL, redis and Tiled."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml

from cxgi_bluesky import session
from cxgi_bluesky.catalog import find_run, open_catalog
from cxgi_bluesky.catalog.embedded import MEDIA_TYPES
from cxgi_bluesky.catalog.nexus_file import read_run_file
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.session.reconstruct_run import reconstruct_run
from tests.conftest import small_board
from tests.patience import PATIENCE_S, eventually
from tests.processes import Place, uid_of
from tests.queue.serving import answers, free_port

FILES = Path(__file__).parents[2] / "examples" / "tiled"
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "serve-a-catalog.md"
PASSWORD, PERSONS = "only-for-this-test", "another-one"
READS = ["read:metadata", "read:data"]
WRITES = [*READS, "create:node", "write:metadata", "write:data", "delete:node", "delete:revision"]


def compose():
    return yaml.safe_load((FILES / "compose.yaml").read_text())


def variables_of(text: str) -> set[str]:
    return set(re.findall(r"\$\{(\w+)", text))


def test_compose_file_and_configuration_fit():
    services = compose()["services"]
    given = services["tiled"]["environment"]
    assert variables_of((FILES / "config.yml").read_text()) == set(given) - {"PGUSER", "PGPASSWORD"}
    secrets = variables_of((FILES / "compose.yaml").read_text())
    assert secrets == set(re.findall(r"^(\w+)=", PAGE.read_text(), flags=re.MULTILINE))
    made = re.findall(r"CREATE DATABASE (\w+);", compose()["configs"]["more-databases"]["content"])
    databases = {services["postgres"]["environment"]["POSTGRES_DB"], *made}
    assert databases == {given[name].rpartition("/")[2] for name in given if given[name].startswith("postgresql")}
    assert all(port.startswith("127.0.0.1:") for port in services["tiled"]["ports"])
    hosts = {value.split("//")[1] for value in given.values() if "//" in value}
    assert {host.partition(":")[0] for host in hosts} < set(services)


def test_no_secret_is_copied_into_the_image():
    build = compose()["services"]["tiled"]["build"]
    copied = re.findall(r"^COPY (.+) \S+$", build["dockerfile_inline"], flags=re.MULTILINE)
    names = " ".join(copied).split()
    root = (FILES / build["context"]).resolve()
    assert "pyproject.toml" in names
    assert all((root / name).exists() for name in names)
    assert not any(FILES.is_relative_to(root / name) for name in names)  # where .env lies


def test_configuration_has_the_media_types_of_a_folders_server():
    assert yaml.safe_load((FILES / "config.yml").read_text())["media_types"] == {"BlueskyRun": MEDIA_TYPES}


# ---------------------------------------------------------------- the whole of it


class Facility:
    """PostgreSQL, redis and Tiled on free ports."""

    def __init__(self, ends: ExitStack) -> None:
        self.ends = ends
        self.folder = Path(tempfile.mkdtemp(prefix="cxgi-facility-"))
        ends.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o755)
        self.postgres, self.redis, self.port = free_port(), free_port(), free_port()
        self._start_postgres()
        program = shutil.which("redis-server")
        assert program, "this test needs redis-server (apt-get install redis-server)"
        self._start([program, "--port", str(self.redis), "--save", ""])
        eventually(lambda: answers(self.redis), True)
        self.address = f"http://127.0.0.1:{self.port}"
        (self.folder / "arrays").mkdir()
        self._start_tiled()

    def _start(self, words: list[str], **options) -> subprocess.Popen:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log, **options)

        def end() -> None:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)

        self.ends.callback(end)
        return process

    def _start_postgres(self) -> None:
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        found = shutil.which("initdb") or (programs and str(programs[-1] / "initdb"))
        assert found, "this test needs PostgreSQL (apt-get install postgresql)"
        program = Path(found).resolve().parent
        home = self.folder / "postgres"
        home.mkdir()
        (home / "password").write_text(PASSWORD)
        words: list[str] = []
        if os.geteuid() == 0:  # which PostgreSQL refuses
            shutil.chown(home, "nobody")
            words = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        data, where = str(home / "data"), {"cwd": home}
        made = [*words, str(program / "initdb"), "-D", data, "-U", "tiled", "--auth=scram-sha-256", "--no-sync"]
        subprocess.run([*made, f"--pwfile={home / 'password'}"], check=True, stdout=subprocess.DEVNULL, **where)
        options = ["-h", "127.0.0.1", "-p", str(self.postgres), "-k", str(home), "-c", "fsync=off"]
        self._start([*words, str(program / "postgres"), "-D", data, *options], **where)
        psql = [str(program / "psql"), "-h", "127.0.0.1", "-p", str(self.postgres), "-U", "tiled", "-d", "postgres"]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}

        def run(statement: str) -> bool:
            return not subprocess.run([*psql, "-qc", statement], env=environment, stderr=subprocess.DEVNULL).returncode

        eventually(lambda: run(""), True)
        for name in ("catalog", *re.findall(r"DATABASE (\w+);", compose()["configs"]["more-databases"]["content"])):
            assert run(f"CREATE DATABASE {name}")

    def _start_tiled(self) -> None:
        given = compose()["services"]["tiled"]["environment"]
        postgres, redis = f"//127.0.0.1:{self.postgres}", f"//127.0.0.1:{self.redis}"
        environment = {
            name: value.replace("//postgres:5432", postgres).replace("//redis:6379", redis)
            for name, value in given.items()
        }
        environment |= {
            "CXGI_ARRAYS": str(self.folder / "arrays"),
            "PGPASSWORD": PASSWORD,
            "CXGI_BEAMLINE_PASSWORD": PERSONS,
            "CXGI_SECRET_KEY": "5" * 64,
        }
        tiled = str(Path(sys.executable).with_name("tiled"))
        words = [tiled, "serve", "config", str(FILES / "config.yml"), "--host", "127.0.0.1", "--port", str(self.port)]
        process = self._start(words, env={**os.environ, **environment})
        eventually(lambda: answers(self.port) or process.poll() is not None, True)
        assert process.poll() is None, self.log

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def make_key(self, scopes: list[str]) -> str:
        """As ``tiled login`` and ``tiled api_key create`` do it."""
        person = {"username": "beamline", "password": PERSONS}
        token = httpx.post(f"{self.address}/api/v1/auth/provider/local/token", data=person).json()["access_token"]
        answer = httpx.post(
            f"{self.address}/api/v1/auth/apikey",
            headers={"Authorization": f"Bearer {token}"},
            json={"expires_in": None, "scopes": scopes, "note": "test"},
        )
        return answer.json()["secret"]


@pytest.fixture(scope="module")
def facility():
    with ExitStack() as ends:
        yield Facility(ends)


@pytest.fixture(scope="module")
def keys(facility):
    return {"reads": facility.make_key(READS), "writes": facility.make_key(WRITES)}


@pytest.fixture
def place(tmp_path, monkeypatch, facility, keys):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TILED_API_KEY", keys["writes"])
    with ExitStack() as ends:
        place = Place(tmp_path, ends)
        place.data = facility.address
        yield place


@pytest.mark.long
def test_a_scan_is_stored_followed_read_and_reconstructed(facility, keys, place, monkeypatch, tmp_path):
    live = place.follow("live", "--once", source=facility.address.replace("http", "tiled"))
    scan = place.start_scan("80", publish=False)
    scan.go_on()
    scan.wait_for("80")
    scan.go_on()
    uid = uid_of(scan)
    assert live.finished() == 0, live.errors
    assert place.has_catalogs_image("live", uid)
    catalog = open_catalog(facility.address, to_write=True)
    result, derived = reconstruct_run(catalog, find_run(catalog, uid), method="tv")
    monkeypatch.setenv("TILED_API_KEY", keys["reads"])
    assert main(["show", derived, "--data", facility.address, "--out", str(tmp_path / "image.npy")]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "image.npy"), result.image)
    given = {"headers": {"Authorization": f"Apikey {keys['reads']}"}, "timeout": PATIENCE_S}
    whole = f"{facility.address}/api/v1/container/full"
    assert httpx.get(f"{whole}/{uid}?format=image/png", **given).content.startswith(b"\x89PNG")
    (tmp_path / "run.nxs").write_bytes(httpx.get(f"{whole}/{uid}?format=nxs", **given).content)
    runs = read_run_file(tmp_path / "run.nxs")
    ours = reconstruct_run(runs, runs.exported, method="tv", record=False)[0]
    np.testing.assert_array_equal(ours.image, result.image)


@pytest.mark.long
def test_the_key_that_reads_neither_writes_nor_deletes_and_no_key_does_nothing(facility, keys, place, monkeypatch):
    board = small_board(8, aperture_um=80.0)
    s = session.start(
        sim=True, data=facility.address, board=board, object_name="CAS", progress=False, live=False, seed=3
    )
    (uid,) = s.RE(s.scan(0.25, 1.0))
    new = {"structure_family": "container", "metadata": {}, "data_sources": [], "specs": []}
    delete = f"/api/v1/metadata/{uid}?recursive=true&external_only=false"

    def ask(method: str, path: str, key: str | None, **options) -> int:
        headers = {} if key is None else {"Authorization": f"Apikey {key}"}
        return httpx.request(method, facility.address + path, headers=headers, timeout=60, **options).status_code

    for key in (keys["reads"], None, "00" * 40):
        assert ask("POST", "/api/v1/metadata/", key, json=new) in (401, 403)
        assert ask("PATCH", f"/api/v1/metadata/{uid}", key, json={"metadata": {}}) in (401, 403)
        assert ask("DELETE", delete, key) in (401, 403)
        assert ask("POST", "/api/v1/auth/apikey", key, json={"expires_in": None, "scopes": WRITES}) in (401, 403)
    for path in ("/api/v1/search/", f"/api/v1/metadata/{uid}", f"/zarr/v3/{uid}", f"/api/v1/container/full/{uid}"):
        assert ask("GET", path, None) in (401, 403, 404), path
    assert ask("GET", f"/api/v1/metadata/{uid}", keys["reads"]) == 200
    assert ask("GET", f"/api/v1/asset/bytes/{uid}?id=1", keys["writes"]) == 403
    monkeypatch.setenv("TILED_API_KEY", keys["reads"])
    with pytest.raises(CxgiError, match="for reading alone with this key"):
        open_catalog(facility.address, to_write=True)
    assert ask("DELETE", delete, keys["writes"]) == 200
    assert ask("GET", f"/api/v1/metadata/{uid}", keys["writes"]) == 404


@pytest.mark.long
def test_no_secret_is_in_the_logs_or_arguments(facility, keys, place):
    for key in keys.values():
        httpx.get(f"{facility.address}/api/v1/search/", params={"api_key": key})
        httpx.get(f"{facility.address}/api/v1/metadata/none", params={"api_key": key})
    arguments = "".join(
        path.read_text(errors="replace") for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()
    )
    for secret in (*keys.values(), PASSWORD, PERSONS, "5" * 64):
        assert secret not in facility.log
        assert secret not in arguments
