"""KFD's second stage (arXiv 2503.14853, section 3.2): a language model that answers by evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmidd.dialogue.conversation import SCORE_SLOT, Message
from mmidd.dialogue.opening import opening
from mmidd.dialogue.reading import read_label
from mmidd.errors import UsageError
from mmidd.schema import Label
from mmidd.spec import PreprocessSpec
from mmidd.training.config.kfd_llm import KfdLlmConfig
from mmidd.training.data import Batch
from mmidd.training.models.llm.evidence import Evidence, channels, evidence_of
from mmidd.training.models.llm.generate import Listener, write
from mmidd.training.models.llm.language import load_language
from mmidd.training.models.llm.prompt_learner import PromptLearner
from mmidd.training.models.llm.script import Script
from mmidd.training.models.llm.sequence import FORGERY, IGNORE, IMAGE, Padded, pad
from mmidd.training.models.weights import seeded
from mmidd.training.tasks.base import Features, Group, LossTerms, Scored, Task
from mmidd.training.tasks.kfd import Kfd

NO_DIALOGUES = (
    "the method learns from dialogues, and the samples have none; set online, or run `mmidd simulate`"
)

Messages = Sequence[Message]


@dataclass(frozen=True)
class Answer:
    """What was said.

    Attributes:
        text: without the mark of the end.
        complete: it ended by itself, not for want of room.
        label: what the text says of the image, None where it says neither.
        fake: P(yes) against P(no) at the first token, in [0, 1].
    """

    text: str
    complete: bool
    label: Label | None
    fake: float


class KfdLlm(Task[KfdLlmConfig]):
    """A frozen detector, the prompt learner, a projection of the visual embedding, and a language model.

    The score is P(yes) against P(no) at the first token of the answer to "is it a deepfake".

    Args:
        config: of the method.
        detector: a first stage that examines images, as `Kfd`; none is that of the settings, whose weights
            come with `start` or with those of a trained run.

    Raises:
        UsageError: no first stage in the settings; see `load_language` and `Script`.
    """

    def __init__(self, config: KfdLlmConfig, detector: Any = None) -> None:
        detector = detector or _first_stage(config)
        super().__init__(config, detector.size, channels(detector.mean), channels(detector.std))
        self._of_detector = tuple(detector.learned())
        self.detector = detector.requires_grad_(False).eval()
        self.language = load_language(config.llm, config.seed)
        self.script = Script(self.language.tokenizer, config.order, config.prompt.tokens)
        seen = self._evidence(torch.zeros(1, self.size, self.size, 3, dtype=torch.uint8))
        with seeded(config.seed):
            self.prompt = PromptLearner(config.prompt, seen.consistency.shape[1], self.language.width)
            self.projector = nn.Linear(seen.embedding.shape[1], self.language.width)

    def forward(self, batch: Batch) -> Features:
        """Of each dialogue (B,): `nll` summed over its answers, their `tokens`, and whether it was `cut`."""
        if len(batch.conversation) != len(batch) or not all(batch.conversation):
            raise UsageError(NO_DIALOGUES)
        evidence, context = self._evidence(batch.images), self.config.llm.context
        told = (torch.rand(len(batch)) >= self.config.drop_score).tolist()
        talks = zip(batch.conversation, evidence.scores[:, 1].tolist(), told, strict=True)
        encoded = [self.script.dialogue(talk, score, context, tell) for talk, score, tell in talks]
        padded = pad(encoded, "right", batch.images.device)
        nll = self._nll(padded, evidence)
        tokens = (padded.targets != IGNORE).sum(dim=1).float()
        return {"nll": nll, "tokens": tokens, "cut": nll.new_tensor([float(one.cut) for one in encoded])}

    def losses(self, features: Features, batch: Batch, generator: torch.Generator) -> LossTerms:
        """Cross-entropy per answer token, named by what the batch is about; the share of cut dialogues."""
        loss = features["nll"].sum() / features["tokens"].sum().clamp(min=1)
        about = "forgery" if any(map(is_about_forgery, batch.conversation)) else "general"
        return LossTerms(loss, {about: loss, "cut": features["cut"].mean()})

    def score_pixels(self, images: Tensor) -> Scored:
        """P(yes) of the plain question, and the detector's localisation maps."""
        evidence = self._evidence(images)
        padded = self._prompts(evidence, [(opening(),)] * len(images))
        fake = self._yes(self._embeddings(padded, evidence), padded)
        return Scored(fake, maps=evidence.location[:, 0])

    @torch.inference_mode()
    def evidence(self, images: Tensor) -> Evidence:
        """What the detector says of uint8 images (B, S, S, 3)."""
        return self._evidence(images.to(self.mean.device))

    @torch.inference_mode()
    def answer(
        self, evidence: Evidence, talks: Sequence[Messages], listener: Listener | None = None
    ) -> list[Answer]:
        """Answers to the last question of each dialogue, one dialogue per row of the evidence.

        Raises:
            UsageError: a dialogue leaves no room for an answer.
        """
        mode = self.training
        self.eval()
        padded = self._prompts(evidence, talks)
        embeddings = self._embeddings(padded, evidence)
        tokens = write(self.language, self.script, embeddings, padded, self.config.generation, listener)
        fake = self._yes(embeddings, padded).tolist()
        self.train(mode)
        written = [self.script.text(row) for row in tokens]
        return [
            Answer(text, complete, read_label(text, self.config.verdict), chance)
            for (text, complete), chance in zip(written, fake, strict=True)
        ]

    def start(self, spec: PreprocessSpec) -> None:
        """Take over the detector's weights.

        Raises:
            UsageError: its run is not there, or another than the settings describe.
            SpecMismatch: it was trained on other crops.
        """
        from mmidd.training.trained import about_run, put, read_tensors  # they build tasks

        run = Path(str(self.config.detector))
        about_run(run).spec.check_shards(spec, run)
        put(self._detectors(), read_tensors(run))

    def groups(self) -> list[Group]:
        """What learns of the language model at `lr`; prompt learner and projector at `new_lr`."""
        optim = self.config.optim
        new = Group(optim.new_lr or optim.lr, [*self.prompt.parameters(), *self.projector.parameters()])
        tuned = [p for p in self.language.parameters() if p.requires_grad]
        return [Group(optim.lr, tuned), new] if tuned else [new]

    def blocks(self) -> Sequence[nn.Module]:
        """Of the language model."""
        return self.language.blocks()

    def learned(self) -> dict[str, Tensor]:
        """What is trained here, and what the first stage had learned, as it was then."""
        return {**super().learned(), **{f"detector.{name}": x for name, x in self._detectors().items()}}

    def train(self, mode: bool = True) -> Self:
        """The detector's statistics stay."""
        super().train(mode)
        self.detector.eval()
        return self

    def _detectors(self) -> dict[str, Tensor]:
        """What the first stage had learned, by its own names."""
        state = self.detector.state_dict(keep_vars=True)
        return {name: state[name] for name in self._of_detector}

    def _evidence(self, images: Tensor) -> Evidence:
        with torch.no_grad():
            return evidence_of(self.detector.examine(images))

    def _embeddings(self, padded: Padded, evidence: Evidence) -> Tensor:
        """Token embeddings with the image's and the forgery's in their places."""
        text = self.language.embed(padded.ids)
        image = self.projector(evidence.embedding).to(text.dtype)
        mixed = torch.where((padded.ids == IMAGE)[..., None], image[:, None], text)
        places = padded.ids == FORGERY
        if not places.any():
            return mixed
        tokens = self.prompt(evidence.of(places.any(dim=1)))
        return mixed.masked_scatter(places[..., None], tokens.to(text.dtype))

    def _nll(self, padded: Padded, evidence: Evidence) -> Tensor:
        """Summed over the tokens of each row's answers (B,)."""
        targets = padded.targets[:, 1:]
        keep = (targets != IGNORE).any(dim=0).nonzero().flatten()
        logits = self.language(self._embeddings(padded, evidence), padded, keep)
        losses = F.cross_entropy(
            logits.transpose(1, 2), targets[:, keep], ignore_index=IGNORE, reduction="none"
        )
        return losses.sum(dim=1)

    def _prompts(self, evidence: Evidence, talks: Sequence[Messages]) -> Padded:
        scores = evidence.scores[:, 1].tolist()
        prompts = [self.script.prompt(talk, score) for talk, score in zip(talks, scores, strict=True)]
        longest, context = max(len(one.ids) for one in prompts), self.language.context
        if longest >= context:
            raise UsageError(
                f"the dialogue has {longest} tokens and the language model takes {context}; "
                "ask a shorter question, or begin again"
            )
        return pad(prompts, "left", evidence.scores.device)

    def _yes(self, embeddings: Tensor, padded: Padded) -> Tensor:
        """P(yes) against P(no) of the next token (B,), over their spellings."""
        logits = self.language(embeddings, padded, 1)[:, -1]
        sides = [logits[:, sorted(side)].logsumexp(dim=1) for side in (self.script.yes, self.script.no)]
        return torch.sigmoid(sides[0] - sides[1])


def _first_stage(config: KfdLlmConfig) -> Kfd:
    if config.first_stage is None:
        raise UsageError(
            "the settings lack first_stage, the detector's own; begin with `mmidd train kfd --stage llm`"
        )
    return Kfd(config.first_stage)


def is_about_forgery(messages: Messages) -> bool:
    """Whether the first question has a place for the detector's score."""
    return SCORE_SLOT in messages[0]["value"]
