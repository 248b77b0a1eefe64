from __future__ import annotations

import pytest

from benchmarks.suite.tables import BEGIN, END, between_marks, markdown, write_markdown
from cxgi_bluesky.errors import CxgiError

RESULTS = {
    "cxgi_bluesky": "1.2.3",
    "python": "3.11",
    "numpy": "2",
    "processor": "a processor",
    "threads": 1,
    "seeds": 5,
    "quality": {
        "workload": {"size": 64, "fraction": 0.1875, "objects": ["camera", "CAS"]},
        "baseline": "inverse",
        "rows": [
            {"order": "zig-zag", "snr_db": 30.0, "method": "inverse", "psnr_db": 20.934, "gain_db": 0.0, "ssim": 0.7054,
             "cas_cnr": 3.601, "ms": 0.0512, "fitted": False},
            {"order": "zig-zag", "snr_db": 30.0, "method": "dgi", "psnr_db": 19.5, "gain_db": -1.434, "ssim": None,
             "cas_cnr": None, "ms": 1234.5, "fitted": True},
        ],
        "left_out": [{"order": "zig-zag", "snr_db": 20.0, "method": "net", "why": "it knows no 64"}],
    },
    "measured": {
        "workload": {"size": 32, "fraction": 0.1875, "files": ["roi"]},
        "baseline": "inverse",
        "rows": [{"file": "roi", "order": "zig-zag", "method": "tv", "psnr_db": 24.0, "gain_db": 1.5}],
        "mean": [{"order": "zig-zag", "method": "tv", "psnr_db": 24.0, "gain_db": 1.5}],
        "network_minus_tv": [
            {"order": "zig-zag", "each": {"roi": 0.41}, "mean_db": 0.41, "worst": "roi", "worst_db": 0.41,
             "as_wanted": True},
        ],
    },
    "speed": {
        "fraction": 0.1875,
        "rows": [
            {"task": "GI, full set", "size": 1024, "ms": 34.81, "baseline": "two products", "baseline_ms": 125.2,
             "ratio": 0.278, "growth_mb": 32.8, "target_ms": 60.0, "target_mb": 200.0},
        ],
    },
}  # fmt: skip


def test_the_tables_are_made_of_the_results_alone():
    text = markdown(RESULTS)
    assert "| zig-zag | 30 dB | inverse | 20.93 | +0.00 | 0.705 | 3.60 | 0.0512 |" in text
    assert "| zig-zag | 30 dB | dgi * | 19.50 | -1.43 | - | - | 1234 |" in text
    assert "after a least-squares affine fit to the truth" in text
    assert "- left out: zig-zag, 20.0, net: it knows no 64" in text
    assert "| order | method | roi | mean PSNR dB | mean gain dB |" in text
    assert "| order | roi | mean | worst | as wanted |" in text
    assert "| zig-zag | +0.41 | +0.41 | +0.41 | yes |" in text
    assert "| zig-zag | tv | 24.00 | 24.00 | +1.50 |" in text
    assert "| GI, full set | 1024 | 34.8 | two products | 125 | 0.278 | 60 | 32.8 | 200 |" in text
    assert "64 x 64, 18.75% of the patterns" in text
    assert "1.2.3" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {9, 6, 10}  # of the four tables two have five columns


def test_a_part_that_was_not_run_has_no_table():
    text = markdown({key: value for key, value in RESULTS.items() if key != "speed"})
    assert "Speed" not in text
    assert "Image quality" in text


def test_only_what_stands_between_the_marks_is_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Before\n{BEGIN}\nold numbers\n{END}\nafter\n")
    write_markdown(page, "new numbers\n")
    assert page.read_text() == f"# Before\n{BEGIN}\nnew numbers\n{END}\nafter\n"
    write_markdown(page, "newer\n")
    assert page.read_text() == f"# Before\n{BEGIN}\nnewer\n{END}\nafter\n"
    write_markdown(tmp_path / "other.md", "all\n")
    assert (tmp_path / "other.md").read_text() == "all\n"
    assert between_marks("no marks", "text") == "text"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(CxgiError, match="cannot be written"):
        write_markdown(tmp_path / "missing" / "page.md", "text")
