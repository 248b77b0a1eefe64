"""A finished training, for all tests of trainings."""

from __future__ import annotations

import pytest

from cxgi_bluesky.training.loop import train

from .tiny import tiny


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A training from beginning to end: its configuration, folder, and what it said."""
    folder = tmp_path_factory.mktemp("finished")
    config, told = tiny(folder), []
    train(config, folder / "out", report=told.append)
    return config, folder / "out", told
