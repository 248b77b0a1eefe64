"""Lets spyrit and deepinv import torchvision beside a torch that its compiled operators do not know.

Both import torchvision for pictures and data sets; neither uses these operators here. torchvision
registers shapes for them when imported, which fails unless they exist: so they are declared first.
"""

from __future__ import annotations

import torch

for _name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, _name):
        torch.library.define(f"torchvision::{_name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
