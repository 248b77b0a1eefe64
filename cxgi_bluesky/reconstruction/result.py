"""What a reconstruction gives back: image, verdicts on it, a summary in sentences, and how it is written to a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._files.atomic_write import explain_write_error
from ..errors import MeasurementError
from ..masks.orders import sequency
from ..masks.transform import walsh_hadamard_2d
from ..measurement.coefficients import Scale
from ..measurement.outliers import INTENSITY, NOT_A_NUMBER, SPREAD
from .drawing import grey_range, render_html, render_png
from .error_model.noise import MIN_PATTERNS

_REASONS = {  # why exposures are left out, where the stored word says too little
    NOT_A_NUMBER: "bucket or intensity monitor without a number",
    SPREAD: "much noisier than others of their current",
    INTENSITY: "unusual reading of the intensity monitor (I0)",
}
MARK = "NOT SUPPORTED BY THE DATA"
PREDICTS_NOTHING = "PREDICTS NOTHING: DO NOT TRUST"
NOT_SCORED = "NOT JUDGED: TOO FEW PATTERNS"
MIN_AGAINST = 16  # patterns held back that may speak against an image, though they are too few to speak for it
SUFFIXES = (".png", ".npy", ".tif", ".tiff")
_TAKEN = 0.75  # of the patterns of a sequency: drawn orders never take so many before every coarser one is met
_MIN_SHARE = 1 / 16  # of the sequencies: fewer that are missing duplicate nothing that could be seen


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
        What the data says about the image without a truth: `data_misfit` (rms of the
        coefficients' residual in units of sigma); where it was asked for, `held_out`,
        `psnr_db`, `psnr_low_db` and `psnr_high_db` (what validation patterns say of its PSNR, 68 %);
        `unmeasured_share` (of the image's power, how much lies in patterns that were not measured) and
        `residual_lines` (the fields of each `ResidualLine`: what the image has lost although the data hold it).
    source : dict
        Where the measurement came from; `pixel_um`, where it is known, is the pixel size at the object.
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

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.image.shape))
        mark = f", {self.mark}" if self.mark else ""
        return f"Reconstruction({self.method}, {self.exposures} patterns of {shape}, scale {self.scale}{mark})"

    @property
    def supported(self) -> bool:
        """False when patterns that were held back speak against the image (too few of them do not).

        True is no judgement where there were too few, or where none were held back: see `mark`.
        """
        score = self.quality.get("held_out")
        return score is None or score["supported"] is not False

    @property
    def mark(self) -> str | None:
        """What a viewer of the image must know; None where it is supported, or where nobody has asked."""
        if "held_out" not in self.quality:
            return None
        score = self.quality["held_out"]
        if not self.supported:
            return MARK
        if score is not None and score["supported"]:
            return None
        return PREDICTS_NOTHING if predicts_nothing(score) else NOT_SCORED

    @property
    def psnr_claim(self) -> str | None:
        """What validation patterns say of its PSNR; None where there were none."""
        q = self.quality
        if q.get("psnr_db") is None:
            return None
        return f"PSNR {q['psnr_db']:.1f} dB ({q['psnr_low_db']:.1f} to {q['psnr_high_db']:.1f}, 68 %)"

    @property
    def cautions(self) -> tuple[str, ...]:
        """In what the measurement is unlike any that the method was made for, and what its patterns leave open."""
        return (*self.unlike_training, *self.sampling_gaps)

    @property
    def unlike_training(self) -> tuple[str, ...]:
        """In what the measurement is unlike any that the network was trained on; empty for other methods."""
        return tuple(self.parameters.get("cautions", ()))

    @property
    def sampling_gaps(self) -> tuple[str, ...]:
        """What the selection of patterns leaves open, whatever the method (`find_sampling_gaps`)."""
        return () if self.pattern_index is None else find_sampling_gaps(self.pattern_index, len(self.image))

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

    def summary(self) -> list[str]:
        """Sum up in sentences: how the image was made, whether to trust it, and what was left out; one a line."""
        shape = " x ".join(map(str, self.image.shape))
        return [
            f"{self.method}: {self.exposures} patterns of {shape}, scale {self.scale}, {self.seconds * 1e3:.1f} ms",
            *self._verdict_lines(),
            *self._psnr_lines(),
            *self._residual_sentences(),
            *self._caution_lines(),
            *self._source_lines(),
        ]

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show the summary in IPython, in place of the arrays."""
        printer.text("\n".join(self.summary()))

    def _repr_png_(self) -> bytes:
        """Show the image, with scale bar, uncertainty and verdict, where a console can show pictures."""
        return render_png(self)

    def _repr_html_(self) -> str:
        """Show image and summary in a notebook."""
        return render_html(self)

    def _verdict_lines(self) -> Iterator[str]:
        """What the patterns that were held back, and those outside the set, say of the image."""
        if "held_out" not in self.quality:
            return
        score = self.quality["held_out"]
        if score is None:
            yield (
                f"NOTE: {self.exposures} patterns are too few to tell whether the data support the image "
                f"(from {MIN_PATTERNS} on)"
            )
            return
        text = f"{score['patterns']} patterns held back: {score['explained']:.0%} of their power predicted"
        if predicts_nothing(score):
            text = f"WARNING: do not trust this image, it predicts nothing of the data ({text})"
        elif score["supported"] is None:
            text += ", too few to tell whether the data support the image"
        elif not score["supported"]:
            text = f"WARNING: do not trust this image, the data do not support it ({text})"
        yield text
        if score["model_sigma"] > 0:
            yield (
                f"allowed for beyond the detector's noise (masks, stage, drift): {score['model_sigma']:.3g} in a "
                "coefficient"
            )
        outside = score["outside"]
        if outside is not None:
            text = (
                f"{outside['patterns']} patterns outside the set: {outside['explained']:.0%} of their power predicted"
            )
            invented = outside["explained"] <= 0 and score["predictor"] == self.method
            yield f"{text}: what the image adds to the measured patterns is invented" if invented else text

    def _psnr_lines(self) -> Iterator[str]:
        """What the validation patterns say of the PSNR."""
        if self.psnr_claim is not None:
            of_range = "" if self.scale == "transmission" else ", of the image's own range"
            yield f"without a truth: {self.psnr_claim}{of_range}"

    def _residual_sentences(self) -> Iterator[str]:
        """What was looked for in the residual and found there, the same order as in the picture of it."""
        lines = self.quality.get("residual_lines")
        if lines is not None and not lines:
            yield "nothing found that is left in the data: no line or point that the image lacks"
        for number, line in enumerate(lines or (), start=1):
            yield f"LEFT IN THE DATA, not in the image ({number}): {describe_residual_line(line)}"

    def _caution_lines(self) -> Iterator[str]:
        """What contradicts d_r and dark level, what the patterns leave open, what the network has never seen."""
        light = self.quality.get("light_error")
        if light is not None:
            yield (
                f"CAUTION: all masks pass {abs(light):.0%} {'more' if light > 0 else 'less'} of the beam than d_r and "
                "dark level say: give the right --d-r and --dark, or the object is bright in its corner (0, 0) alone"
            )
        yield from (f"CAUTION: {gap}" for gap in self.sampling_gaps)
        for caution in self.unlike_training:
            yield f"CAUTION: the network has not been trained on such data: {caution}"

    def _source_lines(self) -> Iterator[str]:
        """What the masks pass, which maps of them were used, and which exposures were left out."""
        source = self.source
        if source.get("raw_uids"):
            yield f"of run {', resumed as '.join(uid[:8] for uid in source['raw_uids'])}"
        measured = source.get("d_r_measured")
        if measured is not None:
            yield f"D_r measured {measured[0]:.3f} +- {measured[1]:.3f}, of the board {source['d_r']:.3f}"
        if source.get("reference_uids"):
            uids = ", ".join(uid[:8] for uid in source["reference_uids"])
            error = source.get("mask_error")
            if error is None:
                yield f"incident intensity of reference scan {uids}"
            else:
                yield (
                    f"corrected by reference scan {uids}: the masks pass {error:.1%} (rms) more or less than designed"
                )
        digest = source.get("tile_maps_sha256")
        if digest is not None:
            yield f"with measured masks (tile maps {digest[:12]})"
        for reason, indices in source.get("left_out_because", {}).items():
            shown = ", ".join(map(str, indices[:8])) + " ..." * (len(indices) > 8)
            yield f"left out, {_REASONS.get(reason, reason)}: pattern_index {shown}"

    def save(self, path: str | Path) -> Path:
        """Write the image: .npy and .tiff keep the numbers, .png stretches them to grey values.

        A .png of an image that its data do not support, or that they are too few to judge, says so across its top.

        Raises
        ------
        CxgiError
            For another suffix or a place that cannot be written.
        """
        return _write(check_image_path(path), self.image, self.mark)

    def draw(self, pixels: int = 512) -> Any:
        """Draw the image as in a .png: grey values, and across the top what a viewer must know.

        Parameters
        ----------
        pixels : int, optional
            Rows wanted (default 512), as for `grey_values`.

        Returns
        -------
        PIL.Image.Image
        """
        return _mark(grey_values(self.image, pixels), self.mark)

    def save_details(self, path: str | Path) -> dict[str, Path]:
        """Write what else is known beside the image: NAME-measured, NAME-unmeasured and NAME-uncertainty.

        What is not finite everywhere is left out: a .png could not show it.
        """
        path = check_image_path(path)
        details = {"measured": self.measured, "unmeasured": self.unmeasured, "uncertainty": self.uncertainty}
        return {
            name: _write(path.with_stem(f"{path.stem}-{name}"), image, self.mark)
            for name, image in details.items()
            if image is not None and np.isfinite(image).all()
        }

    def save_residual(self, path: str | Path) -> Path:
        """Write NAME-residual.png: the image, and over it in colour the lines and points that it has lost.

        They are numbered as in `summary`, bright ones orange, dark ones blue, and listed below the image.

        Raises
        ------
        CxgiError
            If they were not looked for, or for a place that cannot be written.
        """
        lines = self.quality.get("residual_lines")
        if lines is None:
            raise MeasurementError("the residual was not searched: reconstruct with residual=True (--residual)")
        path = check_image_path(path)
        path = path.with_name(f"{path.stem}-residual.png")
        with explain_write_error(path, "choose another --out"):
            _draw_residual(_mark(grey_values(self.image), self.mark), len(self.image), lines).save(path)
        return path


