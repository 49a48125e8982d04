from __future__ import annotations

from pathlib import Path

import pytest

from tests.shards.shard_world import World, make_world


@pytest.fixture(scope="session")
def world() -> World:
    return make_world()


@pytest.fixture
def shards(world: World, tmp_path: Path) -> Path:
    out = tmp_path / "shards"
    world.write(out)
    return out
