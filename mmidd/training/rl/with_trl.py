"""TRL's own GRPO trainer on a plain multimodal model, with our rewards, settings and optimiser.

It hands on no tensors but those it knows, so that a specialist's tokens would be lost (methods 5.5).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypedDict

import torch
from PIL.Image import Image
from torch import nn

from mmidd.errors import MissingExtra, UsageError
from mmidd.schema import Label
from mmidd.training.config.ltdd_rl import LtddRlConfig
from mmidd.training.config.rewards import Rewards
from mmidd.training.log import Log
from mmidd.training.optimiser import build_optimiser
from mmidd.training.rl.chain import read_chain
from mmidd.training.rl.guard import Answers, Guard
from mmidd.training.rl.rewards import TERMS
from mmidd.training.schedule import lr_factor
from mmidd.training.tasks.base import Group

Curves = dict[str, list[float]]
_Reward = Callable[..., Sequence[float | None]]


class Row(TypedDict):
    """A picture, what is asked of it as chat messages with plain text, and what is true of it."""

    prompt: list[dict[str, str]]
    image: Image
    label: Label


def train_with_trl(
    model: Any,
    processor: Any,
    rows: Iterable[Row],
    config: LtddRlConfig,
    run_dir: Path,
    steps: int,
    use_vllm: bool = False,
) -> Curves:
    """Train what requires a gradient of a model, in place, in one process; its dropout stays off.

    Nothing is validated and no state is kept on the way.
    TRL tells Hugging Face's servers that it is used unless HF_HUB_DISABLE_TELEMETRY=1.

    Args:
        model: for images and text, of transformers, or a `PeftModel` of one.
        processor: the model's.
        rows: of an epoch, which are taken in this order again and again.
        config: `batch` pictures make a step, `micro_batch` completions pass the model at once; optimiser,
            schedule, precision, checkpointing, seed, `grpo` and `rewards` are also from here.
        run_dir: where `metrics.jsonl` and the TensorBoard events are written.
        steps: of the optimiser.
        use_vllm: whether vLLM writes the completions, in this process.

    Returns:
        What TRL logs at every step, under its names; `rewards/NAME/mean` is a term before its weight.

    Raises:
        MissingExtra: TRL or vLLM is not installed.
        PolicyCollapsed: see `Guard.watch`.
        UsageError: settings that TRL's trainer cannot follow.
    """
    trl = _package()
    _check(model, config, use_vllm)
    curves: Curves = {}
    with closing(Log(run_dir, project=config.wandb)) as log, _unpatched(model):
        trainer = trl.GRPOTrainer(
            model,
            reward_funcs=_reward_functions(processor, config.rewards, Guard(config.grpo.collapse)),
            args=trl.GRPOConfig(**_arguments(config, run_dir, steps, use_vllm)),
            train_dataset=_dataset(rows),
            processing_class=processor,
            optimizers=_optimisers(model, config, steps),
            callbacks=[_logging(log, curves)],
        )
        trainer.train()
    return curves


def _package() -> Any:
    try:
        import trl
    except ImportError:
        raise MissingExtra("TRL's trainer needs TRL; run pip install 'mmidd[rl]'") from None
    return trl


def _check(model: Any, config: LtddRlConfig, use_vllm: bool) -> None:
    if use_vllm and find_spec("vllm") is None:
        raise MissingExtra("vLLM is not installed; run pip install 'mmidd[vllm]', or leave vLLM out")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("TRL's trainer runs in one process here; start it without torchrun")
    optim, completions = config.optim, config.batch * config.grpo.group
    unknown = {f"optim.{name}": getattr(optim, name) for name in ("ema", "sam", "cycle_epochs")}
    unknown |= {"compile": config.compile, "form_steps": config.form_steps}
    for name, value in unknown.items():
        if value:
            raise UsageError(f"TRL's trainer knows no {name}; leave it at its default")
    if completions % config.micro_batch:
        raise UsageError(
            f"micro_batch {config.micro_batch} does not divide the step's {completions} completions; "
            f"set it to a divisor of {completions}"
        )
    _check_adapters(model, config, use_vllm)


def _check_adapters(model: Any, config: LtddRlConfig, use_vllm: bool) -> None:
    from peft import PeftModel

    if isinstance(model, PeftModel):
        return
    if config.grpo.beta:
        raise UsageError("TRL keeps a reference of a PeftModel alone; set grpo.beta to 0")
    if use_vllm and any(".lora_" in name for name, _ in model.named_parameters()):
        raise UsageError("TRL hands LoRA of a PeftModel alone to vLLM; leave vLLM out")


def _arguments(config: LtddRlConfig, run_dir: Path, steps: int, use_vllm: bool) -> dict[str, Any]:
    """Settings under TRL's names; its completions are written once for every step."""
    grpo, weights = config.grpo, config.rewards.weights
    return {
        "output_dir": str(run_dir),
        "max_steps": steps,
        "seed": config.seed,
        "per_device_train_batch_size": config.micro_batch,
        "gradient_accumulation_steps": config.batch * grpo.group // config.micro_batch,
        "bf16": config.precision == "bf16-mixed",
        "gradient_checkpointing": config.gradient_checkpointing,
        "max_grad_norm": config.optim.clip_norm or 0.0,
        "num_generations": grpo.group,
        "temperature": grpo.temperature,
        "max_completion_length": grpo.max_new_tokens,
        "mask_truncated_completions": grpo.mask_truncated,
        "scale_rewards": grpo.scale,
        "loss_type": grpo.loss,
        "epsilon": grpo.epsilon,
        "epsilon_high": grpo.epsilon_high,
        "beta": grpo.beta,
        "reward_weights": [*(getattr(weights, name) for name in TERMS), 0.0],
        "use_vllm": use_vllm,
        "vllm_mode": "colocate",
        "disable_dropout": True,
        "shuffle_dataset": False,
        "dataloader_pin_memory": False,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }


