"""Lets spyrit and deepinv import torchvision beside a torch that its compiled operators do not know.

Both import torchvision for images and data sets; neither uses these operators here. torchvision
registers shapes for them when imported, which fails unless they exist: so they are declared first.
"""

from __future__ import annotations

import torch


def declare_operators() -> None:
    """Declare what torchvision expects; to be called before any adapter is imported."""
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
