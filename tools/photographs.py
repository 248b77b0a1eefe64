"""Grey photographs for `objects.folder` of a training, from Debian packages with known licences.

    apt-get download gnome-backgrounds mate-backgrounds plasma-workspace-wallpapers ukui-wallpapers \\
        lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 tuxpaint-stamps-default gcompris-qt-data
    for package in *.deb; do dpkg -x $package unpacked/${package%%_*}; done
    python -m tools.photographs unpacked photographs

Their licences (CC-BY, CC-BY-SA, CC0, GPL-2+, public domain) stand in `usr/share/doc/PACKAGE/copyright`; name packages
and versions with the weights. Previews and drawings with little contrast are left out.
"""

from __future__ import annotations

import argparse
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

SHORTEST, LARGEST = 200, 900  # pixels of the shorter side: smaller images are left out, larger ones reduced
MIN_CONTRAST = 12.0  # standard deviation of the grey values, 0..255
MIN_BYTES = 60_000  # smaller files are icons and previews
LEFT_OUT = ("screenshot", "images_dark", "3840x2160.jpg", "5640x3172")  # copies of the same image
_ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}
_WEBP, _JPEG = re.compile(rb"RIFF(....)WEBP", re.DOTALL), re.compile(rb"\xff\xd8\xff[\xe0\xe1]")
_SIZE = re.compile(r"\d+x\d+")  # name of an image of which there are several, in one folder
_MIN_INSIDE = 25_000  # bytes of an image inside another file
_MAX_JPEG = 3_000_000  # bytes


def images_in(folder: Path) -> Iterator[tuple[str, Image.Image]]:
    """Name and image of every file of an unpacked package, those inside Qt's resource files among them."""
    for path in sorted(folder.rglob("*")):
        if any(word in str(path.relative_to(folder)) for word in LEFT_OUT):
            continue
        if path.suffix == ".rcc":
            yield from ((f"{path.stem}-{number}", image) for number, image in enumerate(_inside(path.read_bytes())))
        elif path.suffix.lower() in _ENDINGS and path.stat().st_size >= MIN_BYTES and _is_largest(path):
            yield path.stem, Image.open(path)


def _is_largest(path: Path) -> bool:
    """Whether it is the largest of the sizes of an image that lie in one folder."""
    return not _SIZE.fullmatch(path.stem) or path == max(path.parent.iterdir(), key=lambda other: other.stat().st_size)


def _inside(content: bytes) -> Iterator[Image.Image]:
    parts = [content[m.start() : m.start() + 8 + int.from_bytes(m.group(1), "little")] for m in _WEBP.finditer(content)]
    parts += [content[m.start() : m.start() + _MAX_JPEG] for m in _JPEG.finditer(content)]
    for part in (part for part in parts if len(part) >= _MIN_INSIDE):
        try:
            image = Image.open(io.BytesIO(part))
            image.load()
        except (OSError, ValueError):  # the same bytes by chance
            continue
        yield image


def grey(image: Image.Image) -> Image.Image | None:
    """The image in grey, at most `LARGEST` pixels on its shorter side; None if it is small or has little contrast."""
    if "A" in image.getbands() or image.mode == "P":
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (128, 128, 128, 255)), image)
    image = image.convert("L")
    shorter = min(image.size)
    if shorter < SHORTEST:
        return None
    if shorter > LARGEST:
        width, height = (round(side * LARGEST / shorter) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return image if float(np.std(np.asarray(image))) >= MIN_CONTRAST else None


def main() -> None:
    """Write all of them as .png."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("packages", type=Path, help="folder with a folder of each unpacked package")
    parser.add_argument("out", type=Path, help="folder of the photographs")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    number = 0
    for package in sorted(path for path in given.packages.iterdir() if path.is_dir()):
        for name, image in images_in(package):
            made = grey(image)
            if made is not None:
                made.save(given.out / f"{package.name}--{number:04d}-{name}.png")
                number += 1
    print(f"{number} photographs in {given.out}")


if __name__ == "__main__":
    main()
