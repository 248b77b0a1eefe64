"""Renew the picture of docs/tutorials/measure-only-what-is-needed.md, and print the numbers that stand beside it.

    python -m tools.adaptive_tutorial docs/tutorials/measure-only-what-is-needed.png

The gold object on the simulated beamline, 30 s an exposure: 768 patterns in zig-zag order, and a scan that chooses its
patterns until its image has 22 dB. Exposures take 60 ms here, so that images are made beside them.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from bluesky import RunEngine

from cxgi_bluesky.analysis.metrics import psnr
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.plans import adaptive_scan, mask_scan
from cxgi_bluesky.reconstruction.cross_validation import reconstruct_and_check

EXPOSURE_S, TARGET_DB, COUNT = 30.0, 22.0, 768


def main() -> None:
    """Scan twice, draw and print."""
    from matplotlib.figure import Figure

    logging.disable(logging.WARNING)
    line, engine = simulated_beamline("au64", "gold", time_scale=0.002), RunEngine({})
    devices = (line.stage, line.shutter, line.diode)
    words: dict[str, Any] = {"exposure_s": EXPOSURE_S, "object_stage": line.object_stage}
    plans = {
        "the old way": mask_scan(*devices, pattern_set=PatternSet(64, COUNT), **words),
        "this way": adaptive_scan(*devices, count=COUNT, until={"psnr_db": TARGET_DB}, **words),
    }
    truth = line.simulation.truth
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    axes = figure.subplots(1, 3)
    panels = [("the object", truth)]
    for name, plan in plans.items():
        documents: list[Any] = []
        engine(plan, lambda *document, documents=documents: documents.append(document))
        scanned = Exposures.from_documents(documents)
        made = reconstruct_and_check(Measurement.from_exposures(scanned), method="ch-mwcnn")
        exposures, open_s = len(scanned) + len(scanned.streams["validation"]), scanned.figures["open_s"]
        true_db = psnr(made.image, truth, data_range=1.0)
        panels.append((f"{name}: {exposures} exposures,\n{open_s:.0f} s of beam, {true_db:.1f} dB", made.image))
        print(name, exposures, "exposures,", f"{open_s:.0f} s, {true_db:.2f} dB;", documents[-1][1]["reason"])
        print("\n".join(made.summary()))
    for one, (title, image) in zip(axes, panels, strict=True):
        one.imshow(image, cmap="gray", vmin=0, vmax=1)
        one.set_title(title, fontsize=10, pad=8)
        one.set_axis_off()
    figure.savefig(sys.argv[1], dpi=110)


if __name__ == "__main__":
    main()
