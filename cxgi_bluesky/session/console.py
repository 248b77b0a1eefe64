"""A session at an IPython console: names to type, ``%cxgi``, tables of other runs, a log file, short errors."""

from __future__ import annotations

import ast
import inspect
import logging
import shlex
import sys
from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from logging.handlers import RotatingFileHandler
from types import GeneratorType
from typing import Any, cast

from bluesky.utils import RunEngineInterrupted

from .. import __version__, plans
from ..callbacks.notebook import find_shell
from ..devices.shutter import CLOSED
from ..errors import ConfigError, CxgiError, name_missing_extra, suggest_name
from ..measurement.documents import cxgi_block
from ..measurement.per_run import Callback, PerRun
from ..plans.arguments import bind_arguments
from .run_engine import add_to_engine, register_magics
from .session import Session
from .shutdown import abort

LOGGERS = ("bluesky", "ophyd", "cxgi_bluesky")
LOG_BYTES, LOG_FILES = 5_000_000, 5
GREETING = """\
cxgi_bluesky {version}
{session}

RE(scan(0.1875, exposure_s=3))   one image, as does %cxgi scan 0.1875 exposure_s=3
reconstruct()                    the last scan; reconstruct(method="ch-mwcnn"), by the network
%cxgi                            all scans; scan? shows what one takes; s shows this again
Ctrl-C                           pauses a scan before its next exposure, twice at once; the shutter is closed
"""
PAUSED = """
PAUSED: {shutter}. Type one of
  RE.resume()         go on; an exposure that was interrupted is repeated
  RE.stop()           end the scan here; what was measured is stored
  RE.abort("reason")  the same, marked as aborted for this reason
RE(resume_scan()) completes a scan that was ended, now or later.
""".strip("\n")


