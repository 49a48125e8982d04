"""LTDD, stage 2 (arXiv 2605.31192): explanations that are rewarded by the verdict they lead to.

Of every image the policy writes a group of explanations, each with a verdict. A better reward than the
group's mean makes a completion likelier, a worse one unlikelier (GRPO). No explanation is ever shown to it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmidd.errors import UsageError
from mmidd.schema import Label
from mmidd.spec import PreprocessSpec
from mmidd.training.config.llm import Generation
from mmidd.training.config.ltdd import LtddConfig
from mmidd.training.config.ltdd_rl import LtddRlConfig
from mmidd.training.data import Batch
from mmidd.training.models.mllm.inputs import side_by_side
from mmidd.training.rl import grpo
from mmidd.training.rl.chain import read_chain
from mmidd.training.rl.form import form
from mmidd.training.rl.guard import Answers, Guard
from mmidd.training.rl.rewards import score
from mmidd.training.rl.rollout import Form, Rollout, agreement, mask_of
from mmidd.training.tasks.base import Features, LossTerms
from mmidd.training.tasks.ltdd import Fusion

LABELS = (Label.REAL, Label.FAKE)


class LtddRl(Fusion[LtddRlConfig]):
    """The `ltdd` method's second stage; LoRA alone learns, without dropout, so that all ratios begin at 1.

    Raises:
        UsageError: no first stage in the settings; see `Fusion`.
    """

    def __init__(self, config: LtddRlConfig) -> None:
        super().__init__(config, _first_stage(config))
        self.projector.requires_grad_(False)
        self.guard = Guard(config.grpo.collapse)
        self._began: dict[str, Tensor] | None = None

    def start(self, spec: PreprocessSpec) -> None:
        """Take over the first stage's weights.

        Raises:
            UsageError: its run is not there, or what it builds on has changed.
            SpecMismatch: it was trained on other crops.
        """
        from mmidd.training.trained import about_run, check_references, put, read_tensors  # they build tasks

        run = Path(str(self.config.policy))
        about = about_run(run)
        about.spec.check_shards(spec, run)
        check_references(run, about.references, self)
        put(self.learned(), read_tensors(run))

    def act(self, batch: Batch, step: int, seed: int) -> Batch:
        """The batch with what the policy writes of its images, or with the form alone."""
        if step < self.config.form_steps:
            return replace(batch, rollouts=tuple(self._forms(batch, random.Random(seed))))
        torch.manual_seed(seed)
        with self.evaluating(), torch.no_grad():
            parts = batch.split(-(-len(batch) // self.config.micro_batch))
            return replace(batch, rollouts=tuple(one for part in parts for one in self._rollouts(part)))

    def forward(self, batch: Batch) -> Features:
        """Of the completions' tokens `log_probs` and `entropy`, (B, G, longest possible), 0 behind them."""
        rows = [said for one in batch.rollouts for said in one.said]
        logits, said, mask = self._read(batch.images, rows)
        log_probs = grpo.token_log_probs(logits, said, self.config.grpo.temperature) * mask
        with torch.no_grad():
            spread = grpo.entropy(logits, self.config.grpo.temperature) * mask
        room = self._longest - log_probs.shape[1]
        shape = (len(batch), -1, self._longest)
        return {
            "log_probs": F.pad(log_probs, (0, room)).reshape(shape),
            "entropy": F.pad(spread, (0, room)).reshape(shape),
        }

    def losses(self, features: Features, batch: Batch, generator: torch.Generator) -> LossTerms:
        """The policy's loss, and what its completions are like; likelihood of the form in the first steps.

        Raises:
            PolicyCollapsed: see `Guard`.
        """
        if isinstance(batch.rollouts[0], Form):
            return self._form_loss(features["log_probs"], batch.rollouts)
        rollouts, config = batch.rollouts, self.config.grpo
        log_probs = features["log_probs"].flatten(0, 1)
        mask = mask_of(rollouts, self._longest, config.mask_truncated).to(log_probs.device)
        rewards = torch.stack([one.rewards for one in rollouts])
        gains = grpo.advantages(rewards, config.scale).flatten().to(log_probs.device)
        totals = grpo.Totals.of(mask)
        reference = _reference(rollouts, log_probs)
        loss = grpo.policy_loss(log_probs, log_probs.detach(), reference, gains, mask, totals, config)
        spread = (features["entropy"].flatten(0, 1) * mask).sum() / max(totals.tokens, 1)
        self._watch(batch)
        parts = {"kl": loss.kl, "clipped": loss.clipped, "entropy": spread, **_shown(rollouts, rewards)}
        return LossTerms(loss.total, {name: value.detach() for name, value in parts.items()})

    def carried(self) -> dict[str, Any]:
        """What the guard remembers."""
        return self.guard.state_dict()

    def carry_on(self, carried: dict[str, Any]) -> None:
        """Go on with that."""
        self.guard.load_state_dict(carried)

    @property
    def _longest(self) -> int:
        return self.config.grpo.max_new_tokens

    def _forms(self, batch: Batch, draws: random.Random) -> Iterator[Form]:
        for part in batch.split(-(-len(batch) // self.config.micro_batch)):
            for fake in self.score(part.images).fake.tolist():
                shown = form(self.generalist, self.verdict, fake, draws)
                if (length := len(shown.said[0])) > self._longest:
                    raise UsageError(
                        f"the form takes {length} tokens; --set grpo.max_new_tokens higher, or form_steps=0"
                    )
                yield shown

    def _rollouts(self, batch: Batch) -> Iterator[Rollout]:
        config = self.config.grpo
        how = Generation(
            max_new_tokens=config.max_new_tokens, sample=True, top_p=1.0, temperature=config.temperature
        )
        images, tokens = self._repeated(batch.images, config.group)
        said = self.generalist.write(self._prompts(images, self.own.questions.explain), tokens, how)
        texts = [self.generalist.decode(row).strip() for row in said]
        labels = [LABELS[label] for label in batch.label.tolist() for _ in range(config.group)]
        earned = score(texts, labels, self.config.rewards)
        reference = self._by_reference(batch, said) if config.beta else None
        for first in range(0, len(said), config.group):
            group = slice(first, first + config.group)
            yield Rollout(
                said=tuple(map(tuple, said[group])),
                ended=tuple(row[-1:] != [] and row[-1] in self.generalist.ends for row in said[group]),
                chains=tuple(map(read_chain, texts[group])),
                rewards=earned.rewards[group],
                terms={name: values[group] for name, values in earned.terms.items()},
                reference=None if reference is None else reference[group].cpu(),
            )

    def _read(self, images: Tensor, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B x G, T, V) of the tokens (B x G, T) of G completions of each image, these, their mask."""
        said, mask = side_by_side(rows, self.generalist.ends[0], images.device)
        repeated, tokens = self._repeated(images, len(rows) // len(images))
        inputs = self._prompts(repeated, self.own.questions.explain).then(said, mask)
        return self.generalist(inputs, tokens, said.shape[1] + 1)[:, :-1], said, mask

    def _repeated(self, images: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Images and the specialist's tokens, each so many times."""
        tokens = self._tokens(images)
        return images.repeat_interleave(count, dim=0), tokens.repeat_interleave(count, dim=0)

    def _by_reference(self, batch: Batch, said: Sequence[Sequence[int]]) -> Tensor:
        """Log-probabilities by the policy that the run began with, (B x G, longest possible)."""
        with self._as_it_began():
            logits, tokens, mask = self._read(batch.images, said)
            log_probs = grpo.token_log_probs(logits, tokens, self.config.grpo.temperature) * mask
        return F.pad(log_probs, (0, self._longest - log_probs.shape[1]))

    @contextmanager
    def _as_it_began(self) -> Iterator[None]:
        from mmidd.training.trained import put, read_tensors  # they build tasks

        began = self._began = self._began or read_tensors(Path(str(self.config.policy)))
        now = {name: tensor.detach().clone() for name, tensor in self.learned().items()}
        put(self.learned(), began)
        try:
            yield
        finally:
            put(self.learned(), now)

    def _form_loss(self, log_probs: Tensor, forms: Sequence[Form]) -> LossTerms:
        loss = -log_probs.sum() / sum(len(one.said[0]) for one in forms)
        return LossTerms(loss, {"form": loss})

    def _watch(self, batch: Batch) -> None:
        chains = [chain for one in batch.rollouts for chain in one.chains]
        labels = [LABELS[label] for label in batch.label.tolist() for _ in range(self.config.grpo.group)]
        self.guard.watch(Answers.of(chains, labels))


def _shown(rollouts: Sequence[Rollout], rewards: Tensor) -> dict[str, Tensor]:
    """What is logged of a step's completions: means of rewards, of their terms, and of what they are like."""
    words = [float(chain.words) for one in rollouts for chain in one.chains]
    ended = [float(value) for one in rollouts for value in one.ended]
    terms = {name: torch.cat([one.terms[name] for one in rollouts]).mean() for name in rollouts[0].terms}
    return {
        "reward": rewards.mean(),
        **{f"reward_{name}": value for name, value in terms.items()},
        "words": torch.tensor(words).mean(),
        "tokens": torch.tensor([float(len(said)) for one in rollouts for said in one.said]).mean(),
        "ended": torch.tensor(ended).mean(),
        "agreement": torch.tensor(agreement(rollouts)),
        "idle": grpo.idle_groups(rewards),
    }


def _reference(rollouts: Sequence[Rollout], like: Tensor) -> Tensor | None:
    found = [one.reference for one in rollouts if one.reference is not None]
    return torch.cat(found).to(like.device) if found else None


def _first_stage(config: LtddRlConfig) -> LtddConfig:
    """Of which LoRA has no dropout now."""
    if config.first_stage is None:
        raise UsageError(
            "the settings lack first_stage, the policy's own; begin with `mmidd train ltdd --stage rl`"
        )
    own = config.first_stage.mllm
    still = {
        name: lora.model_copy(update={"dropout": 0.0})
        for name, lora in (("vision_lora", own.vision_lora), ("language_lora", own.language_lora))
        if lora
    }
    return config.first_stage.model_copy(update={"mllm": own.model_copy(update=still)})
