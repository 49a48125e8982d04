from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mmidd.training.checkpoint import STATES
from mmidd.training.ranks import Ranks
from tests.training.rank_worker import GRADIENTS, STOP_AT, TRAINED, gradient, train

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes did what rank_worker.py says."""
    out = tmp_path_factory.mktemp("ranks")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*torchrun, "-m", "tests.training.rank_worker", str(out)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def found(two: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(two / "found.pt")
    return loaded


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As torchrun's processes have; with more, sums round otherwise, and pooling takes other maxima."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", GRADIENTS)
def test_two_processes_have_the_gradient_of_the_whole_batch(name: str, found: dict[str, Any]) -> None:
    alone, together = gradient(GRADIENTS[name]), found[name]
    assert together["loss"] == pytest.approx(alone["loss"], rel=1e-5)
    assert together["norm"] == pytest.approx(alone["norm"], rel=1e-4)
    assert together["gradients"].keys() == alone["gradients"].keys()
    largest = max(float(value.abs().max()) for value in alone["gradients"].values())
    for parameter, value in alone["gradients"].items():
        torch.testing.assert_close(
            together["gradients"][parameter], value, atol=1e-4 * largest, rtol=1e-3, msg=parameter
        )


@pytest.mark.parametrize("name", TRAINED)
def test_what_two_processes_began_one_finishes_as_if_alone(
    name: str, two: Path, found: dict[str, Any], tmp_path: Path
) -> None:
    config = TRAINED[name]
    assert found[f"steps of {name}"] == STOP_AT
    whole, rest = train(config, tmp_path, resume=False), train(config, two / name, resume=True)
    assert rest.steps == whole.steps == whole.total_steps > STOP_AT
    states = [torch.load(max((run / STATES).glob("*")), weights_only=True) for run in (tmp_path, two / name)]
    for part in ("trained", "average"):
        for parameter, value in states[0][part].items():
            if "k_proj.bias" in parameter:  # its gradient is zero but for rounding, which AdamW magnifies
                continue
            torch.testing.assert_close(states[1][part][parameter], value, atol=2e-5, rtol=1e-4, msg=parameter)
    assert rest.video_auc == whole.video_auc


def test_a_process_alone_hears_itself() -> None:
    rows = torch.ones(2, 3, requires_grad=True)
    assert Ranks().gather("mine") == ["mine"]
    assert Ranks().join(rows, [2]) is rows
