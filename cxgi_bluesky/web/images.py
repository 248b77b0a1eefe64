"""Images as PNG files that are made once for all viewers, and never change under their address."""

from __future__ import annotations

import hashlib
import io
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reconstruction.drawing import choose_scale_bar, grey_range
from ..reconstruction.result import grey_values

KEPT = 2000  # files of some kilobytes
_AMBER, _MOST_ALPHA = (255, 140, 0), 0.8


def grey_png(image: NDArray[Any]) -> bytes:
    """Make a PNG of an image, shape (n, n), one grey pixel for each of its own, stretched as `grey_values` does."""
    return _to_png(grey_values(image, pixels=1))


def uncertainty_png(sigma: NDArray[Any]) -> bytes:
    """Make a PNG to lay over an image: amber that covers the more, the larger the uncertainty, shape (n, n)."""
    finite = np.where(np.isfinite(sigma), sigma, np.inf)
    _, high = grey_range(np.where(np.isfinite(sigma), sigma, 0.0))
    alpha = np.clip(finite / high if high > 0 else finite * 0, 0, 1) * _MOST_ALPHA
    colour = np.broadcast_to(np.array(_AMBER, np.uint8), (*sigma.shape, 3))
    return _to_png(np.dstack([colour, np.round(alpha * 255).astype(np.uint8)]))


def _to_png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=3)
    return file.getvalue()


def grey_ends(image: NDArray[Any]) -> tuple[float, float]:
    """Values of black and white, to a thousandth of what is between them.

    Parameters
    ----------
    image : ndarray, shape (n, n)
    """
    low, high = grey_range(image)
    if not high > low:
        return low, high
    digits = 3 - math.floor(math.log10(high - low))
    return round(low, digits), round(high, digits)


def scale_bar(size: int, pixel_um: Any) -> dict[str, Any] | None:
    """Describe the scale bar of an image; None where the pixel size is not known.

    Parameters
    ----------
    size : int
        Pixels per side.
    pixel_um : float or None
        Pixel size at the object (um).

    Returns
    -------
    dict or None
        ``percent`` of the width, and ``text``.
    """
    if not isinstance(pixel_um, int | float) or not pixel_um > 0:
        return None
    share, text = choose_scale_bar(size, pixel_um)
    return {"percent": round(100 * share, 2), "text": text}


class PngStore:
    """PNG files by name, the ones asked for last; for any thread."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, png: bytes) -> str:
        """Keep a file, and return its name, which belongs to its content."""
        name = hashlib.sha256(png).hexdigest()[:24]
        self._keep(name, png)
        return name

    def get(self, name: str) -> bytes | None:
        """Return a file, None if it is not kept any more."""
        with self._lock:
            png = self._files.get(name)
            if png is not None:
                self._files.move_to_end(name)
            return png

    def get_or_make(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Return a file that never changes, made if it is not kept.

        Parameters
        ----------
        name : str
        make : callable
            Makes it.
        """
        png = self.get(name)
        if png is None:
            png = make()
            self._keep(name, png)
        return png

    def _keep(self, name: str, png: bytes) -> None:
        with self._lock:
            self._files[name] = png
            self._files.move_to_end(name)
            while len(self._files) > KEPT:
                self._files.popitem(last=False)
