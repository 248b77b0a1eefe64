"""``cxgi queue-profile``: write the start-up folder of a queue server."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from .._files.atomic_write import whole_file
from ..errors import ConfigError
from ..masks.board import MaskBoard, load_board
from ..masks.pattern_set import count_for_fraction
from ._options import Commands, Echo, Payload, add_command

STARTUP = '''\
"""Written by `cxgi queue-profile`: what the worker of a queue server runs when its environment is opened."""

from cxgi_bluesky import session
from cxgi_bluesky.plans import adaptive_scan, align_board, dark_scan, knife_edge_scan, metal_scan, reference_scan

s = session.start({arguments})
RE = s.RE
stage, shutter, diode = s.devices
object_stage, knife = s.object_stage, s.knife
mask_scan, resume_scan = s.plans_by_uid()
'''

PERMISSIONS = """\
# Who may do what: plans and devices of all groups (root), and of one of them. "primary" is the group of `qserver`.
user_groups:
  root:
    allowed_plans: [null]
    forbidden_plans: [":^_"]
    allowed_devices: [null]
    forbidden_devices: [":^_:?.*"]
    allowed_functions: []
    forbidden_functions: []
  primary:
    allowed_plans: [null]
    forbidden_plans: []
    allowed_devices: [null]
    forbidden_devices: []
    allowed_functions: []
    forbidden_functions: []
"""

README = """\
# A queue for ghost images

    pip install bluesky-queueserver                        # and a redis-server that runs
    start-re-manager --startup-dir {folder}

and in another terminal:

    qserver environment open
    qserver queue add plan '{plan}'
    qserver queue start
    qserver re pause
    qserver re resume                                      # or: qserver re abort
    qserver history get
    qserver environment close
    qserver manager stop

End in that order. `qserver environment destroy` and ending the manager by a signal kill the worker at once: a shutter
that is open then is closed by nothing but its own timer. What the scan had measured is in its journal, and in the
catalog when an environment is opened again.
"""

PLAN = (
    '{"name": "mask_scan", "args": ["stage", "shutter", "diode"], "kwargs": {"pattern_set": {"basis": "hadamard", '
    '"size": %d, "order": "zig-zag", "count": %d}, "exposure_s": 1.0%s}}'
)


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(
        commands,
        "queue-profile",
        queue_profile,
        examples=[
            "cxgi queue-profile queue --sim  # to try it: the simulated beamline",
            "cxgi queue-profile queue --beamline beamline.yml --data /data/cxgi  # the real one",
        ],
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder to write; its files must not exist")
    devices = parser.add_mutually_exclusive_group(required=True)
    devices.add_argument("--beamline", metavar="FILE", help="beamline file, or the name of an example")
    devices.add_argument("--sim", action="store_true", help="the simulated beamline")


def queue_profile(options: argparse.Namespace, echo: Echo) -> Payload:
    """Write the start-up folder of a queue server: devices, plans, permissions.

    Parameters
    ----------
    options : argparse.Namespace
        `folder`, `beamline` (None: the simulated one) and `data`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        The folder and its files, for ``--json``.
    """
    arguments, board, object_moves = _devices(options.beamline)
    if options.data is not None:
        arguments["data"] = _absolute_location(options.data)
    text = ", ".join(f"{name}={value!r}" for name, value in {**arguments, "progress": False}.items())
    moving = ', "object_stage": "object_stage"' if object_moves else ""
    plan = PLAN % (board.size, count_for_fraction(board.size, 0.1875), moving)
    folder = options.folder.absolute()
    files = {
        "startup.py": STARTUP.format(arguments=text),
        "user_group_permissions.yaml": PERMISSIONS,
        "README.md": README.format(folder=shlex.quote(str(folder)), plan=plan),
    }
    _write_new(folder, files)
    echo(f"{folder}: {', '.join(files)}; README.md there says how to go on")
    return {"folder": str(folder), "files": list(files)}


def _devices(beamline: str | None) -> tuple[dict[str, Any], MaskBoard, bool]:
    """Return what a session is started with, the board on its stage, and whether an object stage is there."""
    if beamline is None:
        return {"sim": True}, load_board("au64"), True
    from ..devices.config.load import beamline_path, read_beamline_file

    file = read_beamline_file(beamline_path(beamline).absolute())
    return {"sim": False, "beamline": str(file.path)}, file.board, file.config.object_stage is not None


def _absolute_location(data: str) -> str:
    """Return a data folder by its whole path, as a manager may be started anywhere; a server's address as it is."""
    from ..catalog import data_folder
    from ..catalog.open import is_server

    return data if is_server(data) else str(data_folder(data).absolute())


def _write_new(folder: Path, files: dict[str, str]) -> None:
    """Write files into a folder that has none of them."""
    there = [name for name in files if (folder / name).exists()]
    if there:
        raise ConfigError(f"{folder} has {', '.join(there)} already: remove what is there, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        with whole_file(folder / name) as part:
            part.write_text(text, encoding="utf-8")
