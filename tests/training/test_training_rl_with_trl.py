from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model, inject_adapter_in_model
from PIL import Image
from torch import Tensor, nn

from mmidd.errors import MissingExtra, PolicyCollapsed, UsageError
from mmidd.schema import Label
from mmidd.training.config.grpo import Collapse, Grpo
from mmidd.training.config.ltdd_rl import LtddRlConfig
from mmidd.training.config.mllm import MllmShape
from mmidd.training.config.rewards import Rewards
from mmidd.training.models.mllm.tiny import tiny_model, tiny_processor
from mmidd.training.rl.chain import written
from mmidd.training.rl.rewards import TERMS, score
from mmidd.training.rl.with_trl import Curves, Row, train_with_trl

SHAPE = MllmShape(
    width=32, layers=2, heads=2, vocabulary=700, vision_width=16, vision_layers=1, patch_size=14
)
PROMPT = [{"role": "user", "content": "Real or fake?"}]
THOUGHTS = ("smooth skin at the nose", "soft skin", "a sharp seam at the left eye and at the mouth")
REWARDS = Rewards(min_words=3, max_words=6)
GRPO = Grpo(group=4, max_new_tokens=32, temperature=1.3)
STEPS = 2

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")  # in peft and TRL


def config(**changes: Any) -> LtddRlConfig:
    values = {"optim": {"lr": 0.01}, "batch": 4, "micro_batch": 8, "epochs": 1, "seed": 3}
    return LtddRlConfig.model_validate({**values, "rewards": REWARDS, "grpo": GRPO, **changes})


def rows(count: int = 4) -> list[Row]:
    """Pictures of several sizes, every other one a fake."""
    shade = np.random.default_rng(0)
    pictures = [shade.integers(0, 255, (56, 56 + 28 * (i % 2), 3), dtype=np.uint8) for i in range(count)]
    labels = [Label.REAL, Label.FAKE] * count
    return [
        Row(prompt=PROMPT, image=Image.fromarray(x), label=y) for x, y in zip(pictures, labels, strict=False)
    ]


@pytest.fixture(scope="module")
def talker() -> Any:
    """A model that has learned to say one of a few chains of either verdict, whatever it sees."""
    torch.manual_seed(0)
    model, processor = tiny_model(SHAPE), tiny_processor(SHAPE)
    said = [f"<think>{thought}</think>{written(label)}<|im_end|>" for thought in THOUGHTS for label in Label]
    content = [
        {"type": "image", "image": rows(1)[0]["image"]},
        {"type": "text", "text": PROMPT[0]["content"]},
    ]
    turn = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    batch = processor(
        text=[turn + text for text in said],
        images=[rows(1)[0]["image"]] * len(said),
        padding=True,
        padding_side="right",
        return_tensors="pt",
    )
    start = len(processor(text=[turn], images=[rows(1)[0]["image"]]).input_ids[0])
    targets = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)[:, start:]
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(60):
        logits = model(**batch).logits[:, start - 1 : -1]
        loss = F.cross_entropy(logits.transpose(1, 2), targets)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return model.eval()


@pytest.fixture
def model(talker: Any) -> Any:
    return copy.deepcopy(talker)


@pytest.fixture
def trl(monkeypatch: pytest.MonkeyPatch) -> Any:
    """TRL, whose trainers are kept in `seen`."""
    found = pytest.importorskip("trl", reason="TRL is not installed (the extra rl)")
    monkeypatch.setenv("CI", "1")  # else TRL calls home

    class Seen(found.GRPOTrainer):  # type: ignore[misc, name-defined]
        last: Any = None
        scored: list[tuple[list[str], list[Label], Tensor]]

        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            type(self).last, self.scored = self, []

        def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, ids: Any) -> Tensor:
            earned: Tensor = super()._calculate_rewards(inputs, prompts, completions, ids)
            texts = [turns[-1]["content"] for turns in completions]
            self.scored.append((texts, [Label(row["label"]) for row in inputs], earned))
            return earned

    monkeypatch.setattr(found, "GRPOTrainer", Seen)
    return Seen


def lora() -> LoraConfig:
    return LoraConfig(r=4, target_modules=["q_proj", "v_proj"], lora_dropout=0.5)


def wrapped(model: Any) -> Any:
    return get_peft_model(model, lora())