def describe_residual_line(line: Mapping[str, Any]) -> str:
    """Say in words what was found in the residual: kind, place, tilt, z and the chance of it.

    Parameters
    ----------
    line : mapping
        The fields of a `ResidualLine`.
    """
    row0, col0, row1, col1 = line["ends"]
    if line["angle_deg"] is None:
        where = f"at row {row0:g}, column {col0:g}"
    else:
        where = f"from row {row0:g}, column {col0:g} to {row1:g}, {col1:g}, {line['angle_deg']:g} degrees from upright"
    return f"{line['kind']} {where}, z {line['z']:.1f}, by chance at most {line['chance']:.1g}"


def predicts_nothing(score: Mapping[str, Any] | None) -> bool:
    """Whether the patterns held back, too few for a verdict, are predicted worse than by no image at all."""
    if score is None or score["supported"] is not None:
        return False
    return bool(score["patterns"] >= MIN_AGAINST and score["explained"] < 0)


def find_sampling_gaps(pattern_index: NDArray[np.int64], size: int) -> tuple[str, ...]:
    """Find whole sequencies below a finer one that were never measured: one sentence for rows, one for columns.

    A set that lacks every sequency of one parity, as the first half of the natural order does, cannot tell an object
    from its copy beside it.

    Parameters
    ----------
    pattern_index : ndarray of int, shape (M,)
        Which patterns were measured.
    size : int
        Pixels per side n.
    """
    measured = np.zeros(size * size, dtype=bool)
    measured[pattern_index] = True
    grid = np.zeros((size, size), dtype=bool)
    s = sequency(size)
    grid[np.ix_(s, s)] = measured.reshape(size, size)
    found = {"row": _count_missing(grid), "column": _count_missing(grid.T)}
    return tuple(
        f"{missing} of the {size} {name} sequencies are not measured at all below the finest measured one: the image "
        "may show things twice"
        for name, missing in found.items()
        if missing
    )


