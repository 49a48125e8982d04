"""The two methods as one writes them with transformers and PEFT, for the training benchmark.

They start from the weights of our task and give the same loss. What is ours in them: the formulas of
`mmidd.training.losses`, interpolation, and the modules that are new in the papers (head, CLAM, adapter).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from benchmarks.training_weights import transformers_clip
from mmidd.training import losses
from mmidd.training.config import LnclipConfig, Lora, Sd2Config
from mmidd.training.config.labels import Labels
from mmidd.training.models.slerp import augment
from mmidd.training.tasks.lnclip import Lnclip
from mmidd.training.tasks.sd2 import Sd2

Item = dict[str, Tensor]


class Reference(nn.Module):
    """A method whose `forward` is the total loss of a batch.

    A batch is `images` (B, S, S, 3) uint8, `label`, `type` and, where `context` is set, `tokens`
    (B, 2, context) of the two captions.
    """

    context: int | None = None
    mean: Tensor
    std: Tensor

    def __init__(self, towers: Sequence[Any]) -> None:
        super().__init__()
        self.towers: Any = nn.ModuleList(towers)
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
        vision = transformers_clip(task.encoder.tower, None).vision_model.requires_grad_(False)
        super().__init__([vision])
        self.config: LnclipConfig = task.config
        self.vision, self.head = vision, copy.deepcopy(task.head)
        for module in vision.modules():
            if isinstance(module, nn.LayerNorm):
                module.requires_grad_(True)

    def forward(self, batch: Item, generator: torch.Generator) -> Tensor:
        """See `Reference`."""
        config, labels = self.config, batch["label"]
        z = F.normalize(self.vision(self.pixels(batch["images"])).pooler_output.float(), dim=-1)
        if config.variant == "lnclip-df":
            z, labels = augment(z, labels, config.slerp_mode, config.slerp_k, generator)
        spread = config.alignment * losses.alignment(z, labels) + config.uniformity * losses.uniformity(z)
        return F.cross_entropy(self.head(z), labels) + spread


class ReferenceSd2(Reference):
    """CLIP with LoRA on both towers, CLAM on the layers' class tokens, and three text losses."""

    def __init__(self, task: Sd2) -> None:
        clip: Any = task.clip
        plain = {name.replace("base_layer.", ""): value for name, value in clip.state_dict().items()}
        adapted = _with_lora(transformers_clip(clip.visual, clip, plain), task.config.lora)
        super().__init__([adapted.vision_model, adapted.text_model])
        self.config: Sd2Config = task.config
        self.clip, self.context = adapted, clip.context_length
        self.clip.logit_scale.requires_grad_(True)
        self.clam = copy.deepcopy(task.clam)
        self.scale = nn.Parameter(task.contrast_log_scale.detach().clone())
        self.bias = nn.Parameter(task.contrast_bias.detach().clone())

    def forward(self, batch: Item, generator: torch.Generator) -> Tensor:
        """See `Reference`."""
        f = self._images(batch["images"])
        u = self._texts(self._classes(generator).to(f.device))
        d = self._texts(batch["tokens"].flatten(0, 1)).view(len(f), 2, -1)
        scale, bias = self.scale.exp(), self.bias
        contrasts = [losses.sigmoid_contrast(f, d[:, k], scale, bias) for k in range(2)]
        kinds = losses.type_classification(f, batch["type"], u, self.clip.logit_scale.exp())
        return self.config.alpha * kinds + losses.label_separation(u) + torch.stack(contrasts).sum()

    def _images(self, images: Tensor) -> Tensor:
        vision = self.clip.vision_model
        states = vision(self.pixels(images), output_hidden_states=True).hidden_states[1:]
        tokens = vision.post_layernorm(torch.stack([state[:, 0] for state in states], dim=1))
        return F.normalize(self.clam(tokens, self.clip.visual_projection.weight.T).float(), dim=-1)

    def _texts(self, tokens: Tensor) -> Tensor:
        pooled = self.clip.text_model(tokens).pooler_output
        return F.normalize(self.clip.text_projection(pooled).float(), dim=-1)

    def _classes(self, generator: torch.Generator) -> Tensor:
        groups = Labels().classes
        picks = [int(torch.randint(len(group), (), generator=generator)) for group in groups]
        return tokenised([group[i] for group, i in zip(groups, picks, strict=True)], self.context)


def tokenised(texts: list[str], context: int | None) -> Tensor:
    """Tokens (n, context), cut at that length."""
    tokens: Tensor = open_clip.tokenize(texts, context_length=context)
    return tokens


def reference(task: Any) -> Reference:
    """The reference of a task, in training mode."""
    return (ReferenceLnclip(task) if isinstance(task, Lnclip) else ReferenceSd2(task)).train()


def _with_lora(model: Any, lora: Lora) -> Any:
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(lora.targets)
    )
    return inject_adapter_in_model(config, model.requires_grad_(False))
