from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import DINOv3ViTConfig, DINOv3ViTModel

from mmidd.errors import UsageError
from mmidd.training.gend import SPEC, import_gend, load_gend
from mmidd.training.trained import load_run
from tests.cli.command import as_json, error_line, mmidd
from tests.training.test_training_encoders import LAYERS, perturbed, small_clip


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def publish(folder: Path, backbone: str, parts: dict[str, nn.Module], head: str) -> nn.Linear:
    """A checkpoint as GenD writes it; `parts` are what its `feature_extractor` holds."""
    torch.manual_seed(1)
    width = 64 if backbone.startswith("vit_pe") else 32
    linear = perturbed(nn.Linear(width, 2))
    with torch.no_grad():
        linear.weight.mul_(10)
    tensors = {f"model.linear.{name}": t for name, t in linear.state_dict().items()}
    for part, module in parts.items():
        tensors |= {f"feature_extractor.{part}.{name}": t for name, t in module.state_dict().items()}
    folder.mkdir()
    save_file({name: t.contiguous() for name, t in tensors.items()}, folder / "model.safetensors")
    about = {"backbone": backbone, "head": head, "model_type": "GenD", "architectures": ["GenD"]}
    (folder / "config.json").write_text(json.dumps(about))
    assert isinstance(linear, nn.Linear)
    return linear


def published_clip(tmp_path: Path, head: str = "LinearNorm") -> tuple[Path, Any, nn.Linear]:
    clip: Any = small_clip()
    clip.config.save_pretrained(tmp_path / "clip-tiny")
    parts = {"vision_model": clip.vision_model, "visual_projection": clip.visual_projection}
    return tmp_path / "gend", clip, publish(tmp_path / "gend", str(tmp_path / "clip-tiny"), parts, head)


def plain(features: Tensor, head: nn.Linear, normalise: bool) -> Any:
    z = F.normalize(features, dim=-1) if normalise else features
    return head(z).softmax(dim=-1)[:, 1].detach().numpy()


def pictures(n: int, size: int) -> Tensor:
    return torch.randint(0, 256, (n, size, size, 3), generator=torch.Generator().manual_seed(0)).byte()


def normalised(images: Tensor, mean: Any, std: Any) -> Tensor:
    return (images.permute(0, 3, 1, 2) / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(
        3, 1, 1
    )


OPENAI = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("head", ["linear", "LinearNorm"])
def test_scores_are_those_of_plain_transformers(head: str, tmp_path: Path) -> None:
    folder, clip, linear = published_clip(tmp_path, head)
    images = pictures(5, 32)
    expected = plain(
        clip.vision_model(normalised(images, *OPENAI)).pooler_output, linear, head == "LinearNorm"
    )
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(load_gend(folder).score(images).fake, expected, atol=1e-5)
    import_gend(folder, tmp_path / "run")
    run = load_run(tmp_path / "run")
    np.testing.assert_allclose(run.task.score(images).fake, expected, atol=1e-5)
    assert run.spec == SPEC
    assert (run.spec.margin, run.spec.align) == (1.3, True)


def test_a_run_keeps_norms_and_head_and_reads_the_rest_from_the_checkpoint(tmp_path: Path) -> None:
    folder, clip, _ = published_clip(tmp_path)
    import_gend(folder, tmp_path / "run")
    kept = load_file(tmp_path / "run/weights.safetensors")
    norms = [module for module in clip.vision_model.modules() if isinstance(module, nn.LayerNorm)]
    assert len(kept) == 2 * len(norms) + 2
    with pytest.raises(UsageError, match="already holds a run"):
        import_gend(folder, tmp_path / "run")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"there is no file .*model\.safetensors"):
        load_run(tmp_path / "run")


def test_the_dino_variant_is_read_as_older_versions_named_its_layers(tmp_path: Path) -> None:
    config = DINOv3ViTConfig(**LAYERS, patch_size=8, image_size=32, num_register_tokens=2)  # type: ignore[arg-type]
    torch.manual_seed(0)
    own: Any = perturbed(DINOv3ViTModel(config))
    config.save_pretrained(tmp_path / "dino-tiny")
    linear = publish(tmp_path / "gend", str(tmp_path / "dino-tiny"), {"backbone": own}, "LinearNorm")
    file = tmp_path / "gend/model.safetensors"
    renamed = {
        name.replace("backbone.model.layer", "backbone.layer"): t for name, t in load_file(file).items()
    }
    save_file(renamed, file)
    images = pictures(4, 32)
    expected = plain(own(normalised(images, *IMAGENET)).last_hidden_state[:, 0], linear, normalise=True)
    np.testing.assert_allclose(load_gend(tmp_path / "gend").score(images).fake, expected, atol=1e-5)


def test_the_perception_encoder_variant_sees_224_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "vit_pe_core_tiny_patch16_384"
    small = {"depth": 2, "embed_dim": 64, "num_heads": 2}
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: create(*a, **{**small, **k}))
    torch.manual_seed(0)
    own: Any = perturbed(timm.create_model(name, num_classes=0, dynamic_img_size=True))
    linear = publish(tmp_path / "gend", name, {"backbone": own}, "LinearNorm")
    images = pictures(2, 224)
    expected = plain(own(normalised(images, (0.5,) * 3, (0.5,) * 3)), linear, normalise=True)
    np.testing.assert_allclose(load_gend(tmp_path / "gend").score(images).fake, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"head": "mlp"}, "linear or LinearNorm"),
        ({"model_type": "clip"}, "GenD checkpoint"),
        ({"backbone": "nobody/clip-unknown"}, "cannot load nobody/clip-unknown"),
        ({"backbone": "openai/clip-vit-base-patch32"}, "does not fit the encoder"),
    ],
)
def test_what_is_no_such_checkpoint_is_one_line(change: dict[str, str], says: str, tmp_path: Path) -> None:
    folder, _, _ = published_clip(tmp_path)
    about = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(about | change))
    with pytest.raises(UsageError, match=says) as caught:
        load_gend(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "missing", ["model.linear.bias", "feature_extractor.vision_model.post_layernorm.bias"]
)
def test_an_incomplete_checkpoint_is_refused(missing: str, tmp_path: Path) -> None:
    folder, _, _ = published_clip(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    del tensors[missing]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UsageError):
        load_gend(folder)
    with pytest.raises(UsageError, match="cannot be read"):
        load_gend(tmp_path / "nothing")


def test_the_command_makes_a_run(tmp_path: Path) -> None:
    folder, _, _ = published_clip(tmp_path)
    made = as_json("runs", "import", folder, "--workspace", tmp_path / "data", "--name", "published")
    assert load_run(Path(made["run"])).spec.model_dump() == made["spec"] == SPEC.model_dump()
    nowhere = mmidd("runs", "import", folder, "--workspace", tmp_path / "none", "--crops", "workspace")
    error_line(nowhere, 2)
