"""With what a command ends, and what it says then."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cxgi_bluesky.cli._options import ExitCode, command_parser
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.errors import ConfigError
from tests.patience import PATIENCE_S


def end_with(error, *words):
    def command(options, echo):
        """Fail."""
        raise error

    return main(words, parser=command_parser("test", command))


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ConfigError("size 33: give 32"), ExitCode.REFUSED, "cxgi: size 33: give 32"),
        (OSError(28, "No space left on device", "a.png"), ExitCode.REFUSED, "No space left on device: 'a.png'"),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, "cxgi: interrupted"),
        (KeyboardInterrupt("the shutter is closed"), ExitCode.INTERRUPTED, "cxgi: the shutter is closed"),
        (KeyError("start"), ExitCode.DEFECT, "a defect of cxgi (KeyError: 'start'): please report it"),
    ],
)
def test_an_error_is_a_line_and_a_status(error, status, line, capsys):
    assert end_with(error) == status
    assert line in capsys.readouterr().err.splitlines()[-1]
    assert end_with(error, "--json") == status
    said = capsys.readouterr()
    assert said.err.splitlines()[-1] == f"cxgi: {json.loads(said.out)['error']}"


def test_the_traceback_is_for_debug_and_defects(capsys):
    end_with(ConfigError("size 33"))
    assert "Traceback" not in capsys.readouterr().err
    end_with(ConfigError("size 33"), "--debug")
    *lines, last = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert any("in end_with" in line or "in command" in line for line in lines)
    assert last == "cxgi: size 33"
    end_with(KeyError("start"))
    assert "Traceback" in capsys.readouterr().err


def test_grammar_is_refused_like_everything_else(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "--json"])
    assert ended.value.code == ExitCode.REFUSED
    said = capsys.readouterr()
    assert "--out" in json.loads(said.out)["error"]
    assert said.err == f"cxgi: {json.loads(said.out)['error']}; see cxgi train --help\n"


def test_a_reader_that_has_gone_is_no_finding():
    words = [sys.executable, "-m", "cxgi_bluesky.cli", "completion", "bash"]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child.stdout.close()
    errors = child.stderr.read()
    assert child.wait(PATIENCE_S) == ExitCode.PIPE_CLOSED
    child.stderr.close()
    assert errors == ""
