"""Our numbers against TRL's own code on the same tensors; test_training_rl_grpo.py has them by hand."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from mmidd.training.config.grpo import Grpo
from mmidd.training.rl import grpo
from mmidd.training.rl.grpo import Totals, completion_mask, policy_loss
from tests.training.test_training_rl_grpo import LOSSES, example, random

END, PAD = 0, 1


@pytest.fixture(scope="module")
def trl() -> Any:
    return pytest.importorskip("trl", reason="TRL is the reference here; the extra rl is not installed")


def accelerator() -> SimpleNamespace:
    """Of one process."""
    return SimpleNamespace(
        device=torch.device("cpu"),
        process_index=0,
        num_processes=1,
        gather=lambda x: x,
        reduce=lambda x, reduction: x,
    )


def trainer(config: Grpo, steps: int = 1, **more: Any) -> SimpleNamespace:
    """What the methods of TRL's trainer read of it, where a batch passes in so many equal parts."""
    model = nn.Linear(1, 1)
    model.is_gradient_checkpointing = False  # type: ignore[assignment]
    values = {
        "model": model.train(),
        "accelerator": accelerator(),
        "args": SimpleNamespace(
            delta=None,
            use_bias_correction_kl=False,
            steps_per_generation=steps,
            gradient_accumulation_steps=steps,
            per_device_train_batch_size=1,
            gradient_checkpointing_kwargs=None,
        ),
        "loss_type": config.loss,
        "epsilon_low": config.epsilon,
        "epsilon_high": config.epsilon_high or config.epsilon,
        "beta": config.beta,
        "max_completion_length": config.max_new_tokens,
        "scale_rewards": config.scale,
        "mask_truncated_completions": config.mask_truncated,
        "num_generations": config.group,
        "current_gradient_accumulation_steps": steps,
        "num_iterations": 1,
        "aux_loss_enabled": False,
        "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None,
        "importance_sampling_level": "token",
        "use_vllm": False,
        "_entropy_bonus_enabled": False,
        "_metrics": {"train": defaultdict(list)},
    }
    return SimpleNamespace(**values, **more)


def their_loss(
    trl: Any, parts: dict[str, Any], config: Grpo, tokens: Tensor, steps: int = 1
) -> tuple[Tensor, Any]:
    own = trainer(config, steps)
    own._get_per_token_logps_and_entropies = lambda *_, **__: (
        parts["log_probs"],
        torch.ones_like(parts["old"]),
        None,
    )
    inputs = {
        "prompt_ids": torch.ones(len(parts["mask"]), 1, dtype=torch.long),
        "prompt_mask": torch.ones(len(parts["mask"]), 1, dtype=torch.long),
        "completion_ids": torch.ones_like(parts["mask"], dtype=torch.long),
        "completion_mask": parts["mask"].long(),
        "advantages": parts["advantages"],
        "old_per_token_logps": parts["old"],
        "ref_per_token_logps": parts["reference"],
        "num_items_in_batch": tokens,
    }
    return trl.GRPOTrainer._compute_loss(own, own.model, inputs), own._metrics["train"]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("change", [{}, {"beta": 0.04}, {"epsilon": 0.1, "epsilon_high": 0.28, "beta": 1.0}])