def _reward_functions(processor: Any, rewards: Rewards, guard: Guard) -> list[_Reward]:
    """One for each term by its name, and the guard, which gives nothing."""

    def read(completion_ids: list[list[int]]) -> Any:
        texts = processor.tokenizer.batch_decode(completion_ids, skip_special_tokens=True)
        return [read_chain(text) for text in texts]

    def earned_for(name: str) -> _Reward:
        def earned(completion_ids: list[list[int]], label: list[str], **_: Any) -> list[float]:
            pairs = zip(read(completion_ids), label, strict=True)
            return [TERMS[name](chain, Label(true), rewards) for chain, true in pairs]

        earned.__name__ = name
        return earned

    def watch(completion_ids: list[list[int]], label: list[str], **_: Any) -> list[None]:
        guard.watch(Answers.of(read(completion_ids), [Label(true) for true in label]))
        return [None] * len(label)

    return [*map(earned_for, TERMS), watch]


def _dataset(rows: Iterable[Row]) -> Any:
    from datasets import IterableDataset

    def generate() -> Iterator[dict[str, Any]]:
        for row in rows:
            yield {**row, "label": str(row["label"])}

    return IterableDataset.from_generator(generate)


def _optimisers(model: nn.Module, config: LtddRlConfig, steps: int) -> tuple[Any, Any]:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optim = config.optim
    optimiser = build_optimiser([Group(optim.lr, trained)], optim)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: lr_factor(step, steps, steps, optim))
    return optimiser, schedule


def _logging(log: Log, curves: Curves) -> Any:
    """A callback that writes down what TRL logs of its steps, in the log and as curves."""
    from transformers import TrainerCallback

    class Logging(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            logs = kwargs["logs"]
            if "reward" not in logs:  # what is logged at the end is no step
                return
            values = {name: float(value) for name, value in logs.items() if value is not None}
            log.write("train", state.global_step, values)
            for name, value in values.items():
                curves.setdefault(name, []).append(value)

    return Logging()


@contextmanager
def _unpatched(model: Any) -> Iterator[None]:
    """Afterwards the model has its own forward again, and no reference beside it."""
    from peft import PeftModel

    try:
        yield
    finally:
        vars(model).pop("forward", None)
        if isinstance(model, PeftModel):
            vars(model.get_base_model()).pop("forward", None)
            if "ref" in model.peft_config:
                model.delete_adapter("ref")
