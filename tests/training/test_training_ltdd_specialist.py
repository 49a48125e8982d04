"""Every kind of detector can be the specialist."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mmidd.errors import UsageError
from mmidd.training.tasks import build_task
from mmidd.training.tasks.specialist import Specialist
from tests.training.kfd_world import kfd_config
from tests.training.test_training_baselines import small
from tests.training.training_world import random_batch, small_config


def network(method: str) -> Any:
    if method == "kfd":
        return build_task(kfd_config())
    return build_task(small(method) if method in {"xception", "effort", "zeroshot"} else small_config(method))


@pytest.mark.parametrize("method", ["lnclip", "sd2", "kfd", "xception", "effort"])
def test_a_run_of_any_method_gives_features_of_the_whole_and_of_a_grid(method: str) -> None:
    task = network(method)
    specialist = Specialist(task, grid=2).train()
    specialist.eval()
    images = random_batch(3, specialist.size).images
    whole, patches = specialist(images)
    described = task.describe(images)
    assert described.patches is not None
    torch.testing.assert_close(whole[:, 0], described.embedding)
    assert patches.shape == (3, 4, described.patches.shape[-1])
    torch.testing.assert_close(patches.mean(dim=1), described.patches.mean(dim=1), atol=1e-5, rtol=1e-4)
    assert specialist.widths == [whole.shape[-1], patches.shape[-1]]
    assert specialist.tokens == 5
    assert not whole.requires_grad
    assert not any(p.requires_grad for p in specialist.parameters())


def test_a_method_without_patches_is_a_specialist_without_a_grid() -> None:
    with pytest.raises(UsageError, match="--set grid=0"):
        Specialist(network("zeroshot"), grid=2)
    assert Specialist(network("zeroshot"), grid=0).tokens == 1
