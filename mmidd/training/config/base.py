"""What every method shares."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from mmidd.evaluation.protocol import Aggregation, Level
from mmidd.preprocess.blend.recipe import RecipeName
from mmidd.schema import Simulated
from mmidd.shards.sampling import Sampling
from mmidd.training.config.backbone import Backbone, Frozen
from mmidd.training.ranges import Augment


class Optim(Frozen):
    """The optimiser, with linear warm-up and decay to `min_lr`, per cycle of `cycle_epochs` epochs.

    Attributes:
        name: `sgd` takes the first of `betas` as its momentum.
        new_lr: rate of randomly initialised modules; none means `lr`.
        warmup: share of a cycle.
        hold: share of a cycle after which the decay begins; until then the rate stays at its top.
        decay: its form.
        warm_cycles: which cycles warm up; the others start at the top.
        cycle_epochs: none means that the run is one cycle.
        clip_norm: largest norm of the gradient of all weights.
        sam: radius of sharpness-aware minimisation (arXiv 2010.01412), which doubles the work; none is off.
        ema: decay per step of the moving average of the weights that is validated and kept; none is off.
    """

    name: Literal["adamw", "sgd"] = "adamw"
    lr: float = Field(gt=0)
    new_lr: float | None = Field(default=None, gt=0)
    min_lr: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: float = Field(default=0.03, ge=0, lt=1)
    hold: float = Field(default=0.0, ge=0, lt=1)
    decay: Literal["cosine", "linear"] = "cosine"
    warm_cycles: Literal["all", "first"] = "all"
    cycle_epochs: int | None = Field(default=None, ge=1)
    clip_norm: float | None = Field(default=None, gt=0)
    sam: float | None = Field(default=None, gt=0)
    ema: float | None = Field(default=None, gt=0, lt=1)


class Validation(Frozen):
    """How epochs are compared, and which are kept.

    Attributes:
        level: of the AUC on the validation split; see `evaluation.protocol`.
        aggregation: from frames to a video.
        prefer: the epochs with the best AUC, or the last ones, where training aims at something else.
    """

    level: Level = Level.VIDEO
    aggregation: Aggregation = Aggregation.MEAN
    prefer: Literal["best", "last"] = "best"


class Keep(Frozen):
    """What a run leaves on disk beside the best weights.

    Attributes:
        every: steps between states to resume from; one is saved after every epoch and on a signal, too.
        states: how many of the latest are kept.
        epochs: weights of so many of the best epochs are kept.
    """

    every: int = Field(default=500, ge=1)
    states: int = Field(default=1, ge=1)
    epochs: int = Field(default=1, ge=1)


class TrainConfig(Frozen):
    """What every method shares.

    Attributes:
        augment_on: who renders the augmentation: the workers' `cpu`, or the `device` that trains.
        simulated: whether training sees the self-blended forgeries among the shards.
        online: training and validation see real samples alone, each with a forgery of one of these recipes,
            drawn anew in every epoch of training; the fakes among the shards are left for the evaluation.
        reals: so many of the training reals are used, of as many people and videos as can be; none is all.
            See `training.fewer`.
        batch: what the losses see, over all ranks.
        micro_batch: what passes the encoders at once; features are cached, so the gradient is that of the
            whole batch.
        gradient_checkpointing: transformer blocks are computed again in the backward pass, to save memory.
        compile: transformer blocks go through `torch.compile`.
        strategy: with several processes, whether each holds all weights (`ddp`) or a share of the
            transformer blocks' (`fsdp`).
        workers: processes that fill batches, per rank.
        max_bad_steps: so many steps in a row without a finite loss and gradient end the run.
        wandb: project of Weights & Biases to log to as well.
        needs_masks: whether batches hold the masks of forgeries.
        builds_on: which of the settings names a run that this one builds on.
    """

    backbone: Backbone
    optim: Optim
    augment: Augment = Augment()
    augment_on: Literal["cpu", "device"] = "cpu"
    sampling: Sampling = Sampling()
    simulated: Simulated = Simulated.EXCLUDE
    online: tuple[RecipeName, ...] = ()
    reals: int | None = Field(default=None, ge=1)
    batch: int = Field(ge=2)
    micro_batch: int = Field(ge=1)
    epochs: int = Field(ge=0)
    max_steps: int | None = Field(default=None, ge=1)
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    gradient_checkpointing: bool = False
    compile: bool = False
    strategy: Literal["ddp", "fsdp"] = "ddp"
    seed: int = Field(default=0, ge=0)
    workers: int = Field(default=0, ge=0)
    max_bad_steps: int = Field(default=20, ge=1)
    validation: Validation = Validation()
    keep: Keep = Keep()
    wandb: str | None = None

    needs_masks: ClassVar[bool] = False
    builds_on: ClassVar[str | None] = None

    @property
    def normalises_over_the_batch(self) -> bool:
        """Whether an encoder has batch normalisation, so that a batch must pass it at once."""
        return self.backbone.normalises_over_the_batch

    def loads(self) -> list[tuple[str, str]]:
        """Names of the pretrained models that the method takes, and which weights of theirs."""
        return [(self.backbone.name, str(self.backbone.weights))] if self.backbone.name else []

    def beside(self, runs: Path) -> Self:
        """With the runs it builds on taken from a folder of runs, where they are not in their place."""
        return self

    @model_validator(mode="after")
    def _whole_batch(self) -> Self:
        if self.normalises_over_the_batch and self.micro_batch < self.batch:
            raise ValueError("the encoder normalises over the batch; set micro_batch to batch")
        return self

    @model_validator(mode="after")
    def _one_kind_of_simulation(self) -> Self:
        if self.online and self.simulated is not Simulated.EXCLUDE:
            raise ValueError("online draws its own forgeries; leave simulated at exclude")
        if self.augment.by_pair and not self.online:
            raise ValueError("augment.by_pair is for pairs that are drawn online; set online")
        if self.reals is not None and not self.online:
            raise ValueError("reals is for training on reals and what is drawn from them online; set online")
        return self
