"""Maps, prompts, heads and losses of KFD against direct computations."""

from __future__ import annotations

from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mmidd.errors import UsageError
from mmidd.training import losses
from mmidd.training.models.clip import encode_text, load_clip
from mmidd.training.models.kfd.features import PatchFeatures, block_indices
from mmidd.training.models.kfd.heads import Classifier, Locator, without_memory
from mmidd.training.models.kfd.maps import reference_maps, text_maps
from mmidd.training.models.kfd.prompts import InputContext, OutputContext
from tests.training.kfd_world import SIDE, kfd_config

REAL, FAKE = ("a real face", "a true picture"), ("a fake face",)


def clip() -> Any:
    return load_clip(kfd_config().backbone, 0)


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def bilinear(grid: np.ndarray, size: int) -> np.ndarray:
    """Corners aligned, by interpolating along rows, then columns."""
    places = np.linspace(0, len(grid) - 1, size)
    rows = np.stack([np.interp(places, range(len(grid)), column) for column in grid.T], axis=1)
    return np.stack([np.interp(places, range(len(grid)), row) for row in rows])


def test_consistency_maps_are_scaled_similarities_enlarged() -> None:
    features, texts = unit(2, 3, 16, 8), unit(2, 8, seed=1)
    found = text_maps(features, texts, 13)
    assert found.shape == (2, 3, 2, 13, 13)
    direct = 100 * np.einsum("blnd,cd->blcn", features.numpy(), texts.numpy())
    for image, layer, channel in np.ndindex(2, 3, 2):
        expected = bilinear(direct[image, layer, channel].reshape(4, 4), 13)
        np.testing.assert_allclose(found[image, layer, channel], expected, atol=1e-3)


def test_a_pristine_image_agrees_with_itself_everywhere() -> None:
    features, other = unit(2, 3, 16, 8), unit(2, 3, 16, 8, seed=1)
    same = reference_maps(features, features, 9)
    torch.testing.assert_close(same[:, :, 0], torch.full((2, 3, 9, 9), 100.0))
    torch.testing.assert_close(same[:, :, 1], torch.zeros(2, 3, 9, 9), atol=1e-4, rtol=0)
    found = reference_maps(features, other, 4)
    cosine = F.cosine_similarity(features, other, dim=-1).view(2, 3, 4, 4)
    torch.testing.assert_close(found[:, :, 0], 100 * cosine, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.sum(dim=2), torch.full((2, 3, 4, 4), 100.0))


@pytest.mark.parametrize(
    ("blocks", "indices"), [(32, [15, 23, 31]), (24, [11, 17, 23]), (12, [5, 8, 11]), (4, [1, 2, 3])]
)
def test_blocks_are_taken_at_half_three_quarters_and_the_end(blocks: int, indices: list[int]) -> None:
    assert block_indices(blocks, (0.5, 0.75, 1.0)) == indices


def test_a_depth_is_rounded_to_a_block_and_the_first_is_the_least() -> None:
    assert block_indices(12, (0.01, 0.3, 0.54)) == [0, 3, 5]


def test_a_tower_that_is_too_shallow_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"of 2 blocks depths .* name one twice"):
        block_indices(2, (0.5, 0.75, 1.0))


def test_patches_are_the_blocks_own_outputs_through_their_linear_layer() -> None:
    visual = clip().visual
    module = PatchFeatures(visual, (0.5, 1.0), 16)
    images, seen = torch.randn(2, 3, SIDE, SIDE), {}
    for number, block in enumerate(visual.transformer.resblocks):
        block.register_forward_hook(lambda _, __, out, number=number: seen.update({number: out}))
    with torch.no_grad():
        features, embedding = module(images)
        for layer, block in enumerate((1, 3)):
            projected = seen[block][:, 1:] @ module.project[layer].weight.T + module.project[layer].bias
            torch.testing.assert_close(features[:, layer], projected / projected.norm(dim=-1, keepdim=True))
        torch.testing.assert_close(embedding, visual(images))


def test_context_behind_the_tower_is_averaged_with_the_sentences() -> None:
    model = clip()
    texts = OutputContext(model, (REAL, FAKE), 3)
    with torch.no_grad():
        found = texts()
        for row, sentences in zip(found, (REAL, FAKE), strict=True):
            mean = torch.cat([encode_text(model, list(sentences)), texts.context]).mean(0)
            torch.testing.assert_close(row, mean / mean.norm())
    assert [name for name, _ in texts.named_parameters()] == ["context"]


def test_context_before_the_words_changes_what_the_tower_reads() -> None:
    model = clip()
    words = model.token_embedding(open_clip.tokenize(["a"], context_length=32))[0, 1].detach()
    plain = encode_text(model, ["a a a real face", "a a a true picture"]).detach().mean(0)
    texts = InputContext(model, (REAL[:1], FAKE), 2)
    repeated = InputContext(clip(), (["a real face", "a true picture"], FAKE), 2)
    with torch.no_grad():
        repeated.context.copy_(words.expand(2, -1))
        torch.testing.assert_close(repeated()[0], plain / plain.norm())
    texts()[0].sum().backward()
    learned = {name for name, p in texts.named_parameters() if p.grad is not None}
    assert learned == {"context"}
    assert not any("visual" in name for name, _ in texts.named_parameters())


