from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mmidd.training.config import Optim
from mmidd.training.ema import Average
from mmidd.training.optimiser import build_optimiser, clip_gradient, uphill
from mmidd.training.tasks.base import Group


def parameters(seed: int = 0) -> list[nn.Parameter]:
    torch.manual_seed(seed)
    made = [nn.Parameter(torch.randn(shape)) for shape in ((3, 4), (5,), ())]
    for p in made:
        p.grad = torch.randn_like(p)
    return [*made, nn.Parameter(torch.zeros(2))]


@given(st.integers(0, 99), st.none() | st.floats(1e-3, 10))
def test_clipping_is_torchs(seed: int, limit: float | None) -> None:
    ours, theirs = parameters(seed), parameters(seed)
    norm = clip_gradient(ours, limit)
    expected = nn.utils.clip_grad_norm_(theirs, float("inf") if limit is None else limit)
    torch.testing.assert_close(norm, expected)
    for a, b in zip(ours[:3], theirs[:3], strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_a_sharpness_aware_step_takes_the_gradient_uphill() -> None:
    """On f(w) = w'Aw / 2 the gradient uphill is A(w + rho g / |g|), with g = Aw."""
    a, w = torch.diag(torch.tensor([1.0, 9.0])), nn.Parameter(torch.tensor([3.0, -1.0]))
    start, g = w.detach().clone(), a @ w.detach()
    torch.autograd.backward(w @ a @ w / 2)
    with uphill([w], 0.05):
        torch.autograd.backward(w @ a @ w / 2)
    assert torch.equal(w.detach(), start)
    torch.testing.assert_close(w.grad, a @ (start + 0.05 * g / g.norm()))


def test_weights_come_back_even_from_a_failure_uphill() -> None:
    w = nn.Parameter(torch.ones(2))
    w.grad = torch.ones(2)
    with pytest.raises(ZeroDivisionError), uphill([w], 1.0):
        raise ZeroDivisionError
    assert torch.equal(w.detach(), torch.ones(2))


def test_the_average_is_its_recursion() -> None:
    weight, count = torch.tensor(0.0), torch.tensor(0)
    average = Average({"weight": weight, "count": count}, 0.5)
    expected = 0.0
    for step in range(1, 30):
        weight.fill_(float(step * step))
        count.fill_(step)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step * step
    assert average.values["weight"].item() == pytest.approx(expected, rel=1e-6)
    assert average.values["count"].item() == 29
    with average.in_place():
        assert weight.item() == pytest.approx(expected, rel=1e-6)
    assert weight.item() == 29 * 29


def test_sgd_has_its_momentum_and_every_group_its_rate() -> None:
    first, second = parameters()[:2]
    groups = [Group(0.5, [first]), Group(0.1, [second])]
    optimiser = build_optimiser(groups, Optim(name="sgd", lr=1.0, betas=(0.9, 0.999)))
    before = [p.detach().clone() for p in (first, second)]
    gradients = [p.grad.clone() for p in (first, second) if p.grad is not None]
    for _ in range(2):
        optimiser.step()
    for p, start, g, lr in zip((first, second), before, gradients, (0.5, 0.1), strict=True):
        torch.testing.assert_close(p.detach(), start - lr * g - lr * (0.9 * g + g))


def test_nothing_to_train_is_an_optimiser_too() -> None:
    build_optimiser([], Optim(lr=1.0)).step()
