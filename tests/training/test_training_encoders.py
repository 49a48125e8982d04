from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPVisionModel, DINOv3ViTConfig, DINOv3ViTModel

from mmidd.errors import UsageError
from mmidd.training.config import Backbone, load_preset
from mmidd.training.models.clip import encode_text, layernorm_parameters, load_clip
from mmidd.training.models.encoder import ClipVision, vision_encoder
from tests.training.test_training_clip import SHAPE

LAYERS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def of(library: str, name: str, weights: str = "random", **more: Any) -> Backbone:
    cnn = {"batch_norm": True} if name in ("legacy_xception", "efficientnet_b4", "test_efficientnet") else {}
    return Backbone.model_validate({"library": library, "name": name, "weights": weights, **cnn, **more})


def small_clip() -> CLIPModel:
    torch.manual_seed(3)
    vision = {**LAYERS, "image_size": 32, "patch_size": 8}
    text = {**LAYERS, "vocab_size": 64, "max_position_embeddings": 8}
    clip: CLIPModel = perturbed(
        CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=16))
    )
    return clip


def perturbed(network: Any) -> Any:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return network.eval()


def class_token(network: Any, images: Tensor) -> Tensor:
    """By hand from the last block's output and the final norm."""
    seen: list[Tensor] = []
    handle = network.norm.register_forward_hook(lambda _m, _i, out: seen.append(out))
    network(images)
    handle.remove()
    return seen[0][:, 0]


@pytest.mark.parametrize(
    ("backbone", "total", "norms", "weights"),
    [
        (of("open_clip", "ViT-L-14-quickgelu"), 303_179_776, 100, 102_400),
        (of("open_clip", "ViT-B-16-quickgelu"), 85_799_424, 52, 39_936),
        (of("transformers", "openai/clip-vit-large-patch14"), 303_179_776, 100, 102_400),
        (of("timm", "vit_pe_core_large_patch14_336", image_size=224), 316_102_656, 102, 104_448),
        (of("transformers", "facebook/dinov3-vitl16-pretrain-lvd1689m"), 303_129_600, 98, 100_352),
        (of("timm", "legacy_xception", batch_norm=True), 20_811_050 - 4_098, 0, 0),
        (of("timm", "efficientnet_b4", batch_norm=True), 17_552_202 - 3_586, 0, 0),
    ],
    ids=lambda value: value.name if isinstance(value, Backbone) else None,
)
def test_encoders_have_the_published_sizes(backbone: Backbone, total: int, norms: int, weights: int) -> None:
    with torch.device("meta"):
        encoder = vision_encoder(backbone, 0)
    assert sum(p.numel() for p in encoder.parameters()) == total
    affine = layernorm_parameters(encoder)
    assert (len(affine), sum(p.numel() for p in affine)) == (norms, weights)


@pytest.mark.parametrize(
    ("preset", "size", "width", "blocks"),
    [("paper", 224, 1024, 24), ("small", 224, 768, 12), ("pe", 224, 1024, 24), ("dinov3", 224, 1024, 24)],
)
def test_presets_name_encoders_that_exist(preset: str, size: int, width: int, blocks: int) -> None:
    backbone = load_preset("lnclip", preset).backbone.model_copy(update={"weights": "random"})
    with torch.device("meta"):
        encoder = vision_encoder(backbone, 0)
        assert encoder(torch.zeros(2, 3, size, size)).shape == (2, width)
    assert (encoder.size, encoder.width, len(encoder.blocks())) == (size, width, blocks)


