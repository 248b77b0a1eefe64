"""A run as a NeXus file: a tree for whoever opens it, and in it every document, from which the run is read back.

The tree is described in docs/reference/files.md. What is read back are the documents alone. Reading and writing are one
file, long as it is, as they are one format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._files.hdf5_dataset import check_no_link, dataset_in
from ..errors import CxgiError, FileFormatError, MeasurementError, StorageError
from ..measurement.bucket_files.table import BucketTable, naming
from ..measurement.documents import EventRows, Row, cxgi_block
from ..measurement.exposures import Exposures
from .journal import Document, from_line, to_line
from .tiled_adapter import short

SUFFIXES = (".nxs", ".h5", ".hdf5")
VERSION_KEY, VERSION = "cxgi_run", 1
ENTRY, DOCUMENTS, RECONSTRUCTION = "entry", "documents", "reconstruction_"
MAX_BYTES = 2**28  # of all documents of a file
_IMAGE_PARTS = ("image", "unmeasured", "uncertainty")
_KEYS: dict[str, dict[str, Any]] = {  # what a document must have, so that it can be used
    "start": {"uid": str, "time": int | float},
    "descriptor": {"uid": str, "data_keys": dict},
    "event": {"descriptor": str, "seq_num": int, "time": int | float, "data": dict},
    "event_page": {"descriptor": str, "seq_num": list, "time": list, "data": dict},
}
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)


@dataclass(frozen=True, eq=False)
class FiledRun:
    """All documents of a run, in their order; what reads a run of the catalog reads this too."""

    lines: Sequence[Document]

    @property
    def start(self) -> Mapping[str, Any]:
        """The start document."""
        return self.lines[0][1]

    @property
    def uid(self) -> str:
        """Uid of the run."""
        return str(self.start["uid"])

    @property
    def metadata(self) -> dict[str, Any]:
        """Start and stop document, as a run of the catalog has them; the stop is None for one that has none."""
        return {"start": self.start, "stop": next((one for name, one in self.lines if name == "stop"), None)}

    def documents(self) -> Iterator[Document]:
        """Give name and document of each."""
        return iter(self.lines)


class FiledRuns(Mapping[str, FiledRun]):
    """The runs of a file by uid or its beginning, with what reading a catalog needs of one.

    Attributes
    ----------
    exported : FiledRun
        The run that the file was made for; the others belong to it.
    """

    context = None  # of no server, and no writer's

    def __init__(self, path: Path, runs: Sequence[FiledRun]) -> None:
        self._path, self._runs = path, {run.uid: run for run in runs}
        self.exported = runs[0]

    def __getitem__(self, uid: str) -> FiledRun:
        found = [run for whole, run in self._runs.items() if uid and whole.startswith(uid)]
        if len(found) != 1:
            raise KeyError(f"{self._path} has {', '.join(one[:8] for one in self._runs)}")
        return found[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)


# ---------------------------------------------------------------- reading


def is_run_file(path: str | Path) -> bool:
    """Whether a file holds an exported run: .nxs is taken for one, .h5 and .hdf5 if they say so."""
    path = Path(path)
    if path.suffix.lower() == SUFFIXES[0]:
        return True
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return ENTRY in file.keys() and VERSION_KEY in _documents_of(_group(file, ENTRY)).attrs  # noqa: SIM118
    except (CxgiError, *_DAMAGE):  # whoever reads it as what it is called says so
        return False


def read_run_file(path: str | Path) -> FiledRuns:
    """Read the runs of an exported file; what was written beside their documents is left alone.

    Raises
    ------
    CxgiError
        If the file is damaged, is no exported run or of another version, or holds more than `MAX_BYTES` of documents.
    """
    import h5py

    path = Path(path)
    try:
        path.open("rb").close()  # h5py's own message for a missing file is long
        with h5py.File(path, "r") as file, naming(path):
            return FiledRuns(path, _read_runs(file))
    except CxgiError:
        raise
    except _DAMAGE as error:
        reason = " ".join(str(error).split())
        raise FileFormatError(f"{path} cannot be read as an exported run ({reason}): export it anew") from error


def _read_runs(file: Any) -> list[FiledRun]:
    if ENTRY not in file.keys():  # noqa: SIM118 (`in file` follows links)
        raise FileFormatError(f"it holds no exported run, which has a group /{ENTRY}: is it another file?")
    runs: list[FiledRun] = []
    rest = MAX_BYTES
    for group in _groups_with_documents(file):
        lines = _read_lines(group, rest)
        rest -= len(lines)
        runs.append(_parse(f"{group.name}/{DOCUMENTS}", lines))
    return runs


def _groups_with_documents(file: Any) -> Iterator[Any]:
    """The entry of the run first, its reconstructions, then the other entries."""
    for name in [ENTRY, *(name for name in file if name != ENTRY)]:
        entry = _group(file, name)
        yield entry
        for inner in entry:
            if inner.startswith(RECONSTRUCTION):
                yield _group(entry, inner)


def _group(parent: Any, name: str) -> Any:
    import h5py

    check_no_link(parent, name)
    group = parent[name]
    if not isinstance(group, h5py.Group):
        raise FileFormatError(f"{group.name} is no group: export the run anew")
    return group


def _documents_of(group: Any) -> Any:
    if DOCUMENTS not in group.keys():  # noqa: SIM118
        raise FileFormatError(f"{group.name} holds no documents of a run: is it another file?")
    return _group(group, DOCUMENTS)


def _read_lines(group: Any, max_bytes: int) -> bytes:
    documents = _documents_of(group)
    version = np.asarray(documents.attrs.get(VERSION_KEY, -1))
    if version.shape != () or version.dtype.kind not in "iu" or int(version) != VERSION:
        raise FileFormatError(
            f"{documents.name} has no attribute {VERSION_KEY} of version {VERSION}, which this release reads: use the "
            "release that wrote it"
        )
    dataset = dataset_in(documents, "lines", max_values=max_bytes)
    if dataset.dtype != np.uint8:
        raise FileFormatError(f"{dataset.name} holds {dataset.dtype}, not bytes (uint8): export the run anew")
    return np.asarray(dataset[()]).tobytes()


def _parse(where: str, lines: bytes) -> FiledRun:
    documents: list[Document] = []
    descriptors: set[str] = set()
    for number, line in enumerate(lines.splitlines(), 1):
        document = from_line(line)
        if document is None or not _is_usable(*document, descriptors, first=number == 1):
            raise FileFormatError(f"{where}: line {number} is no document of a run: export it anew")
        if document[0] == "descriptor":
            descriptors.add(document[1]["uid"])
        documents.append(document)
    if not documents:
        raise FileFormatError(f"{where} is empty: export the run anew")
    run = FiledRun(documents)
    try:
        Exposures.from_documents(run.documents())
    except CxgiError:
        pass  # no scan that an image is made of, or another schema: who asks for its image is told
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(
            f"{where}: its events are not those of its scan ({short(error)}): export it anew"
        ) from error
    return run


def _is_usable(name: str, document: Mapping[str, Any], descriptors: set[str], *, first: bool) -> bool:
    if first != (name == "start"):
        return False
    if not all(isinstance(document.get(key), kind) for key, kind in _KEYS.get(name, {}).items()):
        return False
    return name not in ("event", "event_page") or document["descriptor"] in descriptors


# ---------------------------------------------------------------- writing


def write_run_file(
    path: Path,
    run: FiledRun,
    *,
    linked: Mapping[str, FiledRun],
    reconstructions: Sequence[FiledRun],
    table: BucketTable | None,
) -> None:
    """Write a run, the runs that belong to it, and its images, of which the last one is the default plot.

    Parameters
    ----------
    path : Path
        The file; one that is there is replaced.
    run : FiledRun
    linked : mapping of str to FiledRun
        Its reference and dark scan and the scans that it resumes, by the names of their entries.
    reconstructions : sequence of FiledRun
        Images that were made of it, oldest first.
    table : BucketTable or None
        Calibrated buckets of the run, where it has patterns.

    Raises
    ------
    CxgiError
        If the documents are more than `MAX_BYTES`.
    OSError
        If the file cannot be written.
    """
    import h5py

    from .. import __version__

    every = [_Lines(one) for one in (run, *reconstructions, *linked.values())]
    total = sum(len(one.text) for one in every)
    if total > MAX_BYTES:
        raise StorageError(f"run {run.uid[:8]} has {total} bytes of documents, a file at most {MAX_BYTES}")
    own, images, others = every[0], every[1 : 1 + len(reconstructions)], every[1 + len(reconstructions) :]
    with h5py.File(path, "w", libver=("v108", "v108")) as file:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        file.attrs.update({"NX_class": "NXroot", "default": ENTRY, "creator": "cxgi_bluesky", "file_time": now})
        file.attrs["creator_version"] = __version__
        entry = _write_entry(file, ENTRY, own)
        if table is not None:
            _write_buckets(entry, table)
        for number, image in enumerate(images, 1):
            _write_reconstruction(entry, number, image)
        for name, other in zip(linked, others, strict=True):
            _write_entry(file, name, other)
        for written in file.values():
            _choose_plot(written)


class _Lines:
    """A run with its documents as lines of JSON."""

    def __init__(self, run: FiledRun) -> None:
        self.run = run
        self.text = b"".join(to_line(name, document) for name, document in run.lines)

    def write(self, parent: Any) -> None:
        """Write them, and start and stop to be read by people."""
        group = _new_group(parent, DOCUMENTS, "NXcollection")
        group.attrs[VERSION_KEY] = VERSION
        for name, document in self.run.metadata.items():
            _put(group, name, json.dumps(document, indent=1))
        lines = np.frombuffer(self.text, np.uint8)
        made = group.create_dataset(
            "lines", data=lines, chunks=(min(len(lines), 2**20),), compression=4, fletcher32=True
        )
        made.attrs["description"] = "every document, as bytes of UTF-8: a line of JSON each, [name, document]"


def _new_group(parent: Any, name: str, nx_class: str) -> Any:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def _clean(name: str) -> str:
    """A name that NeXus allows."""
    return re.sub(r"[^A-Za-z0-9_]", "_", str(name)) or "_"


def _put(group: Any, name: str, value: Any, *, units: Any = None, **attributes: Any) -> Any:
    """Write a number, a text or an array of either; anything else as JSON. None, and a name that is taken, are left."""
    name = _clean(name)
    if value is None or name in group:
        return None
    plain = np.asarray(value) if isinstance(value, bool | int | float | np.ndarray) else None
    if plain is None or plain.dtype.kind not in "biuf":
        made = _put_text(group, name, value)
    else:
        made = group.create_dataset(name, data=plain.astype(np.uint8) if plain.dtype.kind == "b" else plain)
    for key, text in {"units": units, **attributes}.items():
        if text:
            made.attrs[key] = _text(text)
    return made


def _put_text(group: Any, name: str, value: Any) -> Any:
    import h5py

    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return group.create_dataset(name, data=[_text(item) for item in value], dtype=h5py.string_dtype())
    return group.create_dataset(name, data=_text(value), dtype=h5py.string_dtype())


def _text(value: Any) -> str:
    """A text that HDF5 can hold."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _put_mapping(group: Any, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        _put(group, name, value)


