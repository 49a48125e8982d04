"""LTDD, stage 1 (arXiv 2605.31192): a frozen specialist's features beside a multimodal model's own.

The model is asked whether the face is real or fake and learns to answer in one token; asked to explain, it
writes first. Only LoRA on the model and the projector of the specialist's features learn, and only these are
saved, with digests of what they belong to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmidd.spec import PreprocessSpec
from mmidd.training.config.ltdd import LtddConfig
from mmidd.training.data import Batch
from mmidd.training.models.digest import digest
from mmidd.training.models.mllm.inputs import Inputs
from mmidd.training.models.mllm.model import load_generalist
from mmidd.training.models.mllm.projector import Projector
from mmidd.training.models.mllm.verdict import VerdictTokens
from mmidd.training.models.weights import seeded
from mmidd.training.rl.chain import Chain, read_chain
from mmidd.training.tasks.base import ConfigT, Described, Features, Group, LossTerms, Scored, Task
from mmidd.training.tasks.specialist import load_specialist, resized

FAKE = 1


@dataclass(frozen=True)
class Explanation:
    """What the model wrote of an image.

    Attributes:
        text: as it was written.
        chain: what can be read from it.
        fake: P(fake) against P(real) at the place of the verdict, in [0, 1].
        complete: it ended by itself, not for want of room.
    """

    text: str
    chain: Chain
    fake: float
    complete: bool


class Fusion(Task[ConfigT]):
    """A multimodal model that is shown a specialist's features: all but what it learns from.

    The score is P(fake) against P(real) of the one-token answer.

    Args:
        config: of the method.
        own: settings of the networks.

    Raises:
        UsageError: see `load_specialist`, `load_generalist` and `VerdictTokens`.
    """

    def __init__(self, config: ConfigT, own: LtddConfig) -> None:
        specialist, generalist = load_specialist(own), load_generalist(own.mllm, own.seed)
        super().__init__(config, max(generalist.image_size, specialist.size if specialist else 0))
        self.own, self.specialist, self.generalist = own, specialist, generalist
        self.verdict = VerdictTokens(generalist)
        with seeded(own.seed):
            self.projector = Projector(specialist.widths if specialist else (), generalist.width)

    @property
    def chains(self) -> int:
        """Explanations of an image that a vote is the mean of."""
        return self.own.chains

    def score_pixels(self, images: Tensor) -> Scored:
        """P(fake) of the direct answer; the method knows no types."""
        prompts = self._prompts(images, self.own.questions.direct)
        return Scored(self._fake(prompts.then_all(self.verdict.opening), self._tokens(images)))

    def describe_pixels(self, images: Tensor) -> Described:
        """What the language model reads the direct answer from."""
        prompts = self._prompts(images, self.own.questions.direct)
        inputs = prompts.then_all(self.verdict.opening)
        return Described(self.generalist.last_state(inputs, self._tokens(images)))

    @torch.inference_mode()
    def explain(self, images: Tensor, chains: int | None = None) -> list[list[Explanation]]:
        """Explanations of uint8 images (B, S, S, 3): one written greedily, or so many that are sampled."""
        with self.evaluating():
            images = images.to(self.mean.device)
            tokens, how = self._tokens(images), self.own.generation
            if chains:
                how = how.model_copy(update={"sample": True, "temperature": 1.0, "top_p": 1.0})
            count = chains or 1
            prompts = self._prompts(images.repeat_interleave(count, dim=0), self.own.questions.explain)
            shown = tokens.repeat_interleave(count, dim=0)
            said = self.generalist.write(prompts, shown, how)
            fake = self._fake(prompts.then_each([self.verdict.before(row) for row in said]), shown).tolist()
        read = [self._explanation(row, chance) for row, chance in zip(said, fake, strict=True)]
        return [read[first : first + count] for first in range(0, len(read), count)]

    def groups(self) -> list[Group]:
        """LoRA at `lr`, the projector at `new_lr`."""
        optim = self.config.optim
        rates = ((optim.lr, self.generalist), (optim.new_lr or optim.lr, self.projector))
        groups = [Group(lr, [p for p in module.parameters() if p.requires_grad]) for lr, module in rates]
        return [group for group in groups if group.parameters]

    def blocks(self) -> Sequence[nn.Module]:
        """Of the multimodal model's two towers."""
        return self.generalist.blocks()

    def learned(self) -> dict[str, Tensor]:
        """LoRA and projector, whichever of them is trained."""
        return {n: p for n, p in self.named_parameters() if ".lora_" in n or n.startswith("projector.")}

    def references(self) -> dict[str, str]:
        """The frozen weights: of the multimodal model, and of the specialist."""
        names = {"multimodal model": self.generalist.digest()}
        return names | ({"specialist": digest(self.specialist.state_dict())} if self.specialist else {})

    def train(self, mode: bool = True) -> Self:
        """The specialist stays as it is."""
        super().train(mode)
        if self.specialist:
            self.specialist.eval()
        return self

    def _prompts(self, images: Tensor, question: str) -> Inputs:
        if self.specialist:
            places = self.own.mllm.place * self.specialist.tokens
            question = f"{self.own.questions.specialist} {places}\n{question}"
        seen = resized(images, self.generalist.image_size).permute(0, 3, 1, 2)
        return self.generalist.prompts(list(seen), [question] * len(seen))

    def _tokens(self, images: Tensor) -> Tensor:
        """The specialist's tokens (B, K, width)."""
        if self.specialist is None:
            return images.new_empty((len(images), 0, self.generalist.width), dtype=torch.float32)
        projected: Tensor = self.projector(self.specialist(images))
        return projected

    def _fake(self, inputs: Inputs, tokens: Tensor) -> Tensor:
        """P(fake) (B,) of what follows."""
        logits = self.generalist(inputs, tokens, 1)[:, 0]
        return self.verdict.two_way(logits).softmax(dim=-1)[:, FAKE]

    def _explanation(self, said: list[int], fake: float) -> Explanation:
        text = self.generalist.decode(said).strip()
        return Explanation(text, read_chain(text), fake, bool(said) and said[-1] in self.generalist.ends)