def injected(model: nn.Module) -> Any:
    """As stage 1 leaves it: LoRA inside, and no `PeftModel` around."""
    model.requires_grad_(False)
    inject_adapter_in_model(lora(), model)
    return model


def whole(model: Any) -> Any:
    return model


def train(model: Any, run_dir: Path, **changes: Any) -> Curves:
    """With changes to the configuration, or to `grpo` within it."""
    run_dir.mkdir(exist_ok=True)
    of_grpo = {name: changes.pop(name) for name in [*changes] if name in Grpo.model_fields}
    settings = config(grpo=GRPO.model_copy(update=of_grpo), **changes)
    return train_with_trl(model, tiny_processor(SHAPE), rows(), settings, run_dir, STEPS)


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name, value in before.items() if not value.equal(after[name])}


@pytest.mark.parametrize(("adapt", "beta"), [(wrapped, 0.1), (injected, 0.0), (whole, 0.0)])
def test_trl_trains_with_our_rewards(trl: Any, model: Any, tmp_path: Path, adapt: Any, beta: float) -> None:
    policy = adapt(model)
    trained = {name for name, p in policy.named_parameters() if p.requires_grad}
    before = {name: p.detach().clone() for name, p in policy.named_parameters()}
    curves = train(policy, tmp_path / "run", beta=beta)
    moved = changed(before, dict(policy.named_parameters()))
    assert moved
    assert moved <= trained
    assert len(trl.last.scored) == STEPS
    for step, (texts, labels, earned) in enumerate(trl.last.scored):
        assert (len(texts), labels.count(Label.FAKE)) == (16, 8)
        ours = score(texts, labels, REWARDS)
        torch.testing.assert_close(earned[:, :-1], torch.stack(list(ours.terms.values()), dim=1))
        assert earned[:, -1].isnan().all()
        assert curves["reward"][step] == pytest.approx(ours.rewards.mean().item(), abs=1e-5)
        for name in TERMS:
            assert curves[f"rewards/{name}/mean"][step] == pytest.approx(
                ours.terms[name].mean().item(), abs=1e-5
            )
    assert {len(values) for values in curves.values()} == {STEPS}
    assert ("kl" in curves) == (beta > 0)


def test_it_is_written_down_and_the_model_is_as_it_was(trl: Any, model: Any, tmp_path: Path) -> None:
    policy = wrapped(model)
    before, names = type(model).forward, {name for name, _ in policy.named_parameters()}
    curves = train(policy, tmp_path / "run", beta=0.1)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert [line["reward"] for line in lines] == curves["reward"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["metrics.jsonl", "tensorboard"]
    assert names == {name for name, _ in policy.named_parameters()}
    assert model.forward.__func__ is before
    assert curves["learning_rate"] == pytest.approx([0.01, 0.005])


def test_a_run_can_be_made_again(trl: Any, talker: Any, tmp_path: Path) -> None:
    once, again = (train(injected(copy.deepcopy(talker)), tmp_path / name) for name in "ab")
    assert once["reward"] == again["reward"]
    assert once["loss"] == again["loss"]


def test_the_guard_watches(trl: Any, model: Any, tmp_path: Path) -> None:
    collapse = Collapse(window=2, min_words=30)
    with pytest.raises(PolicyCollapsed, match="under 30 words"):
        train(model, tmp_path / "run", collapse=collapse)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optim": {"lr": 0.01, "ema": 0.9}}, r"no optim\.ema"),
        ({"optim": {"lr": 0.01, "sam": 0.1}}, r"no optim\.sam"),
        ({"compile": True}, "no compile"),
        ({"form_steps": 5}, "no form_steps"),
        ({"micro_batch": 3}, "divisor of 16"),
        ({"beta": 0.1}, r"grpo\.beta to 0"),
    ],
)
def test_what_trl_cannot_follow_is_refused(
    trl: Any, model: Any, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        train(model, tmp_path / "run", **changes)


def test_several_processes_are_refused(
    trl: Any, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="one process"):
        train(model, tmp_path / "run")


@pytest.fixture
def without_trl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)


@pytest.mark.usefixtures("without_trl")
def test_a_missing_extra_is_named(model: Any, tmp_path: Path) -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'mmidd\[rl\]'"):
        train(model, tmp_path / "run")
