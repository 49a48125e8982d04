from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import open_clip
import pytest
import scipy.fft
import torch
from torch import nn

from mmidd.errors import UsageError
from mmidd.training.config import Backbone, ClipShape, Lora, TextShape, VisionShape
from mmidd.training.models.clam import Clam, layer_tokens
from mmidd.training.models.clip import (
    add_lora,
    build_clip,
    encode_text,
    layernorm_parameters,
    load_clip,
    split_attention,
)
from mmidd.training.models.encoder import ClipVision
from mmidd.training.models.stem import conv_stem, cosine_waves

SHAPE = ClipShape(
    embed_dim=16,
    vision=VisionShape(image_size=32, patch_size=8, width=32, layers=3, head_width=16),
    text=TextShape(context_length=16, width=16, heads=2, layers=2),
)


def count(model: nn.Module, trained_only: bool = False) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trained_only)


def large_on_meta() -> nn.Module:
    """ViT-L/14 as open_clip builds it, without memory behind it."""
    shape = open_clip.get_model_config("ViT-L-14")
    with torch.device("meta"):
        model: nn.Module = open_clip.CLIP(**shape)
    return model


def test_both_towers_give_the_same_output_with_split_attention() -> None:
    torch.manual_seed(0)
    packed = build_clip(SHAPE).eval()
    for parameter in packed.parameters():
        nn.init.normal_(parameter, std=0.2)
    split = split_attention(copy.deepcopy(packed))
    images, tokens = torch.randn(2, 3, 32, 32), open_clip.tokenize(["a face", "a room"], context_length=16)
    assert not any(isinstance(m, nn.MultiheadAttention) for m in split.modules())
    torch.testing.assert_close(split.encode_image(images), packed.encode_image(images))  # type: ignore[operator]
    torch.testing.assert_close(split.encode_text(tokens), packed.encode_text(tokens))  # type: ignore[operator]


def test_large_towers_have_the_published_sizes() -> None:
    model = split_attention(large_on_meta())
    visual = ClipVision(model)
    assert count(visual) == 303_179_776
    norms = layernorm_parameters(visual)
    assert (len(norms), sum(p.numel() for p in norms)) == (100, 102_400)
    assert count(visual) + count(nn.Linear(1024, 2)) == 303_181_826


@pytest.mark.parametrize(
    ("rank", "targets", "expected"),
    [
        (8, ("q_proj", "k_proj", "v_proj", "out_proj"), 1_572_864 + 589_824),
        (4, ("q_proj", "k_proj", "v_proj", "out_proj"), 1_081_344),
        (8, ("q_proj", "v_proj"), 1_081_344),
        (8, ("q_proj", "k_proj", "v_proj"), 1_622_016),
        (8, ("q_proj", "k_proj", "v_proj", "out_proj", "c_fc", "c_proj"), 4_866_048),
    ],
)
def test_lora_on_large_towers_has_the_published_sizes(
    rank: int, targets: tuple[str, ...], expected: int
) -> None:
    model = split_attention(large_on_meta())
    with torch.device("meta"):
        adapted = add_lora(model, Lora.model_validate({"rank": rank, "targets": targets}), seed=0)
    assert count(adapted, trained_only=True) == expected


@pytest.mark.parametrize(("hidden", "adapter"), [(768, 2_164_224), (1024, 2_885_376), (2048, 5_769_984)])
def test_clam_has_the_published_sizes(hidden: int, adapter: int) -> None:
    with torch.device("meta"):
        clam = Clam(1024, 768, 8, hidden, "literal")
    assert clam.attention
    assert (count(clam.attention), count(clam.adapter)) == (4_198_400, adapter)


def test_layer_tokens_are_the_normalised_class_tokens_of_every_block() -> None:
    model = load_clip(Backbone(shape=SHAPE), seed=1)
    visual, seen = model.visual, []
    for block in visual.transformer.resblocks:  # type: ignore[union-attr]
        block.register_forward_hook(lambda _m, _i, out: seen.append(out[:, 0]))
    images = torch.randn(2, 3, 32, 32)
    pooled = visual(images)  # type: ignore[operator]
    expected = torch.stack([visual.ln_post(token) for token in seen], dim=1)  # type: ignore[operator, union-attr]
    tokens, _ = layer_tokens(visual, images)
    torch.testing.assert_close(tokens, expected)
    torch.testing.assert_close(tokens[:, -1] @ visual.proj, pooled)  # type: ignore[operator, union-attr]


