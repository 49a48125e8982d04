"""The two methods as one writes them with transformers and PEFT, for the training benchmark.

They start from the weights of our task and give the same loss. What is ours in them: the formulas of
`mmidd.training.losses`, interpolation, and the modules that are new in the papers (head, CLAM, adapter).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from mmidd.training import losses
from mmidd.training.config import LnclipConfig, Lora, Sd2Config
from mmidd.training.labels import label_sentences
from mmidd.training.models.slerp import augment
from mmidd.training.tasks.lnclip import Lnclip
from mmidd.training.tasks.sd2 import Sd2

Item = dict[str, Tensor]
BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    **{f"attn.{name}": f"self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "out_proj")},
}
VISION = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_pre": "pre_layrnorm",
    "ln_post": "post_layernorm",
}
TEXT = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final": "final_layer_norm",
}


class Reference(nn.Module):
    """A method whose `forward` is the total loss of a batch.

    A batch is `images` (B, S, S, 3) uint8, `label`, `type` and, where `context` is set, `tokens`
    (B, 2, context) of the two captions.
    """

    context: int | None = None

    def __init__(self, towers: Sequence[Any]) -> None:
        super().__init__()
        self.towers = nn.ModuleList(towers)
        for name, values in (("mean", open_clip.OPENAI_DATASET_MEAN), ("std", open_clip.OPENAI_DATASET_STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1))

    def forward(self, batch: Item, generator: torch.Generator) -> Tensor:
        """Of the whole batch."""
        raise NotImplementedError

    def pixels(self, images: Tensor) -> Tensor:
        """Normalised (B, 3, S, S)."""
        return (images.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std

    def compile_encoders(self) -> None:
        """Both towers through `torch.compile`."""
        for tower in self.towers:
            tower.compile()

    def checkpoint(self) -> None:
        """Blocks are computed again in the backward pass."""
        for tower in self.towers:
            tower.gradient_checkpointing_enable({"use_reentrant": False})


class ReferenceLnclip(Reference):
    """CLIP's vision tower in which LayerNorms learn, and a head."""

    def __init__(self, task: Lnclip) -> None:
        tower: Any = task.encoder.tower
        self.config: LnclipConfig = task.config
        self.vision = _model(tower, None).vision_model.requires_grad_(False)
        for module in self.vision.modules():
            if isinstance(module, nn.LayerNorm):
                module.requires_grad_(True)
        self.head = copy.deepcopy(task.head)

    def forward(self, batch: Batch, tokens: Tensor | None, generator: torch.Generator) -> Tensor:
        """See `Reference`."""
        config = self.config
        z = F.normalize(self.vision(self.pixels(batch.images)).pooler_output.float(), dim=-1)
        labels = batch.label
        if config.variant == "lnclip-df":
            z, labels = augment(z, labels, config.slerp_mode, config.slerp_k, generator)
        spread = config.alignment * losses.alignment(z, labels) + config.uniformity * losses.uniformity(z)
        return F.cross_entropy(self.head(z), labels) + spread


