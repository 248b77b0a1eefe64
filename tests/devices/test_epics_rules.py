"""The table of findings about EPICS devices; what is imported without them."""

from __future__ import annotations

import subprocess
import sys

from cxgi_bluesky.devices.diagnostics.passive import Finding, format_table


def test_the_table_has_one_line_for_each_finding():
    lines = format_table(
        [Finding("stage.x", "no answer", "check"), Finding("diode", "wrong unit", "mend")]
    ).splitlines()
    assert lines[0].split("  ") != lines[1].split("  ")
    assert [line.split()[0] for line in lines] == ["where", "stage.x", "diode"]


def test_neither_the_package_nor_the_command_line_imports_epics():
    code = (
        "import sys, cxgi_bluesky; from cxgi_bluesky.cli import build_parser; build_parser(); "
        "print([m for m in sys.modules if m.split('.')[0] in ('epics', 'ophyd', 'caproto')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