def _time(seconds: Any) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if isinstance(seconds, int | float) else None


# ---------------------------------------------------------------- an entry


def _write_entry(file: Any, name: str, lines: _Lines) -> Any:
    run = lines.run
    start, stop, block = run.start, run.metadata["stop"] or {}, cxgi_block(run.start)
    entry = _new_group(file, name, "NXentry")
    title = f"{start.get('plan_name', 'run')} {start.get('scan_id', '')} {start.get('sample') or ''}"
    _put(entry, "title", " ".join(title.split()))
    _put(entry, "entry_identifier", run.uid)
    _put(entry, "start_time", _time(start["time"]))
    _put(entry, "end_time", _time(stop.get("time")))
    versions = start.get("versions")
    version = versions.get("cxgi_bluesky") if isinstance(versions, Mapping) else None
    _put(entry, "program_name", "cxgi_bluesky", version=version)
    sample = _new_group(entry, "sample", "NXsample")
    _put(sample, "name", start.get("sample"))
    streams = _write_streams(entry, run)
    _write_instrument(entry, block, streams)
    pattern_set = block.get("pattern_set")
    if isinstance(pattern_set, Mapping):
        _put_mapping(_new_group(entry, "pattern_set", "NXcollection"), pattern_set)
    lines.write(entry)
    return entry


