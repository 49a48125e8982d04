"""Features that others learn on: what each kind of backbone and each method gives, against the libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPVisionModel, Dinov2Config, Dinov2Model, DINOv3ViTConfig, DINOv3ViTModel

from mmidd.errors import UsageError
from mmidd.spec import PreprocessSpec
from mmidd.training.models.clip import encode_text, load_clip
from mmidd.training.models.encoder import ClipVision, Encoder, vision_encoder
from mmidd.training.tasks import build_task
from mmidd.training.tasks.base import Task
from mmidd.training.trained import Run
from tests.training.kfd_world import small_kfd
from tests.training.llm_world import llm_config, llm_task
from tests.training.test_training_baselines import small
from tests.training.test_training_encoders import LAYERS, of, perturbed, small_clip
from tests.training.training_world import PLAIN_SENTENCES, random_batch, small_config


def hooked(module: nn.Module, images: Tensor, network: Any) -> Tensor:
    """What a module gives while the network sees images."""
    seen: list[Tensor] = []
    handle = module.register_forward_hook(lambda _m, _i, out: seen.append(out))
    with torch.no_grad():
        network(images)
    handle.remove()
    return seen[-1]


def check(encoder: Encoder, images: Tensor, patches: Tensor) -> None:
    with torch.no_grad():
        feature, places = encoder.describe(images)
        torch.testing.assert_close(feature, encoder(images))
    torch.testing.assert_close(places, patches)


@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_open_clip_gives_patches_after_the_last_norm(stem: str) -> None:
    shape = small_config("lnclip").backbone.shape
    assert shape
    backbone = small_config("lnclip").backbone.model_copy(
        update={"shape": shape.model_copy(update={"stem": stem})}
    )
    clip = perturbed(load_clip(backbone, 0))
    images = torch.randn(2, 3, 32, 32)
    check(ClipVision(clip), images, hooked(clip.visual.ln_post, images, clip.visual)[:, 1:])


@pytest.mark.parametrize(
    ("name", "prefix"), [("test_vit", 1), ("vit_small_patch16_dinov3", 5), ("test_vit4", 1)]
)
def test_a_transformer_of_timm_gives_patches_after_the_last_norm(name: str, prefix: int) -> None:
    encoder: Any = vision_encoder(of("timm", name, image_size=32), 0)
    images = torch.randn(2, 3, 32, 32)
    expected = hooked(encoder.network.norm, images, encoder)[:, prefix:]
    assert expected.shape[1] == 4
    check(encoder, images, expected)


def test_attention_pooling_leaves_the_patches_be() -> None:
    encoder: Any = vision_encoder(of("timm", "vit_pe_core_tiny_patch16_384", image_size=32), 0)
    images = torch.randn(2, 3, 32, 32)
    check(encoder, images, hooked(encoder.network.norm, images, encoder)[:, 1:])


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet"])
def test_a_cnn_gives_the_places_of_its_last_map_by_rows(name: str) -> None:
    encoder: Any = vision_encoder(of("timm", name, image_size=96, batch_norm=True), 0)
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        last = encoder.network.forward_features(images)
    expected = torch.stack([last[:, :, y, x] for y in range(3) for x in range(3)], dim=1)
    check(encoder, images, expected)
    torch.testing.assert_close(encoder.describe(images)[1].mean(dim=1), encoder(images))


def test_a_map_whose_channels_come_last_is_read_so() -> None:
    encoder: Any = vision_encoder(of("timm", "swin_tiny_patch4_window7_224"), 0)
    images = torch.randn(1, 3, 224, 224)
    check(encoder, images, hooked(encoder.network.norm, images, encoder).flatten(1, 2))


def test_clip_of_transformers_gives_normalised_patches(tmp_path: Path) -> None:
    small_clip().save_pretrained(tmp_path)
    tower: Any = CLIPVisionModel.from_pretrained(tmp_path)
    images = torch.randn(2, 3, 32, 32)
    norm = next(module for name, module in tower.named_modules() if name.endswith("post_layernorm"))
    with torch.no_grad():
        expected = norm(tower(images).last_hidden_state)[:, 1:]
    assert expected.shape[1] == 16
    check(vision_encoder(of("transformers", str(tmp_path), "pretrained"), 0), images, expected)


@pytest.mark.parametrize("registers", [0, 2])
def test_dino_of_transformers_gives_patches_without_registers(registers: int, tmp_path: Path) -> None:
    size: Any = {**LAYERS, "patch_size": 8, "image_size": 32}
    own: Any = (
        DINOv3ViTModel(DINOv3ViTConfig(**size, num_register_tokens=registers))
        if registers
        else Dinov2Model(Dinov2Config(**size))
    )
    perturbed(own).save_pretrained(tmp_path)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = own(images).last_hidden_state[:, 1 + registers :]
    assert expected.shape[1] == 16
    check(vision_encoder(of("transformers", str(tmp_path), "pretrained"), 0), images, expected)


def images_of(task: Task[Any]) -> Tensor:
    return random_batch(3, task.size).images


@pytest.mark.parametrize("method", ["lnclip", "linear", "xception"])
def test_the_head_of_an_encoder_scores_by_the_embedding(method: str) -> None:
    task: Any = build_task(small_config("lnclip") if method == "lnclip" else small(method))
    images = images_of(task)
    found = task.describe(images)
    with torch.no_grad():
        score = task.head(found.embedding).softmax(dim=1)[:, 1]
        places = task.encoder.eval().describe(task.normalise(images))[1]
    np.testing.assert_allclose(task.score(images).fake, score, atol=1e-6)
    torch.testing.assert_close(found.patches, places)


@pytest.mark.parametrize("norm", ["post", "none"])
def test_sd2_is_its_feature_and_the_towers_patches(norm: str) -> None:
    task: Any = build_task(small_config("sd2", "trainable=lora", f"clam_norm={norm}")).eval()
    perturbed(task)
    images = images_of(task)
    found = task.describe(images)
    texts = encode_text(task.clip, PLAIN_SENTENCES)
    types = (task.clip.logit_scale.exp() * found.embedding @ texts.T).softmax(dim=1)
    np.testing.assert_allclose(task.score(images).types, types.detach(), atol=1e-5)
    patches = task.clip.visual.ln_post(
        hooked(task.clip.visual.transformer, task.normalise(images), task.clip.visual)
    )
    torch.testing.assert_close(found.patches, patches[:, 1:].detach())


def test_kfd_is_what_its_classifier_decides_by_and_its_patches_of_all_depths() -> None:
    task: Any = small_kfd()
    images = images_of(task)
    found = task.describe(images)
    with torch.no_grad():
        score = task.classifier.decide(found.embedding).softmax(dim=1)[:, 1]
        features = task.patches(task.normalise(images))[0]
    np.testing.assert_allclose(task.score(images).fake, score, atol=1e-6)
    torch.testing.assert_close(found.patches, torch.cat(list(features.unbind(1)), dim=-1))


def test_zeroshot_is_clips_own_embedding() -> None:
    task: Any = build_task(small("zeroshot"))
    images = images_of(task)
    found = task.describe(images)
    types = (100 * found.embedding @ task.classes.T).softmax(dim=1)
    np.testing.assert_allclose(task.score(images).types, types, atol=1e-6)
    assert found.patches is None


def test_features_are_of_one_pass_in_evaluation_mode_and_can_be_learned_on() -> None:
    task: Any = build_task(small("xception")).train()
    before = {name: buffer.clone() for name, buffer in task.named_buffers()}
    images = images_of(task)
    with torch.autocast("cpu", torch.bfloat16):
        found = task.describe(images)
    assert task.training
    assert found.patches is not None
    assert found.embedding.dtype == found.patches.dtype == torch.float32
    assert not found.embedding.requires_grad
    assert all(torch.equal(buffer, before[name]) for name, buffer in task.named_buffers())
    layer = nn.Linear(found.patches.shape[-1], 2)
    F.layer_norm(layer(found.patches), (2,)).sum().backward()  # type: ignore[no-untyped-call]


def test_a_run_describes_crops_of_any_size() -> None:
    config = small_config("sd2")
    run = Run(build_task(config), PreprocessSpec(), config, "sd2")
    crops = [np.random.default_rng(n).integers(0, 256, (40 + n, 40, 3), np.uint8) for n in range(2)]
    expected = run.task.describe(run.task.prepare(crops))
    torch.testing.assert_close(run.describe(crops).embedding, expected.embedding)


def test_a_method_without_features_says_so_in_a_line() -> None:
    task = llm_task(llm_config())
    with pytest.raises(UsageError, match="a run of kfd-llm has no features to take; pass one of") as caught:
        task.describe(images_of(task))
    assert "\n" not in str(caught.value)
