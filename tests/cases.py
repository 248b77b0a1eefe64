"""Cases of tests."""

from __future__ import annotations

from typing import Any

import pytest


def long_case(*values: Any) -> Any:
    """Parameters of a case for long runs only: another one is tested each time."""
    return pytest.param(*values, marks=pytest.mark.long)
