from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from mmidd.training.config.grpo import Grpo
from mmidd.training.rl import grpo
from mmidd.training.rl.grpo import PolicyLoss, Totals, completion_mask, policy_loss

LOSSES: tuple[Literal["grpo", "dapo", "dr_grpo"], ...] = ("grpo", "dapo", "dr_grpo")
END = 0


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).float()


def example(rows: int = 6, length: int = 7, seed: int = 0) -> dict[str, Any]:
    """Log-probabilities of three policies some steps apart, advantages, and masks of several lengths."""
    old = -random(rows, length, seed=seed).abs()
    lengths = torch.arange(rows) % length + 1
    return {
        "log_probs": old + 0.3 * random(rows, length, seed=seed + 1),
        "old": old,
        "reference": old + 0.5 * random(rows, length, seed=seed + 2),
        "advantages": random(rows, seed=seed + 3),
        "mask": torch.arange(length) < lengths[:, None],
    }


def by_hand(parts: dict[str, Any], config: Grpo) -> dict[str, float]:
    """The same token by token."""
    x: dict[str, NDArray[Any]] = {name: value.double().numpy() for name, value in parts.items()}
    mask = parts["mask"].numpy()
    high = 1 + (config.epsilon_high or config.epsilon)
    rows: list[list[float]] = []
    kl, clipped = 0.0, 0
    for row in range(len(mask)):
        rows.append([])
        for t in np.flatnonzero(mask[row]):
            gain, p, q = x["advantages"][row], x["log_probs"][row, t], x["reference"][row, t]
            ratio = math.exp(p - x["old"][row, t])
            capped = min(max(ratio, 1 - config.epsilon), high)
            divergence = math.exp(q - p) - (q - p) - 1
            clipped += capped != ratio and ratio * gain > capped * gain
            kl += divergence
            rows[-1].append(-min(ratio * gain, capped * gain) + config.beta * divergence)
    tokens = sum(map(len, rows))
    total = {
        "grpo": float(np.mean([np.mean(row) if row else 0.0 for row in rows])),
        "dapo": sum(map(sum, rows)) / tokens,
        "dr_grpo": sum(map(sum, rows)) / (len(rows) * config.max_new_tokens),
    }[config.loss]
    return {"total": total, "kl": kl / tokens, "clipped": clipped / tokens}


def loss_of(parts: dict[str, Any], config: Grpo, totals: Totals | None = None) -> PolicyLoss:
    return policy_loss(**parts, totals=totals or Totals.of(parts["mask"]), config=config)