def _choose_plot(entry: Any) -> None:
    """Without an image and calibrated buckets, the default plot is that of a stream."""
    plotted = [name for name, stream in entry["streams"].items() if "signal" in stream.attrs]
    if "default" not in entry.attrs and plotted:
        entry["data"] = entry["streams"]["primary" if "primary" in plotted else plotted[0]]
        entry.attrs["default"] = "data"


def _write_instrument(entry: Any, block: Mapping[str, Any], streams: Any) -> None:
    """Source, board, and the detector, whose data are those of the stream."""
    instrument = _new_group(entry, "instrument", "NXinstrument")
    _put(_new_group(instrument, "source", "NXsource"), "probe", "x-ray")
    board = block.get("board")
    if isinstance(board, Mapping):
        _put_mapping(_new_group(instrument, "board", "NXcollection"), board)
    detector = _new_group(instrument, "detector", "NXdetector")
    exposure_s = block.get("exposure_s")
    _put(detector, "count_time", float(exposure_s) if isinstance(exposure_s, int | float) else None, units="s")
    fields = block.get("fields")
    for field, name in (("bucket", "data"), ("sigma", "data_errors")):
        key = fields.get(field) if isinstance(fields, Mapping) else None
        if isinstance(key, str) and f"primary/{_clean(key)}" in streams:
            detector[name] = streams[f"primary/{_clean(key)}"]


