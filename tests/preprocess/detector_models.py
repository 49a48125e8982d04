"""Model files for tests: the shared weights where they are, and a registry of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

WEIGHTS = Path(__file__).resolve().parents[2] / "../shared/data/weights"


def shared(name: str) -> Path:
    """A shared weight file; the test is skipped where it is absent."""
    path = WEIGHTS / name
    if not path.is_file():
        pytest.skip(f"needs the shared weights {name}")
    return path