class ReferenceSd2(Reference):
    """CLIP with LoRA on both towers, CLAM on the layers' class tokens, and three text losses."""

    def __init__(self, task: Sd2) -> None:
        super().__init__()
        self.config: Sd2Config = task.config
        clip: Any = task.clip
        self.context = clip.context_length
        plain = {name.replace("base_layer.", ""): value for name, value in clip.state_dict().items()}
        self.clip = _with_lora(_model(clip.visual, clip, plain), self.config.lora)
        self.clip.logit_scale.requires_grad_(True)
        self.clam = copy.deepcopy(task.clam)
        self.scale = nn.Parameter(task.contrast_log_scale.detach().clone())
        self.bias = nn.Parameter(task.contrast_bias.detach().clone())

    def forward(self, batch: Batch, tokens: Tensor | None, generator: torch.Generator) -> Tensor:
        """See `Reference`."""
        assert tokens is not None
        f, u = self._images(batch.images), self._texts(self._classes(generator).to(batch.label.device))
        d = self._texts(tokens.flatten(0, 1)).unflatten(0, (-1, 2))
        contrast = sum(losses.sigmoid_contrast(f, d[:, k], self.scale.exp(), self.bias) for k in range(2))
        kinds = losses.type_classification(f, batch.type, u, self.clip.logit_scale.exp())
        return self.config.alpha * kinds + losses.label_separation(u) + contrast

    def _images(self, images: Tensor) -> Tensor:
        vision = self.clip.vision_model
        states = vision(self.pixels(images), output_hidden_states=True).hidden_states[1:]
        tokens = vision.post_layernorm(torch.stack([state[:, 0] for state in states], dim=1))
        projection = self.clip.visual_projection.weight.T
        return F.normalize(self.clam(tokens, projection).float(), dim=-1)

    def _texts(self, tokens: Tensor) -> Tensor:
        pooled = self.clip.text_model(tokens).pooler_output
        return F.normalize(self.clip.text_projection(pooled).float(), dim=-1)

    def _classes(self, generator: torch.Generator) -> Tensor:
        groups = list(label_sentences().values())
        picks = [int(torch.randint(len(group), (), generator=generator)) for group in groups]
        texts = [group[i] for group, i in zip(groups, picks, strict=True)]
        return open_clip.tokenize(texts, context_length=self.context)


def reference(task: Any) -> Reference:
    """The reference of a task, in training mode."""
    return (ReferenceLnclip(task) if isinstance(task, Lnclip) else ReferenceSd2(task)).train()


def _with_lora(model: Any, lora: Lora) -> Any:
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(lora.targets)
    )
    return inject_adapter_in_model(config, model.requires_grad_(False))


def _model(visual: Any, clip: Any, weights: dict[str, Tensor] | None = None) -> Any:
    """transformers' CLIP with the weights of open_clip's towers; without `clip` the text tower stays random."""
    vision = _shape(visual.transformer) | {
        "image_size": visual.image_size[0],
        "patch_size": visual.conv1.kernel_size[0],
    }
    text = _shape(clip.transformer) | {"max_position_embeddings": clip.context_length} if clip else {}
    shared = clip.text_projection.shape[1] if clip else 8
    model: Any = CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=shared))
    if clip is None:
        _load(model.vision_model, visual.state_dict(), VISION)
        return model
    assert weights is not None
    towers = {name.removeprefix("visual."): v for name, v in weights.items() if name.startswith("visual.")}
    _load(model.vision_model, towers, VISION)
    _load(model.text_model, weights, TEXT)
    with torch.no_grad():
        model.visual_projection.weight.copy_(weights["visual.proj"].T)
        model.text_projection.weight.copy_(weights["text_projection"].T)
        model.logit_scale.copy_(weights["logit_scale"])
    return model


def _shape(transformer: Any) -> dict[str, Any]:
    block = transformer.resblocks[0]
    hidden, width = block.mlp.c_fc.weight.shape
    quick = type(block.mlp.gelu).__name__ == "QuickGELU"
    return {
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": len(transformer.resblocks),
        "num_attention_heads": block.attn.heads,
        "hidden_act": "quick_gelu" if quick else "gelu",
    }


def _load(module: nn.Module, weights: dict[str, Tensor], names: dict[str, str]) -> None:
    """Every weight of the module by the name that transformers gives it."""
    wanted = dict(_renamed(weights, names))
    module.load_state_dict({name: wanted[name] for name in module.state_dict()})


def _renamed(weights: dict[str, Tensor], names: dict[str, str]) -> Iterator[tuple[str, Tensor]]:
    for name, value in weights.items():
        if name.startswith("transformer.resblocks."):
            number, inner = name.removeprefix("transformer.resblocks.").split(".", 1)
            stem, _, leaf = inner.rpartition(".")
            yield f"encoder.layers.{number}.{BLOCK.get(stem, stem)}.{leaf}", value
        elif name in names:
            yield names[name], value
        else:
            stem, _, leaf = name.rpartition(".")
            yield f"{names.get(stem, stem)}.{leaf}", value
