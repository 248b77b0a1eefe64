"""A finished training, and one that was stopped, for all tests of trainings."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import pytest

from cxgi_bluesky.training import validation as checking
from cxgi_bluesky.training.loop import train

from .tiny import quiet, tiny


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A training from beginning to end: its configuration, folder, and what it said."""
    folder = tmp_path_factory.mktemp("finished")
    config, told = tiny(folder), []
    train(config, folder / "out", report=told.append)
    return config, folder / "out", told


@pytest.fixture(scope="session")
def stopped_once(finished, tmp_path_factory):
    """The same training, stopped after its first check: configuration and folder."""
    config, folder = finished[0], tmp_path_factory.mktemp("stopped")
    with without_curves():
        train(config, folder, report=quiet, stop_at=2)
    return config, folder


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """A copy of it, which a test may change."""
    config, folder = stopped_once
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return config, tmp_path


@contextmanager
def without_curves():
    """Trainings draw no curves, which takes longer than their steps; the finished one has some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checking, "draw_curves", lambda lines, path, steps: None)
        yield patch


@pytest.fixture
def quick_curves(finished):
    """Trainings of a test's own draw none."""
    with without_curves() as patch:
        yield patch


@pytest.fixture
def drawn_curves(quick_curves):
    """Trainings of this test draw them."""
    quick_curves.undo()