def _write_streams(entry: Any, run: FiledRun) -> Any:
    """Every stream as columns, a row an event; its configuration beside them."""
    streams = _new_group(entry, "streams", "NXcollection")
    descriptors: dict[str, Mapping[str, Any]] = {}
    rows: dict[str, list[Row]] = {}
    read = EventRows()
    for name, document in run.documents():
        if name == "descriptor":
            descriptors.setdefault(document.get("name", "primary"), document)
        for row in read(name, document):
            rows.setdefault(row.stream, []).append(row)
    for name, descriptor in descriptors.items():
        _write_stream(streams, name, descriptor, rows.get(name, []), cxgi_block(run.start).get("fields"))
    return streams


def _write_stream(streams: Any, name: str, descriptor: Mapping[str, Any], rows: Sequence[Row], fields: Any) -> None:
    if _clean(name) in streams:
        return
    group = _new_group(streams, _clean(name), "NXdata")
    configuration = descriptor.get("configuration")
    if isinstance(configuration, Mapping) and configuration:
        _write_configuration(_new_group(group, "configuration", "NXcollection"), configuration)
    for key, described in descriptor["data_keys"].items():
        units = described.get("units") if isinstance(described, Mapping) else None
        _put(group, key, _column([row.data.get(key) for row in rows]), units=units)
    _put(group, "seq_num", np.array([row.seq_num for row in rows], np.int64))
    _put(group, "time", np.array([row.time for row in rows], np.float64), units="s", description="seconds since 1970")
    bucket = fields.get("bucket") if isinstance(fields, Mapping) else None
    columns = {key: column for key, column in group.items() if key != "configuration"}
    numbers = [key for key, column in columns.items() if column.dtype.kind in "iuf" and column.ndim == 1 and rows]
    signal = next((key for key in (_clean(str(bucket)), *numbers) if key in numbers), None)
    if signal is not None and signal not in ("seq_num", "time"):
        group.attrs.update({"signal": signal, "axes": "seq_num"})