def test_more_context_than_the_tower_reads_is_an_error() -> None:
    with pytest.raises(UsageError, match="reads 32 tokens, and 25"):
        InputContext(clip(), (REAL, FAKE), 25)
    assert InputContext(clip(), (REAL, FAKE), 24)().shape == (2, 16)


def test_context_begins_as_small_noise() -> None:
    for kind in (OutputContext, InputContext):
        assert kind(clip(), (REAL, FAKE), 24).context.std().item() == pytest.approx(0.02, rel=0.2)


def test_heads_have_the_releases_size_and_shapes() -> None:
    maps = torch.randn(2, 3, 2, 40, 40)
    locator, classifier = Locator(3, 128), Classifier(3, 16)
    assert sum(p.numel() for p in locator.parameters()) == 14_978
    assert sum(p.numel() for p in classifier.parameters()) == 1_237_298
    assert locator(maps).shape == (2, 2, 40, 40)
    assert classifier(maps).shape == (2, 2)


def normalised(x: Tensor) -> Tensor:
    """As a new batch normalisation gives it in training."""
    variance, mean = torch.var_mean(x.double(), dim=(0, 2, 3), keepdim=True, correction=0)
    return ((x - mean) / (variance + 1e-5).sqrt()).float()


def test_heads_are_their_layers_in_the_releases_order() -> None:
    maps: Tensor = torch.randn(3, 2, 2, 40, 40)
    locator: Any = Locator(2, 8)
    classifier: Any = Classifier(2, 16)
    wide, means = [], []
    for layer, x in enumerate(maps.unbind(1)):
        conv = locator.branches[layer][0]
        wide.append(normalised(F.conv2d(x, conv.weight, conv.bias, padding=2).relu()))
        for conv in (part for part in classifier.branches[layer] if isinstance(part, nn.Conv2d)):
            x = normalised(F.max_pool2d(F.conv2d(x, conv.weight, conv.bias, padding=1).relu(), 2))
        means.append(x.mean(dim=(2, 3)))
    pixels = F.conv2d(torch.cat(wide, dim=1), locator.fuse.weight, locator.fuse.bias)
    torch.testing.assert_close(locator(maps), pixels, atol=1e-4, rtol=1e-4)
    first, _, last = classifier.decide
    expected = (torch.cat(means, dim=1) @ first.weight.T + first.bias).relu() @ last.weight.T + last.bias
    torch.testing.assert_close(classifier(maps), expected, atol=1e-4, rtol=1e-4)


def test_a_pass_without_memory_normalises_over_the_batch_and_leaves_the_statistics() -> None:
    locator, maps = Locator(1, 8), torch.randn(2, 1, 2, 12, 12)
    before = {name: buffer.clone() for name, buffer in locator.named_buffers()}
    with without_memory(locator):
        found = locator(maps)
    assert all(torch.equal(buffer, before[name]) for name, buffer in locator.named_buffers())
    torch.testing.assert_close(locator(maps), found)
    assert any(not torch.equal(buffer, before[name]) for name, buffer in locator.named_buffers())


def test_dice_is_its_definition() -> None:
    p, target = torch.rand(3, 5, 5), (torch.rand(3, 5, 5) > 0.5).float()
    for found, one, truth in zip(losses.dice(p, target), p.double().numpy(), target.numpy(), strict=True):
        overlap = sum(a * b for a, b in zip(one.flat, truth.flat, strict=True))
        assert found.item() == pytest.approx(1 - (2 * overlap + 1) / (one.sum() + truth.sum() + 1), rel=1e-5)


@given(pixels=st.lists(st.booleans(), min_size=9, max_size=9))
def test_dice_is_zero_for_the_mask_itself_and_lies_in_the_unit_interval(pixels: list[bool]) -> None:
    mask = torch.tensor(pixels).float().view(1, 3, 3)
    assert losses.dice(mask, mask).item() == pytest.approx(0, abs=1e-6)
    assert 0 <= losses.dice(1 - mask, mask).item() <= 1


def test_an_empty_mask_makes_dice_nearly_one_however_little_is_called_forged() -> None:
    assert losses.dice(torch.full((1, 10, 10), 0.1), torch.zeros(1, 10, 10)).item() == pytest.approx(10 / 11)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_focal_loss_is_its_definition(gamma: float) -> None:
    logits, target = torch.randn(2, 2, 4, 4), torch.randint(2, (2, 4, 4))
    p = logits.double().softmax(dim=1).gather(1, target[:, None])
    expected = (-((1 - p) ** gamma) * p.log()).mean()
    assert losses.focal(logits, target, gamma).item() == pytest.approx(expected.item(), rel=1e-5)


def test_focal_loss_is_finite_where_a_pixel_is_certain() -> None:
    logits = torch.tensor([1e4, -1e4]).view(1, 2, 1, 1).requires_grad_()
    for target in (0, 1):
        value = losses.focal(logits, torch.full((1, 1, 1), target), 2.0)
        (gradient,) = torch.autograd.grad(value, logits)
        assert value.isfinite()
        assert gradient.isfinite().all()
