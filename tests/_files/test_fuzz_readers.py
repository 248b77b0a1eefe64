"""Damaged files: read right, or refused in one clear line; no traceback, no hang, memory within bounds.

HDF5 is read in processes of its own, as the HDF5 library itself may crash over damage; that is out of our reach.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
from event_model import compose_run
from PIL import Image

import cxgi_bluesky
from cxgi_bluesky._files.image_file import read_image_file
from cxgi_bluesky.devices.config import example_path, read_beamline_file
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.masks.board_files import board_path
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.masks.speckle_files import write_speckles
from cxgi_bluesky.masks.speckle_set import SpeckleSet
from cxgi_bluesky.masks.tile_maps import TileMaps
from cxgi_bluesky.measurement.bucket_files.plain_lists import read_list
from cxgi_bluesky.measurement.bucket_files.read_write import read_buckets, write_buckets
from cxgi_bluesky.measurement.bucket_files.table import BucketTable
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.simulation.spectrum import read_spectrum
from cxgi_bluesky.training.config import read_config

ROOM = 2**30  # bytes
SECONDS = float(os.environ.get("FUZZ_S", "15"))  # of the long test, for all formats together
CRASHES = (-6, -7, -8, -11)  # of the HDF5 library


def table() -> BucketTable:
    return BucketTable(np.arange(64), np.linspace(0, 3, 64), sigma=np.ones(64), size=8, coding="signed", unit="pA")


def a_list(path: Path) -> None:
    read_list(path, "list", size=8, order="natural", seed=None, coding="signed")


def pairs(path: Path) -> None:
    read_list(path, "pairs", size=8, order="natural", seed=None, coding=None)


def tile_maps() -> TileMaps:
    maps = np.random.default_rng(0).random((64, 8, 8), dtype=np.float32)
    return TileMaps(8, np.arange(64), maps, open_map=None, board_sha256=None, source="")


def write_run(path: Path) -> None:
    from cxgi_bluesky.catalog.nexus_file import FiledRun, write_run_file

    write_run_file(path, FiledRun(scan_documents()), linked={}, reconstructions=[], table=table())


def read_run(path: Path) -> None:
    from cxgi_bluesky.catalog.nexus_file import read_run_file

    Measurement.from_run(read_run_file(path).exported)


def scan_documents() -> list[tuple[str, dict]]:
    """Those of a scan of 64 patterns, as plans write them."""
    block = {
        "schema": 1,
        "fields": {"pattern_index": "k", "bucket": "b", "sigma": "s"},
        "board": {"id": "b", "sha256": "0" * 64, "d_r": 0.8, "pixel_um": 10.0},
        "pattern_set": PatternSet(8, 64).to_dict(),
    }
    run = compose_run(metadata={"cxgi": block})
    keys = {name: {"source": "x", "dtype": "number", "shape": [], "units": "pA"} for name in "kbs"}
    stream = run.compose_descriptor(name="primary", data_keys=keys)
    rows = [{"k": k, "b": 40.0 - k / 2, "s": 0.1} for k in range(64)]
    events = [("event", stream.compose_event(data=row, timestamps=dict.fromkeys(row, 1.0))) for row in rows]
    return [("start", run.start_doc), ("descriptor", stream.descriptor_doc), *events, ("stop", run.compose_stop())]


def speckles() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4000, (6, 9, 9)).astype(np.uint16)


def copy_of(source: Path) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(source.read_bytes())


def write_network(path: Path) -> None:
    from cxgi_bluesky.reconstruction.ch_mwcnn.network import CHMWCNN, NetworkConfig
    from cxgi_bluesky.reconstruction.ch_mwcnn.weights import load_network, save_weights

    tiny = NetworkConfig(widths=(1, 1, 1), passes=1, sigma_widths=(1, 1, 1))
    save_weights(path, CHMWCNN(tiny), load_network().card)


def read_network(path: Path) -> None:
    from cxgi_bluesky.reconstruction.ch_mwcnn.weights import load_network

    load_network(path)


def write_text(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text, encoding="utf-8")


def beamline_text() -> str:
    return example_path("ioc").read_text(encoding="utf-8")


PICTURE = (np.arange(256).reshape(16, 16) % 251).astype(np.uint8)
TRAINING = Path(cxgi_bluesky.__path__[0]) / "training" / "example.yml"
SPECTRUM = "energy_kev,photons\n" + "".join(f"{10 + n},{n + 1}\n" for n in range(20))
LIST = "".join(f"{n / 7}\n" for n in range(64))
FORMATS: dict[str, tuple[str, Callable[[Path], object], Callable[[Path], object]]] = {
    "csv": (".csv", lambda path: write_buckets(path, table()), read_buckets),
    "npz": (".npz", lambda path: write_buckets(path, table()), read_buckets),
    "h5": (".h5", lambda path: write_buckets(path, table()), read_buckets),
    "tile maps": (".h5", lambda path: tile_maps().to_file(path), TileMaps.from_file),
    "speckles": (".h5", lambda path: write_speckles(path, speckles(), pixel_um=6.5), SpeckleSet.open),
    "run": (".nxs", write_run, read_run),
    "list": (".txt", write_text(LIST), a_list),
    "pairs": (".dat", write_text(LIST), pairs),
    "npy list": (".npy", lambda path: np.save(path, np.arange(64.0)), a_list),
    "npy": (".npy", lambda path: np.save(path, PICTURE), read_image_file),
    "png": (".png", lambda path: Image.fromarray(PICTURE).save(path), read_image_file),
    "tiff": (".tif", lambda path: tifffile.imwrite(path, PICTURE), read_image_file),
    "board": (".yaml", lambda path: path.write_bytes(Path(board_path("cu32")).read_bytes()), load_board),
    "beamline": (".yml", lambda path: path.write_text(beamline_text(), encoding="utf-8"), read_beamline_file),
    "training": (".yml", copy_of(TRAINING), read_config),
    "spectrum": (".csv", write_text(SPECTRUM), read_spectrum),
    "network": (".safetensors", write_network, read_network),
}
HDF5 = ("h5", "tile maps", "speckles", "run")
BITS = [b"\x00", b"\xff", b"[", b"{", b"&a ", b"*a", b"-", b"9" * 30, b"1e999", b"nan", b",", b"\n", b'"', b": ", b"#"]


def damaged(raw: bytes, rng: np.random.Generator) -> bytes:
    """Bytes changed, cut off, put in, taken out or repeated, a few times."""
    data = bytearray(raw)
    for _ in range(rng.integers(1, 6)):
        place, length = int(rng.integers(0, len(data) + 1)), int(rng.integers(1, 17))
        kind = rng.integers(0, 6)
        if kind <= 1 and place < len(data):
            data[place] = int(rng.integers(0, 256))
        elif kind == 2:
            data[place : place + length] = rng.bytes(length)
        elif kind == 3:
            data[place:place] = BITS[rng.integers(0, len(BITS))] * int(rng.choice([1, 1, 1, 3, 2000]))
        elif kind == 4:
            del data[place : place + length]
        elif rng.random() < 0.3:
            del data[place:]
    return bytes(data)


def fuzz(name: str, folder: Path, seconds: float, times: int) -> None:
    """Read damaged files until either is over; raises, with the file kept, for anything but a clear refusal."""
    suffix, write, read = FORMATS[name]
    whole, path = folder / f"whole {name}{suffix}", folder / f"damaged{suffix}"
    write(whole)
    read(whole)
    raw, end = whole.read_bytes(), time.monotonic() + seconds
    for seed in range(times):
        if time.monotonic() > end:
            break
        path.write_bytes(damaged(raw, np.random.default_rng(seed)))
        try:
            read(path)
        except CxgiError as error:
            message = str(error)
            assert message.isprintable(), (name, seed, message)
            assert len(message) < 2000, (name, seed, message)
        except Exception as error:
            raise AssertionError(f"{name}, seed {seed}: {error!r}") from error


def in_a_process(names: Sequence[str], folder: Path, seconds: float) -> int:
    """What it ends with, fuzzing formats for so long each, within `ROOM` of memory above what it needs to begin."""
    words = [sys.executable, "-W", "ignore", "-m", "tests._files.test_fuzz_readers", str(folder), str(seconds), *names]
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds * len(names) + 300, check=False)
    if done.returncode and done.returncode not in CRASHES:
        raise AssertionError(done.stderr[-2000:])
    return done.returncode


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in FORMATS if name not in HDF5])
def test_damaged_files(tmp_path, name):
    fuzz(name, tmp_path, 1.0, 20)


def test_damaged_hdf5_files(tmp_path):
    in_a_process(["h5"], tmp_path, 1.0)
    in_a_process(["run"], tmp_path, 1.0)


@pytest.mark.long
def test_damaged_files_for_longer(tmp_path):
    for name in HDF5:
        in_a_process([name], tmp_path, SECONDS / len(FORMATS))
    assert not in_a_process([name for name in FORMATS if name not in HDF5], tmp_path, SECONDS / len(FORMATS))


if __name__ == "__main__":
    folder, each_s, *names = sys.argv[1:]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in names:
        fuzz(name, Path(folder), float(each_s), 10**9)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < ROOM, f"{names}: {grown} bytes more"
