from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmidd.training import losses
from mmidd.training.models.slerp import augment, slerp

R = math.sqrt(0.5)


def unit(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.mark.parametrize(
    ("z", "labels", "align", "unif"),
    [
        ([[1, 0], [1, 0], [0, 1], [0, 1]], [0, 0, 1, 1], 0.0, -1.06264),
        ([[1, 0], [1, 0], [R, R], [0, 1], [0, 1]], [0, 0, 0, 1, 1], 0.29289, -1.1048),
    ],
)
def test_published_vectors_of_alignment_and_uniformity(
    z: list[list[float]], labels: list[int], align: float, unif: float
) -> None:
    features = torch.tensor(z, dtype=torch.float32)
    assert losses.alignment(features, torch.tensor(labels)).item() == pytest.approx(align, abs=1e-5)
    assert losses.uniformity(features).item() == pytest.approx(unif, abs=1e-4)


def test_random_directions_have_the_known_uniformity_and_alignment() -> None:
    z = unit(200, 1024)
    assert losses.uniformity(z).item() == pytest.approx(-4, abs=0.05)
    assert losses.alignment(z, torch.zeros(200)).item() == pytest.approx(2, abs=0.05)


def test_alignment_and_uniformity_equal_a_double_loop() -> None:
    z, labels = unit(9, 5), torch.tensor([0, 1, 0, 1, 1, 0, 0, 1, 2])
    x = z.double().numpy()
    pairs = [(i, j) for i in range(9) for j in range(i + 1, 9)]
    squared = {pair: float(((x[pair[0]] - x[pair[1]]) ** 2).sum()) for pair in pairs}
    same = [squared[i, j] for i, j in pairs if labels[i] == labels[j]]
    assert losses.alignment(z, labels).item() == pytest.approx(np.mean(same), rel=1e-5)
    spread = math.log(np.mean([math.exp(-2 * d) for d in squared.values()]))
    assert losses.uniformity(z).item() == pytest.approx(spread, rel=1e-5)


def test_without_pairs_both_are_zero_and_differentiable() -> None:
    z = unit(1, 4).requires_grad_()
    total = losses.alignment(z, torch.tensor([0])) + losses.uniformity(z)
    total.backward()  # type: ignore[no-untyped-call]
    assert total.item() == 0
    assert losses.alignment(unit(2, 4), torch.tensor([0, 1])).item() == 0


def test_published_vectors_of_the_text_losses() -> None:
    eye, scale, bias = torch.eye(2), torch.tensor(10.0), torch.tensor(-10.0)
    assert losses.sigmoid_contrast(eye, eye, scale, bias).item() == pytest.approx(0.6932, abs=1e-4)
    u = torch.tensor([[1.0, 0.0], [R, R]])
    assert losses.label_separation(u).item() == pytest.approx(1.0, abs=1e-6)
    assert losses.label_separation(torch.eye(5)).item() == 0


def test_text_losses_equal_a_double_loop() -> None:
    f, d, u = unit(6, 7), unit(6, 7, 1), unit(5, 7, 2)
    ignore = torch.zeros(6, 6, dtype=torch.bool)
    ignore[0, 3] = ignore[3, 0] = True
    x, y, w = (t.double().numpy() for t in (f, d, u))
    total = 0.0
    for i in range(6):
        for j in range(6):
            logit = 3.0 * float(x[i] @ y[j]) - 1.5
            sign = 1 if i == j else -1
            total += 0.0 if ignore[i, j] else math.log1p(math.exp(-sign * logit))
    found = losses.sigmoid_contrast(f, d, torch.tensor(3.0), torch.tensor(-1.5), ignore)
    assert found.item() == pytest.approx(total / 6, rel=1e-5)

    types = [0, 4, 2, 2, 1, 3]
    logits = 5.0 * x @ w.T
    entropy = [math.log(np.exp(row).sum()) - row[c] for row, c in zip(logits, types, strict=True)]
    found = losses.type_classification(f, torch.tensor(types), u, torch.tensor(5.0))
    assert found.item() == pytest.approx(np.mean(entropy), rel=1e-5)


def test_gradients_are_those_of_finite_differences() -> None:
    z = unit(4, 3).double().requires_grad_()
    labels = torch.tensor([0, 0, 1, 1])
    assert torch.autograd.gradcheck(lambda x: losses.alignment(x, labels), z)
    assert torch.autograd.gradcheck(losses.uniformity, z)


def test_slerp_follows_the_great_arc() -> None:
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    for t, expected in [(0.0, (1, 0)), (0.25, (0.92388, 0.38268)), (0.5, (R, R)), (1.0, (0, 1))]:
        assert slerp(a, b, torch.tensor([t]))[0].tolist() == pytest.approx(expected, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), t=st.floats(0, 1))
def test_slerp_stays_on_the_sphere_and_divides_the_angle(seed: int, t: float) -> None:
    a, b = unit(1, 8, seed), unit(1, 8, seed + 1)
    out = slerp(a, b, torch.tensor([t]))
    assert out.norm().item() == pytest.approx(1, abs=1e-5)
    angle, part = (torch.arccos((a * x).sum().clamp(-1, 1)).item() for x in (b, out))
    assert part == pytest.approx(t * angle, abs=2e-3)


def test_slerp_is_finite_for_equal_and_opposite_vectors_under_bfloat16_autocast() -> None:
    a = unit(3, 16).requires_grad_()
    b = torch.cat([a[:1], -a[1:2], a[2:3] + 1e-7]).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = slerp(a, b, torch.tensor([0.3, 0.5, 0.7]))
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, a, atol=1e-5, rtol=0)
    assert a.grad is not None
    assert a.grad.isfinite().all()


def test_latent_augmentation_mixes_within_a_class_only() -> None:
    z, labels = torch.eye(6), torch.tensor([0, 0, 0, 1, 1, 2])
    generator = torch.Generator().manual_seed(3)
    bigger, repeated = augment(z, labels, "expand", 8, generator)
    assert bigger.shape == (48, 6)
    assert torch.equal(bigger[:6], z)
    for row, label in zip(bigger, repeated, strict=True):
        assert row[labels != label].abs().max() == 0
    assert not torch.equal(bigger[6:12], bigger[12:18])
    replaced, same = augment(z, labels, "replace", 8, generator)
    assert replaced.shape == z.shape
    assert torch.equal(same, labels)
    assert torch.equal(replaced[5], z[5]), "a class of one stays as it is"
