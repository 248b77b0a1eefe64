from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.processes import Place


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "nobodys"))
    monkeypatch.delenv("CXGI_DATA", raising=False)
    with ExitStack() as ends:
        yield Place(tmp_path, ends)
