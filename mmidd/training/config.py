"""Training configuration: frozen, typed, from YAML presets with dotted overrides.

Where a paper is silent, the default is the reading of the project's method notes and
therefore a field here. Importing this module loads no torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from mmidd.errors import UsageError
from mmidd.preprocess.blend.recipe import RecipeName
from mmidd.schema import Simulated
from mmidd.shards.sampling import Sampling
from mmidd.training.ranges import Augment


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VisionShape(_Frozen):
    """Size of a vision transformer; `head_width` must divide `width`, `patch_size` `image_size`."""

    image_size: int = Field(ge=16)
    patch_size: int = Field(ge=1)
    width: int = Field(ge=8)
    layers: int = Field(ge=1)
    head_width: int = Field(default=64, ge=1)
    mlp_ratio: float = Field(default=4.0, gt=0)


class TextShape(_Frozen):
    """Size of a text transformer; the vocabulary is always CLIP's 49,408 tokens."""

    context_length: int = Field(default=77, ge=8)
    width: int = Field(ge=8)
    heads: int = Field(ge=1)
    layers: int = Field(ge=1)


class ClipShape(_Frozen):
    """Size of a small CLIP with random initial weights; `stem` is explained in models/stem.py."""

    embed_dim: int = Field(ge=8)
    stem: Literal["patch", "conv"] = "patch"
    vision: VisionShape
    text: TextShape


class Backbone(_Frozen):
    """Which CLIP: an open_clip `name` with `weights` (a tag or a file), or a random `shape`."""

    name: str | None = None
    weights: str | None = None
    shape: ClipShape | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.name is None) == (self.shape is None):
            raise ValueError("set either name (with weights) or shape")
        if self.name is not None and self.weights is None:
            raise ValueError("name needs weights: an open_clip tag such as openai, or a checkpoint file")
        return self


class Optim(_Frozen):
    """AdamW with linear warm-up and cosine decay to `min_lr`, per cycle of `cycle_epochs` epochs.

    `warmup` is a share of the cycle; without `cycle_epochs` the whole run is one cycle.
    `new_lr` is the rate of randomly initialised modules; none means `lr`.
    """

    lr: float = Field(gt=0)
    new_lr: float | None = Field(default=None, gt=0)
    min_lr: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: float = Field(default=0.03, ge=0, lt=1)
    cycle_epochs: int | None = Field(default=None, ge=1)
    clip_norm: float | None = Field(default=None, gt=0)


class TrainConfig(_Frozen):
    """What every method shares.

    `trainable` says which backbone weights learn: `layernorm` (affine terms of the vision
    tower), `lora` or `all`. `batch` is what the losses see; `micro_batch` is what passes
    the encoders at once (features are cached, so the gradient is that of the whole batch).
    `simulated` says whether training sees the self-blended forgeries among the shards. With `online`,
    training and validation see real samples alone, each with a forgery of one of these recipes, drawn anew
    in every epoch of training; the fakes among the shards are left for the evaluation. `augment_on` says who
    renders the augmentation: the workers' `cpu`, or the `device` that trains.
    """

    backbone: Backbone
    trainable: Literal["layernorm", "lora", "all"]
    optim: Optim
    augment: Augment = Augment()
    augment_on: Literal["cpu", "device"] = "cpu"
    sampling: Sampling = Sampling()
    simulated: Simulated = Simulated.EXCLUDE
    online: tuple[RecipeName, ...] = ()
    batch: int = Field(ge=2)
    micro_batch: int = Field(ge=1)
    epochs: int = Field(ge=1)
    max_steps: int | None = Field(default=None, ge=1)
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    seed: int = Field(default=0, ge=0)
    workers: int = Field(default=0, ge=0)
    checkpoint_steps: int = Field(default=500, ge=1)
    max_bad_steps: int = Field(default=20, ge=1)

    @model_validator(mode="after")
    def _whole_batch(self) -> Self:
        shape = self.backbone.shape
        if shape and shape.stem == "conv" and self.micro_batch < self.batch:
            raise ValueError("stem=conv normalises over the batch; set micro_batch to batch")
        return self

    @model_validator(mode="after")
    def _one_kind_of_simulation(self) -> Self:
        if self.online and self.simulated is not Simulated.EXCLUDE:
            raise ValueError("online draws its own forgeries; leave simulated at exclude")
        return self


def _yaml_off(value: object) -> object:
    return "off" if value is False else value  # YAML reads a bare off as false


class LnclipConfig(TrainConfig):
    """LNCLIP-DF (arXiv 2508.06248): loss weights and slerp latent augmentation.

    `head_gain` multiplies the head's initial weights. On unit features a default head gives logits
    near zero; a backbone that starts from random weights then gets no steady direction.
    """

    method: Literal["lnclip"] = "lnclip"
    alignment: float = Field(default=0.1, ge=0)
    uniformity: float = Field(default=0.5, ge=0)
    slerp_mode: Annotated[Literal["expand", "replace", "off"], BeforeValidator(_yaml_off)] = "expand"
    slerp_k: int = Field(default=8, ge=1)
    head_gain: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _no_lora(self) -> Self:
        if self.trainable == "lora":
            raise ValueError("lnclip trains layernorm (the method) or all (a random backbone)")
        return self


