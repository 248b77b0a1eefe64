"""What a reconstruction gives back, and how it is written to a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CxgiError
from ..measurement import Scale
from ..patterns import walsh_hadamard_2d

MARK = "NOT SUPPORTED BY THE DATA"
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
        What the data says about the picture without a truth: `data_misfit` (rms of the
        coefficients' residual in units of sigma); where it was asked for, `held_out` and
        `unmeasured_share` (of the picture's power, how much lies in patterns that were not measured).
    source : dict
        Where the measurement came from.
    pattern_index : ndarray of int, shape (M,), optional
        The patterns that it was made from.
    uncertainty : ndarray, shape (n, n), optional
        One standard deviation of each pixel, of the kind `uncertainty_kind`.
    uncertainty_kind : {"noise", "error"}, optional
    """

    image: NDArray[Any]
    scale: Scale
    method: str
    parameters: Mapping[str, Any]
    seconds: float
    exposures: int
    quality: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    pattern_index: NDArray[np.int64] | None = None
    uncertainty: NDArray[Any] | None = None
    uncertainty_kind: str | None = None

    @property
    def supported(self) -> bool:
        """False when patterns that were held back speak against the picture (too few of them do not)."""
        score = self.quality.get("held_out")
        return score is None or score["supported"] is not False

    @property
    def cautions(self) -> tuple[str, ...]:
        """In what the measurement is unlike any that the method was made for; empty where nothing is."""
        return tuple(self.parameters.get("cautions", ()))

    @cached_property
    def measured(self) -> NDArray[np.float64] | None:
        """The part of the image that lies in the measured patterns: what the data say."""
        return None if self.unmeasured is None else np.asarray(self.image, dtype=np.float64) - self.unmeasured

    @cached_property
    def unmeasured(self) -> NDArray[np.float64] | None:
        """The part of the image that lies in patterns that were not measured: what the data cannot say."""
        if self.pattern_index is None:
            return None
        coefficient = walsh_hadamard_2d(np.asarray(self.image, dtype=np.float64))
        coefficient.reshape(-1)[self.pattern_index] = 0
        part: NDArray[np.float64] = walsh_hadamard_2d(coefficient) / self.image.size
        return part

    @property
    def unmeasured_share(self) -> float | None:
        """Power of that part over the image's power about its mean."""
        power = float(np.var(self.image))
        return None if self.unmeasured is None else float(np.mean(self.unmeasured**2)) / power if power > 0 else 0.0

    def save(self, path: str | Path) -> Path:
        """Write the image: .npy and .tiff keep the numbers, .png stretches them to grey values.

        A .png of a picture that its data do not support says so across its top.

        Raises
        ------
        CxgiError
            For another suffix or a place that cannot be written.
        """
        return _write(check_image_path(path), self.image, None if self.supported else MARK)

    def save_details(self, path: str | Path) -> dict[str, Path]:
        """Write what else is known beside the image: NAME-measured, NAME-unmeasured and NAME-uncertainty."""
        path = check_image_path(path)
        details = {"measured": self.measured, "unmeasured": self.unmeasured, "uncertainty": self.uncertainty}
        return {
            name: _write(path.with_stem(f"{path.stem}-{name}"), image, None)
            for name, image in details.items()
            if image is not None
        }


def _write(path: Path, image: NDArray[Any], mark: str | None) -> Path:
    try:
        if path.suffix.lower() == ".npy":
            np.save(path, image, allow_pickle=False)
        elif path.suffix.lower() == ".png":
            _marked(grey_values(image), mark).save(path)
        else:
            import tifffile

            tifffile.imwrite(path, image.astype(np.float32), photometric="minisblack")
    except OSError as error:
        raise CxgiError(f"{path} cannot be written ({error}): choose another --out") from error
    return path


def _marked(grey: NDArray[np.uint8], mark: str | None) -> Any:
    """A picture with a line of text over its top."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(grey)
    if mark is not None:
        draw = ImageDraw.Draw(picture)
        height = max(12, len(grey) // 16)
        draw.rectangle((0, 0, grey.shape[1], height), fill=0)
        draw.text((grey.shape[1] / 2, height / 2), mark, fill=255, anchor="mm", font_size=0.75 * height)
    return picture


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
