"""Python programs in processes of their own that begin with their imports done, for tests.

An import of Tiled, the session and torch takes six seconds of a processor, as often as a test starts a process. Here
one process has imported them (``python -m tests.warm``) and is forked for each program. From there on the child is as
any other: its own pid, arguments, environment, folder, files and signals, and at its end it waits for its threads and
calls what is registered for that. That ``sys.modules`` is full, and is not taken apart at the end, is all that differs:
tests of imports, and of arguments that others see, take `subprocess`.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from select import select
from types import ModuleType
from typing import IO, Any

import ophyd.signal
from numba.core.registry import cpu_target

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[1]
SOCKET = "CXGI_TESTS_WARM"  # in the environment: where the process listens
IMPORTS = (
    "epicscorelibs.path.pyepics",  # before epics
    "epics",
    "adbc_driver_sqlite.dbapi",
    "aiosqlite",
    "bluesky_queueserver.manager.start_manager",
    "bluesky_tiled_plugins",
    "caproto.asyncio.server",
    "cxgi_bluesky.cli.program",
    "cxgi_bluesky.reconstruction.solvers.kernels",
    "cxgi_bluesky.session.session",
    "cxgi_bluesky.simulation.ioc.server",
    "distributed",
    "h5py",
    "httpcore",
    "matplotlib.pyplot",
    "ophyd_async.core",
    "PIL.ImageFont",
    "pywt",
    "safetensors.torch",
    "scipy.optimize",
    "tests.conftest",
    "tiled.client",
    "tiled.server.app",
    "torch",
    "zmq.auth",
)

KEPT: list[Any] = []  # as long as this process lives


class Popen:
    """A program, as by `subprocess.Popen`; its pipes are text.

    Parameters
    ----------
    arguments : sequence of str
        ``[sys.executable, "-c", CODE]``, ``[sys.executable, "-m", MODULE]`` or ``[SCRIPT]``, and its arguments.
    stdin, stdout, stderr : int or file, optional
        As there; without one it is that of this process.
    env : mapping, optional
        Its environment, default that of this process.
    cwd : path, optional
        Its folder, default that of this process.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        env: Mapping[str, str] | None = None,
        cwd: Any = None,
    ) -> None:
        self.args, self.returncode = [str(word) for word in arguments], None
        self._said: tuple[str, str] | None = None
        self.stdin: IO[str] | None = None
        self.stdout: IO[str] | None = None
        self.stderr: IO[str] | None = None
        request = {"arguments": self.args, "environment": dict(env or os.environ), "folder": str(cwd or Path.cwd())}
        with ExitStack() as theirs:
            server = theirs.enter_context(socket.socket(socket.AF_UNIX))
            self._status, status = socket.socketpair()
            theirs.enter_context(status)
            ends = []
            for n, (name, wanted) in enumerate({"stdin": stdin, "stdout": stdout, "stderr": stderr}.items()):
                if wanted == subprocess.PIPE:
                    read, write = os.pipe()
                    ours, end = (write, read) if n == 0 else (read, write)
                    setattr(self, name, os.fdopen(ours, "w" if n == 0 else "r", encoding="utf-8"))
                    theirs.callback(os.close, end)
                elif wanted == subprocess.DEVNULL:
                    end = os.open(os.devnull, os.O_RDWR)
                    theirs.callback(os.close, end)
                elif wanted == subprocess.STDOUT:
                    end = ends[1]
                else:
                    end = n if wanted is None else wanted if isinstance(wanted, int) else wanted.fileno()
                ends.append(end)
            server.connect(listening())
            socket.send_fds(server, [b"-"], [*ends, status.fileno()])
            server.sendall(json.dumps(request).encode() + b"\n")
            with server.makefile() as answer:
                self.pid = int(answer.readline())

    def poll(self) -> int | None:
        """How it has ended, if it has."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """How it has ended, when it has."""
        if self.returncode is None:
            self._status.settimeout(timeout)
            try:
                self.returncode = int(self._status.recv(100))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0) from None
            self._status.close()
        return self.returncode

    def communicate(self, text: str = "", timeout: float = PATIENCE_S) -> tuple[str, str]:
        """Give it its input; all that it has said, when it has ended."""
        if self._said is not None:
            return self._said
        if self.stdin is not None:
            with suppress(BrokenPipeError):
                self.stdin.write(text)
                self.stdin.close()
        with ThreadPoolExecutor(2) as readers:
            rest = [readers.submit(pipe.read) for pipe in (self.stdout, self.stderr) if pipe is not None]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        said = [one.result() for one in rest]
        self._close()
        self._said = (said[0] if self.stdout else "", said[-1] if self.stderr else "")
        return self._said

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Popen:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()
        self.wait(PATIENCE_S)

    def _close(self) -> None:
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                pipe.close()


def run(arguments: Sequence[str], *, timeout: float = PATIENCE_S, check: bool = False, **options: Any) -> Any:
    """What a program has said when it has ended, as by `subprocess.run` with ``capture_output`` and ``text``."""
    process = Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    out, errors = process.communicate(timeout=timeout)
    done = subprocess.CompletedProcess(process.args, process.returncode, out, errors)
    if check:
        done.check_returncode()
    return done


def listening() -> str:
    """Where the process listens: one for all workers of pytest, or the own one of who has none."""
    return os.environ.get(SOCKET) or start()


@cache
def start() -> str:
    """Start it; it ends with this process."""
    folder = tempfile.TemporaryDirectory(prefix="cxgi-tests-")
    KEPT.append(folder)
    os.environ[SOCKET] = f"{folder.name}/warm"
    alive, _ = os.pipe()  # whose other end is closed when this process ends
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.environ[SOCKET])
        listener.listen(100)
        handed_on = [listener.fileno(), alive]
        words = [sys.executable, "-m", "tests.warm", *map(str, handed_on)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPHYD_CONTROL_LAYER": "dummy"}  # which has no threads
        null = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        KEPT.append(subprocess.Popen(words, env=environment, cwd=ROOT, pass_fds=handed_on, **null))
    os.close(alive)
    return os.environ[SOCKET]


def serve(listener: socket.socket, alive: int) -> dict[str, Any] | None:
    """In the process that has the imports: fork for each request, and say how each child ends.

    Returns
    -------
    dict or None
        In a child what it shall run; in the process itself nothing, when it shall end.
    """
    ended, woken = os.pipe()
    for end in (ended, woken):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group
    signal.set_wakeup_fd(woken)
    statuses: dict[int, int] = {}
    while True:
        ready, _, _ = select([listener, ended, alive], [], [])
        if ended in ready:
            os.read(ended, 1000)
            while statuses and (pid := (end := os.waitpid(-1, os.WNOHANG))[0]):
                status = statuses.pop(pid)
                with suppress(BrokenPipeError):
                    os.write(status, str(os.waitstatus_to_exitcode(end[1])).encode())
                os.close(status)
        if listener in ready:
            client, _ = listener.accept()
            _, files, _, _ = socket.recv_fds(client, 1, 4)
            with client.makefile() as line:
                request = json.loads(line.readline())
            if not (pid := os.fork()):
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for n, file in enumerate(files[:3]):
                    os.dup2(file, n)
                for end in (ended, woken, alive, *files, *statuses.values()):
                    os.close(end)
                client.close()
                listener.close()
                return request
            statuses[pid] = files[3]
            for file in files[:3]:
                os.close(file)
            client.sendall(f"{pid}\n".encode())
            client.close()
        elif alive in ready:
            return None


def become(arguments: list[str], environment: dict[str, str], folder: str) -> None:
    """Run a program in this process, as its interpreter would."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    flags = {"-u"} & set(arguments[1:2])
    lines = bool(flags or environment.get("PYTHONUNBUFFERED"))
    text = {"encoding": "utf-8", "closefd": False}
    sys.stdin = sys.__stdin__ = os.fdopen(0, **text)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", 1 if lines else -1, **text)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", 1, errors="backslashreplace", **text)
    ophyd.signal.get_cl = control_layer
    if Path(arguments[0]).name.startswith("python"):
        arguments = arguments[1 + len(flags) :]
    sys.path[0:1] = ["" if arguments[0] in ("-c", "-m") else str(Path(arguments[0]).parent)]
    sys.path[1:1] = [place for place in environment.get("PYTHONPATH", "").split(os.pathsep) if place not in sys.path]
    if arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        main = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(arguments[1], "<string>", "exec"), main.__dict__)
    elif arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


def end(error: BaseException | None) -> None:
    """End this process as its interpreter would, but that modules are not taken apart, which takes 0.4 s."""
    status: Any = 0
    if isinstance(error, SystemExit):
        status = error.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    elif error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    if isinstance(error, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(status)


def control_layer() -> Any:
    """That of the environment, with its threads, from the first signal on: who makes none may fork."""
    if ophyd.get_cl().name == "dummy":
        ophyd.set_cl()
    return ophyd.get_cl()


if __name__ == "__main__":
    for module in IMPORTS:
        importlib.import_module(module)
    cpu_target.typing_context.refresh()  # numba imports the rest of itself
    gc.freeze()  # who is forked shares what is there
    with socket.socket(fileno=int(sys.argv[1])) as its_listener:
        asked = serve(its_listener, int(sys.argv[2]))
    if asked:
        failure: BaseException | None = None
        try:
            become(**asked)
        except BaseException as raised:
            failure = raised
        end(failure)