@pytest.mark.parametrize("backbone", [of("open_clip", "ViT-B-32"), Backbone(shape=SHAPE)])
def test_towers_equal_open_clips_own(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    own: Any
    if backbone.shape:
        shape = backbone.shape.model_dump()
        own = open_clip.CLIP(shape["embed_dim"], shape["vision"], shape["text"]).eval()
    else:
        own = open_clip.create_model("ViT-B-32").eval()
        monkeypatch.setattr(open_clip, "create_model", lambda *_, **__: copy.deepcopy(own))
    ours: Any = load_clip(backbone, 0)
    images = torch.randn(2, 3, own.visual.image_size[0], own.visual.image_size[0])
    with torch.no_grad():
        expected = own.encode_image(images)
        torch.testing.assert_close(ours.encode_image(images), expected)
        tokens = open_clip.tokenize(["a face", "a room"], context_length=own.context_length)
        theirs = own.encode_text(tokens, normalize=True)
        torch.testing.assert_close(encode_text(ours, ["a face", "a room"]), theirs)
        projection = ours.visual.proj.clone()
        torch.testing.assert_close(ClipVision(ours)(images) @ projection, expected)


@pytest.mark.parametrize(("size", "options"), [(160, {}), (96, {"dynamic_img_size": True})])
def test_a_vision_transformer_of_timm_gives_its_class_token(size: int, options: dict[str, Any]) -> None:
    encoder = vision_encoder(of("timm", "test_vit", image_size=size), 4)
    torch.manual_seed(4)
    own = timm.create_model("test_vit", num_classes=0, **options).eval()
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), class_token(own, images))
    assert (encoder.size, encoder.mean, encoder.std) == (size, (0.5,) * 3, (0.5,) * 3)
    assert len(encoder.blocks()) == 6


def test_dinov3_of_timm_gives_its_class_token_as_gend_takes_it() -> None:
    encoder = vision_encoder(of("timm", "vit_small_patch16_dinov3", image_size=64), 0)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), class_token(encoder.network, images))