def test_loss_gradient_divergence_and_clipping(
    trl: Any, loss: Literal["grpo", "dapo", "dr_grpo"], change: dict[str, float]
) -> None:
    config = Grpo.model_validate({"loss": loss, "max_new_tokens": 9, **change})
    parts = example()
    leaf = parts["log_probs"].requires_grad_()
    theirs, metrics = their_loss(trl, parts, config, parts["mask"].sum())
    ours = policy_loss(**parts, totals=Totals.of(parts["mask"]), config=config)
    torch.testing.assert_close(ours.total, theirs, atol=1e-5, rtol=0)
    expected, found = (torch.autograd.grad(x, leaf)[0] for x in (theirs, ours.total))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert ours.clipped.item() == pytest.approx(metrics["clip_ratio/region_mean"][0], abs=1e-5)
    assert ours.clipped > 0
    if config.beta:
        assert ours.kl.item() == pytest.approx(metrics["kl"][0], abs=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_accumulated_over_micro_batches(trl: Any, loss: Literal["grpo", "dapo", "dr_grpo"]) -> None:
    config, parts = Grpo(loss=loss, max_new_tokens=9, beta=0.04), example()
    tokens = parts["mask"].sum()
    split = {name: value.split(2) for name, value in parts.items()}
    micro = [dict(zip(split, values, strict=True)) for values in zip(*split.values(), strict=True)]
    theirs = torch.stack([their_loss(trl, part, config, tokens, steps=3)[0] for part in micro]).sum()
    ours = policy_loss(**parts, totals=Totals.of(parts["mask"]), config=config)
    torch.testing.assert_close(ours.total, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_probabilities_and_entropy(trl: Any, temperature: float, dtype: torch.dtype) -> None:
    from trl.trainer.utils import entropy_from_logits, selective_log_softmax

    logits, tokens = (5 * random(3, 4, 50)).to(dtype), torch.arange(12).view(3, 4)
    expected = selective_log_softmax(logits, tokens, temperature).float()
    found = grpo.token_log_probs(logits, tokens, temperature)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    spread = entropy_from_logits(logits / temperature).float()
    torch.testing.assert_close(grpo.entropy(logits, temperature), spread, atol=1e-5, rtol=0)


def scored(
    trl: Any, config: Grpo, rewards: Tensor, completions: list[list[int]]
) -> tuple[dict[str, Any], Any]:
    """What TRL's trainer makes of completions, each a list of tokens, and their rewards (B, G)."""
    prompts = ["What is this?"] * len(completions)
    written: tuple[Any, ...] = (
        [[PAD]] * len(prompts),
        completions,
        None,
        ["text"] * len(prompts),
        None,
        {},
        None,
        None,
    )
    own = trainer(
        config,
        environment_factories=None,
        environments=None,
        tools=None,
        pad_to_multiple_of=None,
        log_multimodal=False,
        eos_token_ids=[END],
        multi_objective_aggregation="sum_then_normalize",
        reward_weights=torch.tensor([0.5]),
        reward_funcs=[None],
        reward_func_names=["all"],
        _tokenizer=SimpleNamespace(pad_token_id=PAD),
        _generate=lambda _: written,
        _calculate_rewards=lambda *_: 2 * rewards.reshape(-1, 1),
        _logs={name: defaultdict(list) if name in ("rewards", "extra") else [] for name in LOGS},
        _pending_extra_logs={},
        _pending_metrics={},
    )
    inputs = [{"prompt": prompt} for prompt in prompts]
    return trl.GRPOTrainer._generate_and_score_completions(own, inputs), own._metrics["train"]


LOGS = ("prompt", "completion", "rewards", "advantages", "extra", "images")


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_advantages(trl: Any, scale: Literal["group", "batch", "none"]) -> None:
    rewards = random(5, 4).round(decimals=1)
    rewards[0], rewards[1] = 1.35, torch.tensor([1.0, 1, 1, 0])
    found, metrics = scored(trl, Grpo(group=4, scale=scale), rewards, [[5, END]] * 20)
    ours = grpo.advantages(rewards, scale)
    torch.testing.assert_close(ours.flatten(), found["advantages"], atol=1e-5, rtol=0)
    if scale != "batch":
        assert metrics["frac_reward_zero_std"] == [pytest.approx(grpo.idle_groups(rewards).item())] == [0.2]


@pytest.mark.parametrize("mask_truncated", [False, True])
def test_masks_of_completions_with_and_without_an_end(trl: Any, mask_truncated: bool) -> None:
    completions = [[5, 6, END], [5, 6, 7, 8], [END], [5, 6, 7, END]]
    config = Grpo(group=2, mask_truncated=mask_truncated)
    found, _ = scored(trl, config, torch.eye(2), completions)
    generated = torch.tensor([[*row, *[PAD] * (4 - len(row))] for row in completions])
    mask = completion_mask(generated, [END], mask_truncated)
    assert mask.long().equal(found["completion_mask"])
    assert found["num_items_in_batch"] == Totals.of(mask).tokens == (8 if mask_truncated else 12)