def test_clam_residual_starts_as_clip_and_literal_does_not() -> None:
    torch.manual_seed(0)
    tokens, projection = torch.randn(2, 4, 32), torch.randn(32, 16)
    residual, literal = (Clam(32, 16, 2, 8, mode)(tokens, projection) for mode in ("residual", "literal"))
    torch.testing.assert_close(residual, tokens[:, -1] @ projection)
    assert not torch.allclose(literal, residual)


def test_clam_mean_does_not_depend_on_the_order_of_earlier_layers() -> None:
    clam, tokens = Clam(32, 16, 2, 8, "literal"), torch.randn(2, 4, 32)
    shuffled = tokens[:, [2, 0, 1, 3]]
    projection = torch.zeros(32, 16)
    torch.testing.assert_close(clam(tokens, projection), clam(shuffled, projection))


def test_adapted_clip_starts_as_clip() -> None:
    model = load_clip(Backbone(shape=SHAPE), seed=0)
    images = torch.randn(2, 3, 32, 32)
    before = model.encode_image(images), encode_text(model, ["a face"])  # type: ignore[operator]
    adapted = add_lora(model, Lora(), seed=0).eval()
    after = adapted.encode_image(images), encode_text(adapted, ["a face"])  # type: ignore[operator]
    torch.testing.assert_close(before, after)


def test_the_seed_alone_fixes_a_random_backbone() -> None:
    backbone = Backbone(shape=SHAPE)
    torch.manual_seed(5)
    first = load_clip(backbone, 0).state_dict()
    second = load_clip(backbone, 0).state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(load_clip(backbone, 1).state_dict()["visual.proj"], first["visual.proj"])


def test_a_local_checkpoint_gives_open_clips_own_features(tmp_path: Path) -> None:
    path = tmp_path / "clip.pt"
    torch.manual_seed(0)
    own = open_clip.create_model("ViT-S-32-alt").eval()
    torch.save(own.state_dict(), path)
    loaded = load_clip(Backbone(name="ViT-S-32-alt", weights=str(path)), seed=0)
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(loaded.encode_image(images), own.encode_image(images))  # type: ignore[operator]


@pytest.mark.parametrize("weights", ["no-such-tag", "/no/such/file.pt"])
def test_weights_that_cannot_be_had_are_one_line_with_the_way_out(weights: str) -> None:
    with pytest.raises(UsageError, match=r"backbone\.weights=") as caught:
        load_clip(Backbone(name="ViT-S-32-alt", weights=weights), seed=0)
    assert "\n" not in str(caught.value)


def test_the_stem_keeps_open_clips_contract() -> None:
    shape = SHAPE.model_copy(update={"stem": "conv"})
    visual = load_clip(Backbone(shape=shape), seed=0).visual
    images = torch.randn(2, 3, 32, 32)
    tokens, _ = layer_tokens(visual, images)
    assert tokens.shape == (2, 3, 32)
    torch.testing.assert_close(tokens[:, -1] @ visual.proj, visual(images))  # type: ignore[operator, union-attr]


def test_first_filters_are_scipys_cosine_transform() -> None:
    image = np.random.default_rng(0).random((6, 6))
    ours = (cosine_waves(36, 6) * image).sum(axis=(1, 2))
    theirs = scipy.fft.dctn(image, norm="ortho")
    np.testing.assert_allclose(np.sort(ours), np.sort(theirs.ravel()))
    np.testing.assert_allclose(ours[:3], [theirs[0, 0], theirs[0, 1], theirs[1, 0]])


def test_conv_stem_gives_one_token_per_patch() -> None:
    assert conv_stem(64, 16)(torch.zeros(1, 3, 64, 64)).shape == (1, 64, 4, 4)
    with pytest.raises(UsageError, match="power of two"):
        conv_stem(64, 14)
