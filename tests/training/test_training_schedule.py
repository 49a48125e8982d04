from __future__ import annotations

import itertools

import pytest

from mmidd.training.config import Optim
from mmidd.training.schedule import lr_factor


def test_the_rate_is_held_and_falls_linearly_in_the_last_quarter() -> None:
    optim = Optim(lr=1e-3, warmup=0, hold=0.75, decay="linear")
    factors = [lr_factor(epoch * 4, 400, 4, optim) for epoch in range(100)]
    assert factors == pytest.approx([1 if e <= 75 else 1 - (e - 75) / 25 for e in range(100)])


def test_a_hold_that_ends_before_the_warm_up_changes_nothing() -> None:
    plain = Optim(lr=1e-3, min_lr=1e-4, warmup=0.2)
    held = plain.model_copy(update={"hold": 0.1})
    assert [lr_factor(s, 50, 5, plain) for s in range(50)] == [lr_factor(s, 50, 5, held) for s in range(50)]


@pytest.mark.parametrize("decay", ["cosine", "linear"])
def test_each_cycle_is_held_and_decays_on_its_own(decay: str) -> None:
    optim = Optim.model_validate(
        {"lr": 1, "min_lr": 0.1, "warmup": 0.1, "hold": 0.5, "decay": decay, "cycle_epochs": 2}
    )
    factors = [lr_factor(step, 40, 10, optim) for step in range(40)]
    assert factors[:20] == factors[20:]
    assert set(factors[2:11]) == {1}
    assert factors[15] == pytest.approx(0.55)
    assert all(a > b >= 0.1 for a, b in itertools.pairwise(factors[10:20]))
