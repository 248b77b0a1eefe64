"""A scan in one process and others beside it: a data folder, a proxy, and children that end with the test."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from cxgi_bluesky.catalog import find_run, open_catalog
from cxgi_bluesky.session.reconstruct_run import reconstruct_run
from tests import warm
from tests.catalog.test_server import Server
from tests.patience import PATIENCE_S, eventually
from tests.queue.serving import answers, free_port

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "follow-a-scan-from-elsewhere.md"
# A scan that goes on after each of its first exposures when a line comes, and says how far it is.
SCAN = """
import sys
from cxgi_bluesky import session
from tests.conftest import small_board
data, proxy, steps = sys.argv[1], sys.argv[2] or None, [int(n) for n in sys.argv[3].split(",")]
board = small_board(16)
s = session.start(data=data, board=board, object_name="CAS", live=False, progress=False, seed=3, publish=proxy)
print("ready", flush=True)
sys.stdin.readline()
made = []
def step(name, document):
    made.append(document)
    if len(made) in steps:
        print(len(made), flush=True)
        sys.stdin.readline()
s.RE.subscribe(step, "event")
(uid,) = s.RE(s.scan(0.5, 1.0))
print(uid, flush=True)
"""


class Process:
    """A child with its output in files, ended with the test."""

    def __init__(self, arguments: list[str], folder: Path, ends: ExitStack, start: Any = warm.Popen) -> None:
        folder.mkdir(exist_ok=True)
        self._out, self._errors = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._errors.open("wb") as errors:
            self.process = start(arguments, stdin=subprocess.PIPE, stdout=out, stderr=errors)
        ends.callback(self.end)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    @property
    def text(self) -> str:
        return self._out.read_text()

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def wait_for(self, text: str) -> None:
        """Until it has said so."""
        eventually(lambda: text in self.text + self.errors or self.process.poll() is not None, True)
        assert text in self.text + self.errors, self.errors

    def go_on(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def finished(self) -> int:
        return self.process.wait(PATIENCE_S)


class Place:
    """A data folder, a proxy, and processes."""

    def __init__(self, folder: Path, ends: ExitStack) -> None:
        self.folder, self.data, self.ends = folder, folder / "data", ends
        open_catalog(self.data, to_write=True)
        self.proxy_in, self.proxy_out = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"

    def start(self, name: str, *arguments: str) -> Process:
        return Process([sys.executable, *arguments], self.folder / name, self.ends)

    def start_proxy(self, name: str = "proxy") -> Process:
        addresses = ["--in-address", self.proxy_in, "--out-address", self.proxy_out]
        program = str(Path(sys.executable).with_name("bluesky-0MQ-proxy"))
        proxy = Process([program, *addresses], self.folder / name, self.ends)
        eventually(lambda: all(answers(int(one.rpartition(":")[2])) for one in (self.proxy_in, self.proxy_out)), True)
        return proxy

    def start_server(self) -> StreamingServer:
        """A Tiled server, whose key is in the environment already; runs are stored there from now on."""
        folder = self.folder / "server"
        folder.mkdir()
        server = StreamingServer(folder)
        self.ends.callback(server.end)
        self.data = server.address
        return server

    def start_scan(self, steps: str = "0", *, publish: bool = True) -> Process:
        scan = self.start("scan", "-c", SCAN, str(self.data), self.proxy_in if publish else "", steps)
        scan.wait_for("ready")
        return scan

    def follow(self, name: str, *options: str, source: str | None = None) -> Process:
        """``cxgi live``, when it listens."""
        source = source or f"0mq://{self.proxy_out}"
        live = self.start(
            name, "-m", "cxgi_bluesky.cli", "live", "--from", source, "--out", str(self.out(name)), *options
        )
        live.wait_for("Following")
        return live

    def out(self, name: str) -> Path:
        return self.folder / name / "out"

    def has_catalogs_image(self, name: str, uid: str) -> bool:
        """Whether the last image is that of the catalog, to the bit."""
        catalog = open_catalog(self.data)
        image = reconstruct_run(catalog, find_run(catalog, uid), method="correlation", record=False)[0]
        np.testing.assert_array_equal(np.load(self.out(name) / "live-correlation.npy"), image.image)
        return (self.out(name) / "live.png").exists() and image.exposures == 128


class StreamingServer(Server):
    """As in docs/how-to/follow-a-scan-from-elsewhere.md, with a redis-server."""

    def start(self) -> None:
        self.redis = free_port()
        program = shutil.which("redis-server")
        assert program, "this test needs redis-server (apt-get install redis-server)"
        self.cache = subprocess.Popen([program, "--port", str(self.redis), "--save", ""], stdout=subprocess.DEVNULL)
        eventually(lambda: answers(self.redis), True)
        (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
        with self.config.open("a", encoding="utf-8") as config:
            config.write(text.replace("6379", str(self.redis)))
        super().start()

    def end(self) -> None:
        super().end()
        self.cache.kill()
        self.cache.wait(PATIENCE_S)


def uid_of(scan: Process) -> str:
    assert scan.finished() == 0, scan.errors
    return scan.text.split()[-1]
