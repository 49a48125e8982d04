"""The stateful stream over real shards: exact, resumable anywhere, the same on any ranks and workers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmidd.errors import UsageError
from mmidd.schema import Split
from mmidd.shards.dataset import ShardDataset
from mmidd.shards.index import read_entries
from mmidd.shards.loader import Draw
from mmidd.shards.sampling import Sampling
from mmidd.shards.stream import Stream
from tests.shards.shard_world import make_world


@dataclass(frozen=True)
class Keys:
    """Crops as they are, and their keys."""

    dataset: ShardDataset
    shape: tuple[int, int, int] = (32, 32, 3)

    def __call__(self, draw: Draw, out: NDArray[np.uint8]) -> str:
        sample = self.dataset[draw.index]
        out[:] = sample.image
        return sample.key


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stream") / "shards"
    make_world(60).write(out, target_bytes=16_000)
    return out


def stream(folder: Path, batch: int = 8, *, seed: int = 0, sampling: Any = None, **more: int) -> Stream[str]:
    dataset = ShardDataset(folder, Split.TRAIN)
    wanted = Sampling.model_validate(sampling or {})
    return Stream(dataset, Keys(dataset), wanted, seed=seed, batch=batch, **more)


def keys(stream: Stream[str]) -> list[list[str]]:
    """Keys of the batches that are left of the epoch."""
    return [loaded.about for loaded in stream]


SAMPLINGS = [{}, {"by": ["type"]}, {"pair": True}, {"window": 1, "apart": "video"}]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_workers_and_an_interruption_change_nothing(folder: Path, sampling: Any) -> None:
    alone = stream(folder, sampling=sampling)
    whole = [keys(alone), keys(alone)]
    assert whole[0] != whole[1]
    with stream(folder, sampling=sampling, workers=2) as first:
        for taken, loaded in enumerate(first, 1):
            assert loaded.about == whole[0][taken - 1]
            if taken == 3:
                break
        state = first.state_dict()
    with stream(folder, sampling=sampling, workers=1) as second:
        second.load_state_dict(state)
        assert [keys(second), keys(second)] == [whole[0][3:], whole[1]]


def test_every_sample_once_an_epoch(folder: Path) -> None:
    dataset = ShardDataset(folder, Split.TRAIN)
    assert Counter(key for batch in keys(stream(folder)) for key in batch) == Counter(dataset.rows["key"])
    assert len(dataset.shards) > 2


@settings(max_examples=25)
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(2, 12),
    st.sampled_from(SAMPLINGS),
    st.integers(0, 2**31),
    st.data(),
)
def test_a_state_loads_onto_another_world(
    folder: Path, before: int, after: int, half: int, sampling: Any, seed: int, data: st.DataObject
) -> None:
    given: dict[str, Any] = {"batch": 2 * half, "sampling": sampling, "seed": seed}
    half_pairs = half if sampling.get("pair") else 2 * half
    if max(before, after) > half_pairs // 2:
        return
    want = [key for batch in keys(stream(folder, **given)) for key in batch]
    ranks = [stream(folder, **given, rank=rank, world_size=before) for rank in range(before)]
    steps = {rank.planned.steps for rank in ranks}
    stop = data.draw(st.integers(0, steps.pop()))
    assert not steps
    first = [[batch for _, batch in zip(range(stop), each, strict=False)] for each in ranks]
    for rank in ranks:
        if stop:
            assert rank.state_dict()["step"] == stop
    later = [stream(folder, **given, rank=rank, world_size=after) for rank in range(after)]
    for rank in later:
        rank.load_state_dict(ranks[0].state_dict())
    second = [list(each) for each in later]
    seen = [
        key
        for half in (first, second)
        for step in zip(*half, strict=True)
        for loaded in step
        for key in loaded.about
    ]
    assert seen == want


def test_a_state_of_another_stream_is_refused(folder: Path) -> None:
    state = stream(folder).state_dict()
    with pytest.raises(UsageError, match="another seed, batch"):
        stream(folder, batch=6, seed=1).load_state_dict(state)
    with pytest.raises(UsageError, match="another sampling"):
        stream(folder, sampling={"pair": True}).load_state_dict(state)
    with pytest.raises(UsageError, match="another data"):
        stream(folder).load_state_dict(state | {"data": "else"})


@pytest.mark.parametrize("damage", ["missing", "truncated", "one"])
def test_damage_is_skipped_counted_and_named(tmp_path: Path, damage: str) -> None:
    world = make_world(40)
    world.write(tmp_path, target_bytes=16_000)
    entry = read_entries(tmp_path, Split.TRAIN).slice(0, 1).to_pylist()[0]
    path = tmp_path / entry["shard"]
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(data[:-700])
    else:
        data[entry["image_offset"] : entry["image_offset"] + 30] = bytes(30)
        path.write_bytes(data)
    batches = list(stream(tmp_path))
    unusable = [str(why) for loaded in batches for why in loaded.unusable]
    good = [key for loaded in batches for key in loaded.about]
    rows = ShardDataset(tmp_path, Split.TRAIN).rows
    lost = 1 if damage == "one" else (rows["shard"] == entry["shard"]).sum()
    assert len(unusable) == lost > 0
    assert all(entry["shard"] in why for why in unusable)
    assert len(good) == len(rows) - lost
    assert all(len(loaded.images) == len(loaded.about) for loaded in batches)


def _rank(rank: int, folder: Path, store: str, out: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    with stream(folder, batch=10, rank=rank, world_size=2, workers=1) as shard:
        seen: list[list[str]] = []
        for loaded in shard:
            sizes = [torch.zeros(1, dtype=torch.long) for _ in range(2)]
            dist.all_gather(sizes, torch.tensor([len(loaded.about)]))  # hangs if a rank has fewer steps
            seen.append(loaded.about)
    torch.save(seen, f"{out}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_go_in_step_and_share_the_epoch(folder: Path, tmp_path: Path) -> None:
    mp.spawn(  # type: ignore[attr-defined, no-untyped-call]
        _rank, (folder, str(tmp_path / "store"), str(tmp_path)), nprocs=2
    )
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    whole = keys(stream(folder, batch=10))
    assert [first + second for first, second in zip(*ranks, strict=True)] == whole
