"""Completion in real shells."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pexpect
import pytest

from cxgi_bluesky import session
from cxgi_bluesky.cli.completion import SHELLS
from cxgi_bluesky.cli.program import main
from tests.cli.terminal import without_escapes
from tests.patience import PATIENCE_S


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Bash, with completion and a data folder of one scan."""
    folder = tmp_path_factory.mktemp("completion")
    s = session.start(sim=True, board="cu32", live=False, progress=False, data=folder / "data")
    (uid,) = s.RE(s.scan(0.02, exposure_s=1.0))
    (folder / "buckets.csv").write_text("")
    here = str(Path(sys.executable).parent)
    path = os.pathsep.join([here, os.environ["PATH"]])
    assert shutil.which("cxgi", path=path), "the package's command is not installed"
    child = pexpect.spawn(
        "bash", ["--norc", "--noprofile", "-i"], dimensions=(40, 200), timeout=PATIENCE_S, encoding="utf-8", cwd=folder,
        env={**os.environ, "PATH": path, "TERM": "dumb", "PS1": "ready> ", "CXGI_DATA": str(folder / "data")},
    )  # fmt: skip
    child.expect_exact("ready> ")
    for line in (
        "bind 'set bell-style none'",
        "bind 'set enable-bracketed-paste off'",
        'eval "$(cxgi completion bash)"',
    ):
        child.sendline(line)
        child.expect_exact("ready> ")
    forget(child)
    yield child, uid
    child.close(force=True)


def complete(child, typed, wanted):
    """Type, press Tab, and wait for the rest of the word."""
    child.send(typed + "\t")
    child.expect_exact(wanted)
    forget(child)


def forget(child):
    """Ctrl-U empties the line; then wait for the next prompt."""
    child.send("\x15")
    child.sendline("echo forgotten $((40 + 2))")
    child.expect_exact("forgotten 42")
    child.expect_exact("ready> ")


def test_bash_completes_commands_options_choices_runs_and_files(shell):
    child, uid = shell
    complete(child, "cxgi recon", "struct ")
    complete(child, "cxgi reconstruct --meth", "od ")
    complete(child, "cxgi reconstruct --method ch", "-mwcnn ")
    complete(child, f"cxgi show {uid[:3]}", uid[3:8])
    complete(child, "cxgi show la", "st ")
    complete(child, "cxgi reconstruct buc", "kets.csv ")


def test_bash_lists_what_there_is_when_it_is_not_one(shell):
    child, uid = shell
    child.send("cxgi show \t\t")
    child.expect_exact("ready> ")
    assert {uid[:8], "last"} <= set(without_escapes(child.before).split())
    forget(child)


@pytest.mark.parametrize("name", SHELLS)
def test_each_shell_gets_a_script_that_it_can_read(name, capsys):
    assert main(["completion", name]) == 0
    first, *script = capsys.readouterr().out.splitlines()
    assert first == f"# {SHELLS[name]}"
    assert "cxgi" in "\n".join(script)
