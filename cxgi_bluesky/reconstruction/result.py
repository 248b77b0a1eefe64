"""What a reconstruction gives back, and how it is written to a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CxgiError
from ..measurement import Scale

SUFFIXES = (".png", ".npy", ".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """An image and how it came about.

    Attributes
    ----------
    image : ndarray, shape (n, n)
        Transmission (scale "transmission") or proportional to it up to an offset ("relative").
    scale : {"transmission", "relative"}
    method : str
    parameters : dict
        What the method used, enough to repeat it.
    seconds : float
        Time of the reconstruction alone.
    exposures : int
        Number of patterns the image was made from.
    quality : dict
        What the data says about the picture without a truth (`data_misfit`: rms of the
        coefficients' residual in units of sigma).
    source : dict
        Where the measurement came from.
    """

    image: NDArray[Any]
    scale: Scale
    method: str
    parameters: Mapping[str, Any]
    seconds: float
    exposures: int
    quality: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path) -> Path:
        """Write the image: .npy and .tiff keep the numbers, .png stretches them to grey values.

        Raises
        ------
        CxgiError
            For another suffix or a place that cannot be written.
        """
        path = check_image_path(path)
        try:
            if path.suffix.lower() == ".npy":
                np.save(path, self.image, allow_pickle=False)
            elif path.suffix.lower() == ".png":
                from PIL import Image

                Image.fromarray(grey_values(self.image)).save(path)
            else:
                import tifffile

                tifffile.imwrite(path, self.image.astype(np.float32), photometric="minisblack")
        except OSError as error:
            raise CxgiError(f"{path} cannot be written ({error}): choose another --out") from error
        return path


def check_image_path(path: str | Path) -> Path:
    """The path, if an image can be written there; checked before work is spent on the image."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise CxgiError(f"{path.name!r} has no known image suffix: use one of {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise CxgiError(f"folder {path.parent} does not exist: make it first or choose another --out")
    return path


def grey_values(image: NDArray[Any], pixels: int = 512) -> NDArray[np.uint8]:
    """8-bit picture, stretched between the 0.5 and 99.5 percentiles, enlarged to about `pixels`."""
    low, high = np.percentile(image, [0.5, 99.5])
    span = high - low if high > low else 1.0
    grey = np.round(np.clip((image - low) / span, 0, 1) * 255).astype(np.uint8)
    factor = max(1, pixels // image.shape[0])
    return np.kron(grey, np.ones((factor, factor), dtype=np.uint8))
