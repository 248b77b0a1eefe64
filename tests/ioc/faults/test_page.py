"""The page of injected faults and these tests name each other."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[2] / "docs" / "reference" / "injected-faults.md"
UNLISTED = {"test_readings.py::test_an_open_exposure_in_next_to_no_light_is_not_divided_by"}  # injects documents


def test_the_page_names_each_test_and_each_named_test_exists():
    named = set(re.findall(r"`(test_\w+\.py::test_\w+)`", PAGE.read_text(encoding="utf-8")))
    there = {
        f"{file.name}::{name}"
        for file in FOLDER.glob("test_*.py")
        if file != Path(__file__)
        for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    assert named == there - UNLISTED
