from __future__ import annotations

import numpy as np

from cxgi_bluesky.simulation.objects.registry import OBJECTS
from tests.test_docs import ROOT, python_blocks

PAGE = ROOT / "docs/how-to/simulate-a-board.md"


def test_the_pages_examples_run_and_it_names_every_object(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in python_blocks(PAGE):
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["flat"].defects.corner_um > 0 == names["flat"].defects.offset_rms_um
    assert names["per_mask_pixel"].maps.shape == (32, 32, 32)
    names["measured"].open_shutter()
    assert np.isfinite(names["measured"].current_pa())
    assert all(f"`{name}`" in PAGE.read_text() for name in OBJECTS)