def _write_configuration(group: Any, devices: Mapping[str, Any]) -> None:
    for name, device in devices.items():
        if _clean(name) in group or not isinstance(device, Mapping):
            continue
        settings = _new_group(group, _clean(name), "NXcollection")
        for key, value in (device.get("data") or {}).items():
            described = (device.get("data_keys") or {}).get(key) or {}
            _put(settings, key, value, units=described.get("units"))


def _column(values: list[Any]) -> Any:
    """Numbers as an array, null as NaN; texts as texts; anything else as JSON."""
    if values and all(isinstance(value, str) for value in values):
        return values
    try:
        array = np.asarray([np.nan if value is None else value for value in values])
    except ValueError:  # of several lengths
        return values
    return array if array.dtype.kind in "biuf" else values


# ---------------------------------------------------------------- buckets and images


def _write_buckets(entry: Any, table: BucketTable) -> None:
    group = _new_group(entry, "buckets", "NXdata")
    for name, column in table.columns().items():
        title = {"sigma": "bucket_errors"}.get(name, name)
        _put(group, title, column, units=None if name == "pattern_index" else table.unit)
    _put(group, "title", f"calibrated buckets: {table.source}")
    group.attrs.update({"signal": "bucket", "axes": "pattern_index", "pattern_index_indices": 0})
    entry.attrs["default"] = "buckets"


def image_parts(run: FiledRun) -> dict[str, NDArray[np.float64]]:
    """The image of a derived run, its unmeasured part and its uncertainty, those that there are; shape (n, n).

    Raises
    ------
    CxgiError
        If it holds no image.
    """
    data = next((row.data for row in _rows(run) if row.stream == "primary"), {})
    try:
        parts = {name: np.asarray(data[name], np.float64) for name in _IMAGE_PARTS if data.get(name) is not None}
    except (TypeError, ValueError):
        parts = {}
    shapes = {part.shape for part in parts.values()}
    if "image" not in parts or len(shapes) != 1 or parts["image"].ndim != 2:
        raise MeasurementError(f"run {run.uid[:8]} holds no image: reconstruct its raw run again")
    return parts


def _rows(run: FiledRun) -> Iterator[Row]:
    read = EventRows()
    for name, document in run.documents():
        yield from read(name, document)


def _write_reconstruction(entry: Any, number: int, lines: _Lines) -> None:
    run = lines.run
    block = cxgi_block(run.start)
    process = _new_group(entry, f"{RECONSTRUCTION}{number}", "NXprocess")
    _put(process, "program", "cxgi_bluesky")
    _put(process, "sequence_index", number)
    _put(process, "date", _time(run.start["time"]))
    parameters = _new_group(process, "parameters", "NXparameters")
    own = block.get("parameters")
    _put_mapping(parameters, {"method": block.get("method"), **(own if isinstance(own, Mapping) else {})})
    _put_mapping(parameters, {key: value for key, value in block.items() if key not in ("schema", "parameters")})
    _write_image(process, run, block)
    process.attrs["default"] = "image"
    entry.attrs["default"] = process.name.rpartition("/")[2]
    lines.write(process)


def _write_image(process: Any, run: FiledRun, block: Mapping[str, Any]) -> None:
    """Write the image with its axes in um, the first row at the top; in pixels where their size is not known."""
    parts = image_parts(run)
    group = _new_group(process, "image", "NXdata")
    transmission = block.get("scale") == "transmission"
    for name, part in parts.items():
        title = "image_errors" if name == "uncertainty" else name
        _put(group, title, part, units="1" if transmission else None)
    rows, columns = parts["image"].shape
    pixel_um = block.get("pixel_um")
    step, units = (float(pixel_um), "um") if isinstance(pixel_um, int | float) else (1.0, "pixel")
    _put(group, "y", np.arange(rows)[::-1] * step, units=units, long_name=f"y ({units})")
    _put(group, "x", np.arange(columns) * step, units=units, long_name=f"x ({units})")
    _put(group, "title", f"{block.get('method')}, {'transmission' if transmission else 'relative'}")
    group.attrs.update({"signal": "image", "axes": ["y", "x"], "y_indices": 0, "x_indices": 1})
    if "unmeasured" in parts:
        group.attrs["auxiliary_signals"] = ["unmeasured"]