class Ltdd(Fusion[LtddConfig]):
    """The `ltdd` method's first stage."""

    def __init__(self, config: LtddConfig) -> None:
        super().__init__(config, config)

    def start(self, spec: PreprocessSpec) -> None:
        """Check that the specialist knows such crops.

        Raises:
            SpecMismatch: it was trained on others.
        """
        from mmidd.training.trained import about_run  # it builds tasks

        if self.own.specialist:
            run = Path(self.own.specialist)
            about_run(run).spec.check_shards(spec, run)

    def forward(self, batch: Batch) -> Features:
        """Logits of real and fake `verdict` (B, 2), cross-entropy a token of what follows `closing` (B,)."""
        answers = torch.tensor(
            [
                [*self.verdict.opening, self.verdict.words[label], *self.verdict.closing]
                for label in batch.label
            ],
            device=batch.images.device,
        )
        inputs = self._prompts(batch.images, self.own.questions.direct).then(answers)
        rest = len(self.verdict.closing)
        logits = self.generalist(inputs, self._tokens(batch.images), rest + 2)
        closing = F.cross_entropy(logits[:, 1:-1].transpose(1, 2), answers[:, -rest:], reduction="none")
        return {"verdict": self.verdict.two_way(logits[:, 0]), "closing": closing.mean(dim=1)}

    def losses(self, features: Features, batch: Batch, generator: torch.Generator) -> LossTerms:
        """Cross-entropy between real and fake, and of what follows the word."""
        parts = {
            "verdict": F.cross_entropy(features["verdict"], batch.label),
            "closing": features["closing"].mean(),
        }
        return LossTerms(parts["verdict"] + self.config.closing * parts["closing"], parts)
