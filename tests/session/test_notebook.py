"""A session in a real Jupyter kernel: what the cells of a notebook show."""

from __future__ import annotations

import base64
import io
import os
import time
from queue import Empty

import pytest
from jupyter_client.manager import start_new_kernel
from PIL import Image

from tests.patience import PATIENCE_S

START = """
from cxgi_bluesky import session
from tests.conftest import small_board
board = small_board(32, pixel_um=150.0, tile_pitch_um=4900.0, aperture_um=4800.0)
s = session.start(data={data!r}, board=board, object_name="CAS", seed=3, time_scale=0.03)
s.catalog
s
"""
SCAN = "(uid,) = s.RE(s.scan(0.08, 1.0, validation=16, md={'sample': 'stencil'}))"


class Notebook:
    """Runs cells, and gives the messages of each."""

    def __init__(self, client) -> None:
        self._client = client

    def run(self, code: str) -> list[dict]:
        asked, messages = self._client.execute(code), []
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            try:
                message = self._client.get_iopub_msg(timeout=1)
            except Empty:
                continue
            if message["parent_header"].get("msg_id") != asked:
                continue
            messages.append(message)
            assert message["msg_type"] != "error", "\n".join(message["content"]["traceback"])
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return messages
        raise AssertionError("the cell has not ended")


@pytest.fixture
def notebook(monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel has its inline backend
    monkeypatch.setenv("DISPLAY", ":99")  # whoever looks at it opens no window for that
    manager, client = start_new_kernel(startup_timeout=PATIENCE_S, cwd=os.getcwd(), env=dict(os.environ))
    yield Notebook(client)
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def pictures(messages, kind):
    return [m["content"] for m in messages if m["msg_type"] == kind and "image/png" in m["content"]["data"]]


def test_a_notebook_shows_the_image_of_the_running_scan_and_renews_it_in_its_place(notebook, tmp_path):
    begun = notebook.run(START.format(data=str(tmp_path)))
    assert "board" in str([m["content"]["data"]["text/plain"] for m in begun if m["msg_type"] == "execute_result"])
    messages = notebook.run(SCAN)
    (first,), renewed = pictures(messages, "display_data"), pictures(messages, "update_display_data")
    assert len(renewed) >= 2
    assert {one["transient"]["display_id"] for one in (first, *renewed)} == {first["transient"]["display_id"]}
    assert first["transient"]["display_id"].startswith("cxgi-live-")
    assert " left, exposure left " in first["data"]["text/plain"]
    last = renewed[-1]["data"]
    assert last["text/plain"].endswith("stencil: 82 of 82 patterns, success")
    png = base64.b64decode(last["image/png"])
    assert png == (tmp_path / "live.png").read_bytes()
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.width > 900  # correlation, network and its uncertainty
    assert not pictures(notebook.run("1 + 1"), "update_display_data")
    (another,) = {one["transient"]["display_id"] for one in pictures(notebook.run(SCAN), "display_data")}
    assert another != first["transient"]["display_id"]
