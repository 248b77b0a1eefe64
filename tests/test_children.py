from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import HEEDED

ROOT = Path(__file__).parents[1]
PARENT = """
import os, signal, subprocess, sys
from tests.children import heed_signals_in_children

number = int(sys.argv[1])
signal.signal(number, signal.SIG_IGN)
heed_signals_in_children()
os.kill(os.getpid(), number)
print(subprocess.run(["sh", "-c", f"kill -{number} $$"]).returncode)
"""


def ended_by(number):
    return subprocess.run(["sh", "-c", f"kill -{int(number)} $$"], check=False).returncode


@pytest.mark.parametrize("number", HEEDED)
def test_a_signal_ends_a_child_of_a_test(number):
    assert ended_by(number) == -number


@pytest.mark.parametrize("number", HEEDED)
def test_a_process_that_ignores_a_signal_goes_on_and_its_children_end(number):
    words = [sys.executable, "-c", PARENT, str(int(number))]
    run = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(run.stdout) == -number