def _count_missing(grid: NDArray[np.bool_]) -> int:
    """Count the rows that are empty although a later one was taken, 0 if they are too few to matter."""
    share = grid.mean(axis=1)
    taken = np.flatnonzero(share >= _TAKEN)
    empty = int(np.count_nonzero(share[: taken[-1]] == 0)) if len(taken) else 0
    return empty if empty >= _MIN_SHARE * len(grid) else 0


def _write(path: Path, image: NDArray[Any], mark: str | None) -> Path:
    with explain_write_error(path, "choose another --out"):
        if path.suffix.lower() == ".npy":
            np.save(path, image, allow_pickle=False)
        elif path.suffix.lower() == ".png":
            _mark(grey_values(image), mark).save(path)
        else:
            import tifffile

            tifffile.imwrite(path, image.astype(np.float32), photometric="minisblack")
    return path


def _mark(grey: NDArray[np.uint8], mark: str | None) -> Any:
    """An image with a line of text over its top."""
    from PIL import Image, ImageDraw

    shown = Image.fromarray(grey)
    if mark is not None:
        draw = ImageDraw.Draw(shown)
        height = max(12, len(grey) // 16)
        draw.rectangle((0, 0, grey.shape[1], height), fill=0)
        draw.text((grey.shape[1] / 2, height / 2), mark, fill=255, anchor="mm", font_size=0.75 * height)
    return shown


_COLOURS = {"bright": (255, 150, 0), "dark": (80, 170, 255)}
_TEXT_PX = 13


def _draw_residual(grey: Any, size: int, lines: Sequence[Mapping[str, Any]]) -> Any:
    """An enlarged image of `size` rows with marks over it, and a list of them below it."""
    from PIL import Image, ImageDraw

    scale, height = grey.height / size, _TEXT_PX + 4
    shown = Image.new("RGB", (grey.width, grey.height + height * max(1, len(lines)) + 4))
    shown.paste(grey)
    draw = ImageDraw.Draw(shown)
    if not lines:
        draw.text((4, grey.height + 2), "nothing found in the residual", fill="white", font_size=_TEXT_PX)
    for number, line in enumerate(lines, start=1):
        colour = _COLOURS[line["kind"].split()[0]]
        row0, col0, row1, col1 = ((end + 0.5) * scale for end in line["ends"])
        if line["angle_deg"] is None:
            radius = max(1.5 * scale, 6)
            draw.ellipse((col0 - radius, row0 - radius, col0 + radius, row0 + radius), outline=colour, width=2)
        else:
            draw.line((col0, row0, col1, row1), fill=colour, width=2)
        position = (min(max(col0 + 6, 2), grey.width - 12), min(max(row0 + 2, 2), grey.height - _TEXT_PX - 4))
        draw.text(position, str(number), fill=colour, font_size=_TEXT_PX + 3, stroke_width=2, stroke_fill="black")
        text = f"{number}: {line['kind']}, z {line['z']:.1f}, by chance at most {line['chance']:.1g}"
        draw.text((4, grey.height + 2 + height * (number - 1)), text, fill=colour, font_size=_TEXT_PX)
    return shown


def check_image_path(path: str | Path) -> Path:
    """The path, if an image can be written there; checked before work is spent on the image."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise MeasurementError(f"{path.name!r} has no known image suffix: use one of {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise MeasurementError(f"folder {path.parent} does not exist: make it first or choose another --out")
    return path


def grey_values(image: NDArray[Any], pixels: int = 512) -> NDArray[np.uint8]:
    """8-bit image, stretched between the 0.5 and 99.5 percentiles, enlarged to about `pixels`.

    What is not finite is black.

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
        In any unit.
    pixels : int, optional
        Rows wanted; 512 by default. Each pixel is repeated a whole number of times, at least once.
    """
    finite = np.isfinite(image)
    low, high = grey_range(image)
    span = high - low if high > low else 1.0
    grey = np.round(np.clip((np.where(finite, image, low) - low) / span, 0, 1) * 255).astype(np.uint8)
    factor = max(1, pixels // image.shape[0])
    return np.kron(grey, np.ones((factor, factor), dtype=np.uint8))