class Catalog:
    """A session's catalog as a name of its own: whoever uses it waits until it is open."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session.catalog, name)

    def __getitem__(self, key: Any) -> Any:
        return self._session.catalog[key]

    def __len__(self) -> int:
        return len(self._session.catalog)

    def __repr__(self) -> str:
        return repr(self._session.catalog)


def list_names(session: Session) -> dict[str, Any]:
    """List what a console has as names of its own: RE, catalog, devices, scans with the devices filled in.

    Parameters
    ----------
    session : Session
    """
    import bluesky.plan_stubs as bps
    import bluesky.plans as bp

    devices = {device.name: device for device in session.beamline.all_devices}
    return {
        **devices,
        **list_scans(session),
        "s": session,
        "RE": session.RE,
        "catalog": Catalog(session),
        "board": session.board,
        "reconstruct": session.reconstruct,
        "plans": plans,
        "bp": bp,
        "bps": bps,
    }


def list_scans(session: Session) -> dict[str, Callable[..., Any]]:
    """List the plans of this beamline, with its devices filled in, by the names under which they are typed.

    Parameters
    ----------
    session : Session
    """
    scans: dict[str, Callable[..., Any]] = {
        "scan": session.scan,
        "adaptive_scan": session.adaptive_scan,
        "resume_scan": session.resume_scan,
        "reference_scan": session.reference_scan,
        "dark_scan": partial(plans.dark_scan, session.shutter, session.diode),
        "metal_scan": partial(plans.metal_scan, *session.devices, board=session.board),
        "align_board": session.align_board,
    }
    if session.knife is not None:
        scans["knife_edge_scan"] = partial(plans.knife_edge_scan, session.knife, session.shutter, session.diode)
    return scans


def run_line(session: Session, line: str) -> Any:
    """Run a scan by its name, as ``%cxgi`` does: ``scan 0.1875 exposure_s=1 md.sample=gold``.

    Parameters
    ----------
    session : Session
    line : str
        Name of a scan of `list_scans`, values, and options NAME=VALUE; a name with a dot is a key of an option. What is
        no number, list, True, False or None is text.

    Returns
    -------
    What the RunEngine returns: the uids of the runs; for an empty line nothing.

    Raises
    ------
    CxgiError
        For an unknown scan, or values that are none of its own.
    """
    scans = list_scans(session)
    if not line.strip():
        for name, scan in scans.items():
            print(f"{name:16} {_first_line(scan)}")
        print("%cxgi scan 0.2 exposure_s=1 md.sample=gold does RE(scan(0.2, exposure_s=1, md={'sample': 'gold'}))")
        return None
    try:
        name, *given = shlex.split(line)
    except ValueError as error:
        raise ConfigError(f"%cxgi {line}: {error}: close the quotes") from error
    if name not in scans:
        likely = suggest_name(name, scans, f"give one of {', '.join(scans)}")
        raise ConfigError(f"%cxgi {name}: there is no such scan: {likely}")
    values: list[Any] = []
    options: dict[str, Any] = {}
    for one in given:
        key, equals, text = one.partition("=")
        if not equals:
            values.append(_value(one))
        elif "." in key:
            option, inner = key.split(".", 1)
            options.setdefault(option, {})[inner] = _value(text)
        else:
            options[key] = _value(text)
    bind_arguments(f"%cxgi {name}", inspect.signature(scans[name]), values, options)
    return session.RE(scans[name](*values, **options))


def _first_line(scan: Callable[..., Any]) -> str:
    function = scan.func if isinstance(scan, partial) else scan
    return (function.__doc__ or "").splitlines()[0].partition(": ``")[0]


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


# ---------------------------------------------------------------- in IPython


def furnish_console(session: Session, shell: Any = None) -> dict[str, Any]:
    """Furnish a console for a session: names, ``%cxgi``, tables of other runs, baseline, log file, short errors.

    A run that has no progress bar, such as a knife-edge scan, has bluesky's table with a row for each event.
    Every run gets a stream ``baseline`` of all devices but the detector, read at its begin and its end. The log of
    bluesky, ophyd and this package goes to ``logs/session.log`` of the data folder, 5 files of 5 MB. What was furnished
    before, for this session or another, is replaced.

    Parameters
    ----------
    session : Session
    shell : InteractiveShell, optional
        IPython's (default: the one that runs; in a script none, which then gets the names alone).

    Returns
    -------
    dict
        The names, by which scripts can have them too.
    """
    from bluesky.preprocessors import SupplementalData

    names = list_names(session)
    others = [device for device in session.beamline.all_devices if device is not session.diode]
    callbacks, preprocessors = [PerRun(_begin_table)], [SupplementalData(baseline=others)]
    add_to_engine(session.RE, "console", callbacks=callbacks, preprocessors=preprocessors)
    _keep_log(session)
    shell = find_shell() if shell is None else shell
    if shell is not None:
        shell.push(names, interactive=False)
        shell.register_magic_function(_magic_of(session), magic_name="cxgi")
        shell.set_custom_exc((RunEngineInterrupted, CxgiError, RuntimeError), partial(_show_in_short, session))
        shell.display_formatter.formatters["text/plain"].for_type(GeneratorType, _show_plan)
    return names


def _begin_table(start: Mapping[str, Any]) -> Callback | None:
    """Begin the table of a run, with a row for each event; a mask scan of hundreds has its progress bar instead."""
    if "pattern_set" in cxgi_block(start):
        return None
    from bluesky.callbacks.best_effort import BestEffortCallback

    table: Any = BestEffortCallback()
    table.disable_plots()
    table.disable_baseline()
    table("start", start)
    return cast(Callback, table)


def _show_plan(plan: GeneratorType[Any, Any, Any], printer: Any, _: bool) -> None:
    """Show a plan that was typed without the engine."""
    printer.text(f"{plan.__name__}, a plan that has done nothing yet: RE(_) runs it")


def _magic_of(session: Session) -> Callable[[str], Any]:
    def cxgi(line: str) -> Any:
        """Run a scan by its name: ``%cxgi scan 0.1875 exposure_s=1 md.sample=gold``; ``%cxgi`` lists them."""
        return run_line(session, line)

    return cxgi


class _SessionLog(RotatingFileHandler):
    """The log file of a session; a console has one."""


class _Terminal(logging.Handler):
    """Warnings still go to the terminal; of an error of this package without the traceback, which is in the log."""

    def emit(self, record: logging.LogRecord) -> None:
        if logging.lastResort is None:
            return
        if record.exc_info and isinstance(record.exc_info[1], CxgiError):
            record = copy(record)
            record.exc_info = record.exc_text = None
        logging.lastResort.handle(record)


TERMINAL = _Terminal(logging.WARNING)


def _keep_log(session: Session) -> None:
    path = session.folder / "logs" / "session.log"
    path.parent.mkdir(exist_ok=True)
    file = _SessionLog(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1, encoding="utf-8", delay=True)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        for earlier in [handler for handler in logger.handlers if isinstance(handler, _SessionLog)]:
            logger.removeHandler(earlier)
            earlier.close()
        logger.setLevel(min(logger.getEffectiveLevel(), logging.INFO))
        logger.addHandler(file)
        logger.addHandler(TERMINAL)


def _show_in_short(session: Session, shell: Any, kind: type, error: BaseException, _: Any, **options: Any) -> None:
    """Show an interruption as what can be typed next, and an error of this package as its one line."""
    if isinstance(error, CxgiError):
        print(f"{kind.__name__}: {error}", file=sys.stderr)
        return
    while_paused = session.RE.state == "paused" and "RunEngine is in a paused state" in str(error)
    if not (isinstance(error, RunEngineInterrupted) or while_paused):
        shell.showtraceback((kind, error, error.__traceback__), **options)
        return
    if session.RE.state != "paused":
        print("INTERRUPTED: the scan has ended; what was measured is stored", file=sys.stderr)
        return
    try:
        state = session.shutter.state.get()
    except Exception as problem:
        state = f"unknown ({problem})"
    closed = "the shutter is closed" if state == CLOSED else f"THE SHUTTER IS {state.upper()}: CLOSE IT"
    print(PAUSED.format(shutter=closed), file=sys.stderr)


def start_console(session: Session) -> None:
    """Run IPython with a furnished session, until it is left; a scan that is paused then is aborted.

    Parameters
    ----------
    session : Session

    Raises
    ------
    CxgiError
        Without IPython.
    """
    with name_missing_extra():
        from IPython.terminal.ipapp import TerminalIPythonApp

    app = TerminalIPythonApp.instance(display_banner=False)
    app.initialize([])
    register_magics(session.RE)
    furnish_console(session, app.shell)
    print(GREETING.format(version=__version__, session=session))
    app.start()
    if session.RE.state != "idle":
        print("The session is left: the scan that waits is aborted; RE(resume_scan()) in another one completes it.")
        abort(session.RE, "the session was left")