def test_the_known_vector_of_advantages() -> None:
    found = grpo.advantages(torch.tensor([[1.0, 1, 1, 0]]), "group")
    torch.testing.assert_close(found, torch.tensor([[0.4999, 0.4999, 0.4999, -1.4997]]), atol=1e-5, rtol=0)
    exact = 0.25 / 0.5001
    torch.testing.assert_close(found, torch.tensor([[exact, exact, exact, -3 * exact]]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_advantages_equal_a_sample_deviation_by_hand(scale: Literal["group", "batch", "none"]) -> None:
    rewards = random(5, 4).round(decimals=1)
    found = grpo.advantages(rewards, scale)
    x = rewards.double().numpy()
    deviation = {"group": x.std(axis=1, ddof=1, keepdims=True), "batch": x.std(ddof=1), "none": 1.0 - 1e-4}
    expected = (x - x.mean(axis=1, keepdims=True)) / (deviation[scale] + 1e-4)
    torch.testing.assert_close(found, torch.from_numpy(expected).float(), atol=1e-6, rtol=1e-6)
    assert found.dtype == torch.float32


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("reward", [0.0, 0.35, 1.35, 1.1])
def test_a_group_of_equal_rewards_teaches_nothing(
    scale: Literal["group", "batch", "none"], reward: float
) -> None:
    rewards = torch.tensor([[reward] * 7, [0, 1, 0, 1, 0, 1, 0]])
    found = grpo.advantages(rewards, scale)
    assert found[0].abs().max() < 1e-9
    assert found[1].abs().min() > 0.4
    assert grpo.idle_groups(rewards) == 0.5


def test_log_probabilities_and_entropy_equal_a_softmax_by_hand() -> None:
    logits, tokens = 5 * random(3, 4, 11), torch.arange(12).view(3, 4) % 11
    for temperature in (1.0, 0.7):
        x = logits.double().numpy() / temperature
        p = np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
        picked = np.log(np.take_along_axis(p, tokens.numpy()[..., None], axis=-1))[..., 0]
        found = grpo.token_log_probs(logits, tokens, temperature)
        torch.testing.assert_close(found, torch.from_numpy(picked).float(), atol=1e-5, rtol=0)
        spread = torch.from_numpy(-(p * np.log(p)).sum(axis=-1)).float()
        torch.testing.assert_close(grpo.entropy(logits, temperature), spread, atol=1e-5, rtol=0)


def test_tokens_that_cannot_be_add_no_entropy_and_leave_gradients_finite() -> None:
    logits = torch.zeros(1, 1, 6)
    logits[..., 4:] = -torch.inf
    logits.requires_grad_()
    assert grpo.entropy(logits).item() == pytest.approx(math.log(4), abs=1e-6)
    grpo.token_log_probs(logits, torch.tensor([[1]])).sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.flatten().tolist() == [-0.25, 0.75, -0.25, -0.25, 0, 0]


def test_half_precision_logits_are_scored_in_float32() -> None:
    logits, tokens = (5 * random(2, 3, 50)).bfloat16(), torch.ones(2, 3, dtype=torch.long)
    torch.testing.assert_close(
        grpo.token_log_probs(logits, tokens), grpo.token_log_probs(logits.float(), tokens)
    )
    assert grpo.entropy(logits).dtype == torch.float32


def test_the_divergence_is_unbiased_and_never_negative() -> None:
    p, q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    each = grpo.kl(p.log(), q.log())
    assert (each > 0).all()
    assert (p * each).sum().item() == pytest.approx((p * (p / q).log()).sum().item(), abs=1e-6)
    assert grpo.kl(p, p).tolist() == [0, 0, 0]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("change", [{}, {"beta": 0.04}, {"epsilon": 0.1, "epsilon_high": 0.28}])
def test_the_loss_equals_one_token_by_token(
    loss: Literal["grpo", "dapo", "dr_grpo"], change: dict[str, float]
) -> None:
    parts, config = example(), Grpo.model_validate({"loss": loss, "max_new_tokens": 9, **change})
    found, expected = loss_of(parts, config), by_hand(parts, config)
    assert expected["clipped"] > 0
    for name, value in expected.items():
        assert getattr(found, name).item() == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("loss", LOSSES)
def test_on_its_own_samples_the_gradient_is_that_of_the_weighted_log_likelihood(
    loss: Literal["grpo", "dapo", "dr_grpo"],
) -> None:
    """The ratio is 1, so that nothing is clipped and d/dp of it is 1."""
    parts, config = example(), Grpo(loss=loss, max_new_tokens=9)
    p = parts["log_probs"].requires_grad_()
    found = loss_of({**parts, "old": p.detach(), "reference": None}, config)
    found.total.backward()  # type: ignore[no-untyped-call]
    mask, gain = parts["mask"], parts["advantages"][:, None]
    shares = {
        "grpo": mask / mask.sum(1, keepdim=True) / 6,
        "dapo": mask / mask.sum(),
        "dr_grpo": mask / (6 * 9),
    }
    torch.testing.assert_close(p.grad, -gain * shares[loss])
    assert found.clipped == found.kl == 0


@settings(max_examples=60)
@given(
    st.sampled_from(LOSSES),
    st.integers(0, 1000),
    st.lists(st.integers(1, 5), min_size=1, max_size=6),
    st.sampled_from([0.0, 0.04]),
    st.booleans(),
)
def test_parts_of_a_batch_add_up_to_the_whole(
    loss: Literal["grpo", "dapo", "dr_grpo"], seed: int, sizes: list[int], beta: float, empty: bool
) -> None:
    whole = example(sum(sizes), seed=seed)
    if empty:
        whole["mask"] = whole["mask"].clone()
        whole["mask"][: sizes[0]] = False
    config, totals = Grpo(loss=loss, max_new_tokens=9, beta=beta), Totals.of(whole["mask"])
    leaf = whole["log_probs"].requires_grad_()
    once = loss_of(whole, config)
    (gradient,) = torch.autograd.grad(once.total, leaf)
    split = {name: value.split(sizes) for name, value in whole.items()}
    parts = [
        loss_of(dict(zip(split, values, strict=True)), config, totals)
        for values in zip(*split.values(), strict=True)
    ]
    for name, value in once._asdict().items():
        torch.testing.assert_close(sum(getattr(part, name) for part in parts), value, atol=1e-6, rtol=1e-5)
    (sum_of_parts,) = torch.autograd.grad(torch.stack([part.total for part in parts]).sum(), leaf)
    torch.testing.assert_close(sum_of_parts, gradient)


def test_what_stands_behind_the_end_changes_nothing() -> None:
    parts, config = example(), Grpo(beta=0.04)
    before = loss_of(parts, config)
    behind = ~parts["mask"]
    noise = {"log_probs": -torch.inf, "old": 90.0, "reference": torch.nan}
    leaf = parts["log_probs"].masked_fill(behind, -torch.inf).requires_grad_()
    changed = {name: parts[name].masked_fill(behind, value) for name, value in noise.items()}
    after = loss_of({**parts, **changed, "log_probs": leaf}, config)
    assert [x.item() for x in after] == [x.item() for x in before]
    after.total.backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert not leaf.grad[behind].any()


def test_a_completion_ends_with_its_first_end() -> None:
    tokens = torch.tensor([[5, 6, END, 7, END], [5, 6, 7, 8, 9], [END, END, END, 5, 5], [5, 6, 7, 8, 3]])
    expected = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]]).bool()
    assert completion_mask(tokens, [END, 3], mask_truncated=False).equal(expected)
    expected[1] = False
    assert completion_mask(tokens, [END, 3], mask_truncated=True).equal(expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_that_was_cut_altogether_has_no_loss(loss: Literal["grpo", "dapo", "dr_grpo"]) -> None:
    parts = example()
    parts["mask"] = completion_mask(
        torch.ones_like(parts["mask"], dtype=torch.long), [END], mask_truncated=True
    )
    found = loss_of({**parts, "log_probs": parts["log_probs"].requires_grad_()}, Grpo(loss=loss, beta=0.1))
    assert [x.item() for x in found] == [0, 0, 0, 0]
    found.total.backward()  # type: ignore[no-untyped-call]


def test_the_defaults_are_those_of_the_method_notes() -> None:
    config = Grpo()
    assert (config.group, config.temperature, config.max_new_tokens) == (8, 1.0, 256)
    assert (config.loss, config.scale, config.epsilon, config.epsilon_high) == ("dapo", "group", 0.2, None)
    assert (config.beta, config.mask_truncated) == (0.0, False)
    with pytest.raises(ValidationError, match="group"):
        Grpo(group=1)
