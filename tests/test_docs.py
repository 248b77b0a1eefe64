from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cases import long_case

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize(
    ("name", "fraction", "few"),
    [
        ("README.md", "0.1875", "0.02"),
        long_case("docs/tutorials/first-session.md", "0.0625", "0.02"),
        long_case("docs/how-to/correct-for-the-masks.md", "0.05", "0.01"),
    ],
)
def test_examples_run(name, fraction, few, tmp_path, monkeypatch):
    monkeypatch.setenv("CXGI_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks(ROOT / name)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block.replace(fraction, few), name, "exec"), names)
    if "correct-for-the-masks" in name:  # shows what it made on the screen
        assert names["picture"].source["reference_uids"] == [names["reference"]]
    else:
        assert list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"