class Lora(_Frozen):
    """LoRA on the attention projections of both towers."""

    rank: int = Field(default=8, ge=1)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    targets: tuple[Literal["q_proj", "k_proj", "v_proj", "out_proj", "c_fc", "c_proj"], ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "out_proj",
    )


class Sd2Config(TrainConfig):
    """SD2 (OpenReview hNd5L7WnjC): CLAM, adapter, the three losses and their scales.

    `adapter` is the printed formula (`literal`) or CLIP's own projection plus a
    zero-initialised correction (`residual`). `label_mode` is one sampled sentence per class
    and step or the mean of all.
    """

    method: Literal["sd2"] = "sd2"
    lora: Lora = Lora()
    clam_heads: int = Field(default=8, ge=1)
    adapter: Literal["literal", "residual"] = "literal"
    adapter_width: int = Field(default=1024, ge=1)
    label_mode: Literal["sample", "mean"] = "sample"
    alpha: float = Field(default=2.0, ge=0)
    contrast_scale: float = Field(default=10.0, gt=0)
    contrast_bias: float = -10.0

    @model_validator(mode="after")
    def _no_layernorm(self) -> Self:
        if self.trainable == "layernorm":
            raise ValueError("sd2 trains lora (the method) or all (a random backbone)")
        return self


METHODS: dict[str, type[TrainConfig]] = {"lnclip": LnclipConfig, "sd2": Sd2Config}


def load_preset(method: str, preset: str) -> TrainConfig:
    """The shipped configuration of a method.

    Raises:
        UsageError: unknown method or preset, with the names that exist.
    """
    if method not in METHODS:
        raise UsageError(f"unknown method {method!r}; choose from {', '.join(METHODS)}")
    folder = resources.files("mmidd.training.presets")
    entry = folder / f"{method}-{preset}.yaml"
    if not entry.is_file():
        names = sorted(
            p.name.removeprefix(f"{method}-").removesuffix(".yaml")
            for p in folder.iterdir()
            if p.name.startswith(f"{method}-")
        )
        raise UsageError(f"{method} has no preset {preset!r}; choose from {', '.join(names)}")
    return _validate(METHODS[method], _preset_data(method, preset))


def _preset_data(method: str, preset: str) -> dict[str, Any]:
    """The settings of a preset; `extends` names another preset of the method, whose settings it changes."""
    entry = resources.files("mmidd.training.presets") / f"{method}-{preset}.yaml"
    data: dict[str, Any] = yaml.safe_load(entry.read_text(encoding="utf-8"))
    base = data.pop("extends", None)
    return data if base is None else _merged(_preset_data(method, base), data)


def _merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    both = base | change
    inner = {k for k in base.keys() & change.keys() if isinstance(change[k], dict)}
    return both | {key: _merged(base[key], change[key]) for key in inner}


def load_config(path: Path) -> TrainConfig:
    """A resolved configuration as written into a run folder.

    Raises:
        UsageError: missing or invalid file.
    """
    if not path.is_file():
        raise UsageError(
            f"{path.parent} is no training run: {path.name} is missing; pass a folder under runs/"
        )
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    method = data.get("method") if isinstance(data, dict) else None
    if method not in METHODS:
        raise UsageError(
            f"{path}: method is {method!r}, not one of {', '.join(METHODS)}; train the run again"
        )
    return _validate(METHODS[method], data)


def dump_config(config: TrainConfig) -> str:
    """The resolved configuration as YAML, readable by `load_config`."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def apply_overrides(config: TrainConfig, overrides: Sequence[str]) -> TrainConfig:
    """The configuration with `key.path=value` changes; values are YAML.

    Raises:
        UsageError: unknown key (names the nearest), malformed or invalid value.
    """
    data = config.model_dump(mode="json")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UsageError(f"--set {override!r} has no '='; write --set optim.lr=1e-4")
        *parents, leaf = key.split(".")
        node: Any = data
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if not isinstance(node, dict) or leaf not in node:
            raise UsageError(f"no setting {key!r}; the nearest is {_nearest(key, _keys(data))!r}")
        try:
            node[leaf] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(f"--set {override!r}: the value is not YAML; quote it") from None
    return _validate(type(config), data)


def _validate(kind: type[TrainConfig], data: Any) -> TrainConfig:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "configuration"
        raise UsageError(f"{where}: {first['msg']}; correct it with --set or in the YAML file") from None


def _keys(data: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in data.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")


def _nearest(key: str, known: Iterable[str]) -> str:
    def likeness(candidate: str) -> float:
        whole = difflib.SequenceMatcher(None, key, candidate).ratio()
        leaf = difflib.SequenceMatcher(None, key.rsplit(".")[-1], candidate.rsplit(".")[-1]).ratio()
        return max(whole, leaf)

    return max(known, key=likeness)