def test_a_cnn_gives_the_mean_of_its_last_map() -> None:
    encoder: Any = vision_encoder(of("timm", "test_efficientnet", image_size=64, batch_norm=True), 0)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = encoder.network.forward_features(images).mean(dim=(2, 3))
        torch.testing.assert_close(encoder(images), expected)
    assert encoder(images).shape == (2, encoder.width)
    assert list(encoder.blocks()) == []


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
@pytest.mark.parametrize("classes", [0, 1000])
def test_a_timm_file_is_loaded_with_or_without_its_classifier(
    name: str, classes: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    own = perturbed(timm.create_model(name, num_classes=classes))
    save_file(own.state_dict(), tmp_path / "w.safetensors")
    encoder = vision_encoder(
        of("timm", name, str(tmp_path / "w.safetensors"), batch_norm=name != "test_vit"), 1
    )
    images = torch.randn(1, 3, 160, 160)
    with torch.no_grad():
        expected = own.forward_head(own.forward_features(images), pre_logits=True)
        torch.testing.assert_close(encoder(images), expected)


@pytest.mark.parametrize("part", ["whole", "tower"])
def test_clip_of_transformers_gives_its_pooled_output(part: str, tmp_path: Path) -> None:
    clip = small_clip()
    clip.save_pretrained(tmp_path / "whole")
    tower: Any = CLIPVisionModel.from_pretrained(tmp_path / "whole")
    tower.save_pretrained(tmp_path / "tower")
    images = torch.randn(2, 3, 32, 32)
    expected = clip.vision_model(images).pooler_output
    for weights in ("pretrained", str(tmp_path / part / "model.safetensors")):
        encoder = vision_encoder(of("transformers", str(tmp_path / part), weights), 0)
        torch.testing.assert_close(encoder(images), expected)
    assert (encoder.size, encoder.width, len(encoder.blocks())) == (32, 32, 3)
    larger = vision_encoder(of("transformers", str(tmp_path / part), "pretrained", image_size=48), 0)
    bigger = torch.randn(2, 3, 48, 48)
    expected = clip.vision_model(bigger, interpolate_pos_encoding=True).pooler_output
    torch.testing.assert_close(larger(bigger), expected)
    first, second, other = (vision_encoder(of("transformers", str(tmp_path / part)), n) for n in (5, 5, 6))
    assert torch.equal(first(images), second(images))
    assert not torch.equal(first(images), other(images))


def test_dinov3_of_transformers_gives_its_class_token_and_reads_its_preprocessor(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = DINOv3ViTConfig(**LAYERS, patch_size=8, image_size=32, num_register_tokens=2)  # type: ignore[arg-type]
    own = perturbed(DINOv3ViTModel(config))
    own.save_pretrained(tmp_path)
    images = torch.randn(2, 3, 32, 32)
    encoder = vision_encoder(of("transformers", str(tmp_path), "pretrained"), 0)
    torch.testing.assert_close(encoder(images), own(images).last_hidden_state[:, 0])
    assert encoder.mean == (0.485, 0.456, 0.406)
    said = {"image_mean": [0.43, 0.41, 0.3], "image_std": [0.2, 0.1, 0.3]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    encoder = vision_encoder(of("transformers", str(tmp_path), "pretrained"), 0)
    assert (encoder.mean, encoder.std) == ((0.43, 0.41, 0.3), (0.2, 0.1, 0.3))
    encoder = vision_encoder(of("transformers", str(tmp_path), "pretrained", mean=(0.1, 0.2, 0.3)), 0)
    assert (encoder.mean, encoder.std) == ((0.1, 0.2, 0.3), (0.2, 0.1, 0.3))


@pytest.mark.parametrize(
    "backbone",
    [
        of("open_clip", "ViT-S-32-alt"),
        of("timm", "test_vit"),
        of("timm", "test_efficientnet", batch_norm=True),
    ],
)
def test_random_weights_depend_on_the_seed_alone_and_leave_the_generator_be(backbone: Backbone) -> None:
    first = vision_encoder(backbone, 7).state_dict()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    second, other = vision_encoder(backbone, 7).state_dict(), vision_encoder(backbone, 8).state_dict()
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


def test_a_small_clip_takes_its_weights_from_a_file_strictly(tmp_path: Path) -> None:
    trained = perturbed(load_clip(Backbone(shape=SHAPE), 0)).state_dict()
    path = tmp_path / "clip.safetensors"
    save_file(trained, path)
    backbone = Backbone(shape=SHAPE, weights=str(path))
    loaded = load_clip(backbone, 1).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in trained.items())
    save_file({name: t for name, t in trained.items() if name != "visual.proj"}, path)
    with pytest.raises(UsageError, match=r"does not fit the encoder \(visual\.proj and 0 more"):
        load_clip(backbone, 1)
    torch.save({"model": nn.Linear(1, 1)}, tmp_path / "clip.pt")
    with pytest.raises(UsageError, match="state dict"):
        load_clip(Backbone(shape=SHAPE, weights=str(tmp_path / "clip.pt")), 1)


@pytest.mark.parametrize(
    ("backbone", "says"),
    [
        (of("timm", "vit_large_patch16_dino3"), "vit_large_patch16_dinov3"),
        (of("open_clip", "ViT-B-33"), "ViT-B-32"),
        (of("open_clip", "PE-Core-L-14-336"), "library to timm"),
        (of("timm", "test_vit", "r160"), "r160_in1k"),
        (of("timm", "test_vit", "pretrained"), "backbone.weights="),
        (of("timm", "test_vit", "/no/such.pt"), "backbone.weights=FILE"),
        (of("timm", "test_vit", image_size=100), "multiple"),
        (of("open_clip", "ViT-S-32-alt", "no-such-tag"), "backbone.weights="),
        (of("open_clip", "ViT-B-32", "openai"), "backbone.weights="),
        (of("open_clip", "hf-hub:nobody/nothing", "pretrained"), "backbone.weights="),
        (of("open_clip", "hf-hub:nobody/nothing", "openai"), "backbone.weights=pretrained"),
        (of("transformers", "nobody/nothing", "pretrained"), "backbone.name=FOLDER"),
        (of("transformers", "openai/clip-vit-base-patch16", "pretrained"), "backbone.name=FOLDER"),
        (of("transformers", "openai/clip-vit-base-patch16", "openai"), "is no file"),
        (of("transformers", "openai/clip-vit-base-patch16", image_size=100), "multiple"),
    ],
)
def test_what_cannot_be_had_is_one_line_with_the_way_out(
    backbone: Backbone, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    with torch.device("meta"), pytest.raises(UsageError) as caught:
        vision_encoder(backbone, 0)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not caplog.records


@pytest.mark.parametrize("change", ["missing", "shape", "foreign"])
@pytest.mark.parametrize("library", ["transformers", "timm"])
def test_weights_of_another_encoder_are_refused(library: str, change: str, tmp_path: Path) -> None:
    small_clip().save_pretrained(tmp_path)
    name = str(tmp_path) if library == "transformers" else "test_vit"
    encoder: Any = vision_encoder(of(library, name), 0)
    tensors = encoder.network.state_dict()
    norm = next(key for key in tensors if key.endswith("norm1.weight"))
    match change:
        case "missing":
            del tensors[norm]
        case "shape":
            tensors[norm] = torch.zeros(5)
        case _:
            tensors["foreign.weight"] = torch.zeros(5)
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(UsageError) as caught:
        vision_encoder(of(library, name, str(tmp_path / "other.safetensors")), 0)
    assert "\n" not in str(caught.value)
