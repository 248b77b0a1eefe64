"""Without an extra, what needs it says how to install it; public names are there for type checkers."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.metadata import metadata
from importlib.resources import files

import pytest

import cxgi_bluesky
from cxgi_bluesky import session
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.errors import CxgiError
from tests.patience import PATIENCE_S

WITHOUT = "import sys; sys.modules[{package!r}] = None; from cxgi_bluesky.cli import main; sys.exit(main({words!r}))"


@pytest.mark.parametrize(
    ("package", "extra", "words"),
    [
        ("caproto", "epics", ["ioc"]),
        ("caproto", "epics", ["demo", "--epics"]),
        ("epics", "epics", ["check", "ioc"]),
        ("distributed", "cluster", ["reconstruct", "--query", "uid != None", "--scheduler", "tcp://127.0.0.1:1"]),
        ("zmq", "zmq", ["live", "--from", "0mq://localhost:5578"]),
        ("zmq", "zmq", ["web", "--from", "0mq://localhost:5578"]),
        ("p4p", "pva", ["pva"]),
        ("spekpy", "spectra", ["d-r", "--metal", "Au", "--thickness-um", "10", "--tube", "W", "--kv", "50"]),
    ],
)
def test_a_command_names_the_extra_that_it_lacks(package, extra, words, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(package=package, words=words)],
        cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert f"pip install 'cxgi_bluesky[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_session_names_it_too():
    code = "import sys; sys.modules['epics'] = None; from cxgi_bluesky import session; session.start(beamline='ioc')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.stderr.splitlines()[-1].endswith("epics is not installed: pip install 'cxgi_bluesky[epics]'")


def test_what_type_checkers_see_is_what_is_there():
    package = files("cxgi_bluesky")
    assert package.joinpath("py.typed").is_file()
    (block,) = [
        node for node in ast.parse(package.joinpath("__init__.py").read_text()).body if isinstance(node, ast.If)
    ]
    seen = {(name.asname, node.module) for node in block.body for name in node.names}
    assert seen == set(cxgi_bluesky._HOMES.items())


def test_links_of_the_readme_work_where_its_files_are_not():
    text = metadata("cxgi_bluesky")["Description"]
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert len(links) > 5
    assert [link for link in links if not link.startswith("https://")] == []


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:1/api/v1?api_key=secret", "http://user:secret@127.0.0.1:1", "HTTPS://127.0.0.1:1/#secret"],
)
def test_a_key_in_an_address_is_refused_and_shown_nowhere(address, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(CxgiError, match=r"put the key into TILED_API_KEY, and give https?://127\.0\.0\.1:1") as caught:
        session.start(data=address, live=False, progress=False)
    assert main(["runs", "--data", address]) == 2
    assert "secret" not in str(caught.value) + capsys.readouterr().err
    assert not list(tmp_path.iterdir())
