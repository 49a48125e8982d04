"""KFD's second stage: what learns, what stays, and that answers depend on nothing but their own dialogue."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import nn
from transformers import LlamaConfig

from mmidd.dialogue.conversation import Message
from mmidd.dialogue.opening import opening
from mmidd.errors import UsageError
from mmidd.schema import Label
from mmidd.training.accumulate import accumulate
from mmidd.training.config.kfd_llm import Prompt
from mmidd.training.config.llm import Generation, Llm
from mmidd.training.models.llm.evidence import Evidence
from mmidd.training.models.llm.generate import write
from mmidd.training.models.llm.language import load_language
from mmidd.training.models.llm.prompt_learner import PromptLearner
from mmidd.training.models.llm.sequence import IGNORE, pad
from mmidd.training.models.llm.tiny import tiny_tokenizer
from mmidd.training.tasks.kfd_llm import KfdLlm
from mmidd.training.trained import load_trained, trained_state
from tests.training.llm_world import FakeDetector, llm_config, llm_task, talk, talk_batch
from tests.training.training_world import random_batch

CPU = torch.device("cpu")


def learn(task: KfdLlm, batch: Any, steps: int, lr: float = 3e-3) -> float:
    optimiser = torch.optim.AdamW(task.trainable().values(), lr=lr)
    loss = torch.tensor(0.0)
    for step in range(steps):
        optimiser.zero_grad()
        loss = accumulate(task.train(), task, batch, 8, seed=step, backward=torch.autograd.backward).total
        optimiser.step()
    return float(loss.detach())


@pytest.fixture(scope="module")
def learned() -> KfdLlm:
    """Knows eight dialogues of two turns by heart."""
    task = llm_task(llm_config({"tune": "all"}))
    learn(task, talk_batch(8, turns=2), 150)
    return task


def test_eight_dialogues_are_learned_to_the_letter_and_batches_answer_as_single_images(
    learned: KfdLlm,
) -> None:
    evidence = learned.evidence(talk_batch().images)
    talks = [talk(i)[:1] if i % 2 else talk(i, turns=2)[:3] for i in range(8)]
    percents = [int(100 * score + 0.5) for score in evidence.scores[:, 1].tolist()]
    wanted = [
        talk(i, turns=2)[1 if i % 2 else 3]["value"].replace("<forgery_score>", str(percent))
        for i, percent in enumerate(percents)
    ]
    together = learned.answer(evidence, talks)
    assert [one.text for one in together] == wanted
    assert all(one.complete for one in together)
    alone = [learned.answer(evidence.of(torch.tensor([i])), [talks[i]])[0] for i in range(8)]
    assert [one.text for one in alone] == [one.text for one in together]
    assert [one.fake for one in alone] == pytest.approx([one.fake for one in together], abs=1e-5)
    for one in together[1::2]:
        assert one.label is Label.FAKE
        assert one.fake > 0.9


def test_what_is_written_is_told_piece_by_piece(learned: KfdLlm) -> None:
    told: list[str] = []
    evidence = learned.evidence(talk_batch().images[1:2])
    (answer,) = learned.answer(evidence, [talk(1)[:1]], told.append)
    assert "".join(told) == answer.text
    assert len(told) > 2


def test_writing_stops_when_all_have_ended(learned: KfdLlm) -> None:
    evidence = learned.evidence(talk_batch(4).images)
    padded = learned._prompts(evidence, [talk(i)[:1] for i in range(4)])
    with torch.no_grad():
        embeddings = learned._embeddings(padded, evidence)
    rows = write(learned.language, learned.script, embeddings, padded, Generation(max_new_tokens=60))
    assert {len(row) for row in rows} == {max(map(len, rows))}
    assert max(map(len, rows)) < 30


def test_the_score_is_the_share_of_yes_among_yes_and_no(learned: KfdLlm) -> None:
    images = talk_batch(2).images
    evidence = learned.evidence(images)
    script = learned.script
    for row in range(2):
        prompt = pad([script.prompt([opening()], float(evidence.scores[row, 1]))], "right", CPU)
        with torch.no_grad():
            one = learned._embeddings(prompt, evidence.of(torch.tensor([row])))
            chances = learned.language.model(inputs_embeds=one).logits[0, -1].double().softmax(0)
        yes, no = (float(chances[sorted(side)].sum()) for side in (script.yes, script.no))
        assert learned.score(images).fake[row] == pytest.approx(yes / (yes + no), abs=1e-4)


def test_padding_changes_no_logits() -> None:
    task = llm_task().eval()
    batch = talk_batch(3)
    evidence = task.evidence(batch.images)
    texts = [task.script.dialogue(talk(0, turns), 0.5, 256) for turns in (1, 2, 3)]
    with torch.no_grad():
        for side in ("left", "right"):
            padded = pad(texts, side, CPU)
            logits = task.language(task._embeddings(padded, evidence), padded, 0)
            for row, text in enumerate(texts):
                alone = pad([text], "right", CPU)
                one = task.language(task._embeddings(alone, evidence.of(torch.tensor([row]))), alone, 0)
                torch.testing.assert_close(logits[row][padded.mask[row].bool()], one[0], atol=2e-5, rtol=1e-4)


def test_the_loss_is_the_cross_entropy_of_answer_tokens_over_the_whole_batch() -> None:
    task = llm_task().eval()
    batch = talk_batch(4, turns=2)
    evidence = task.evidence(batch.images)
    losses = []
    with torch.no_grad():
        for row in range(4):
            text = task.script.dialogue(batch.conversation[row], float(evidence.scores[row, 1]), 256)
            alone = pad([text], "right", CPU)
            embedded = task._embeddings(alone, evidence.of(torch.tensor([row])))
            logits = task.language.model(inputs_embeds=embedded).logits[0, :-1]
            places = torch.tensor(text.targets[1:]) != IGNORE
            losses.append(
                F.cross_entropy(logits[places], torch.tensor(text.ids[1:])[places], reduction="none")
            )
        terms = task.losses(task(batch), batch, torch.Generator())
    assert float(terms.total) == pytest.approx(float(torch.cat(losses).mean()), rel=1e-4)
    assert terms.parts.keys() == {"forgery", "cut"}


def test_every_row_has_the_evidence_of_its_own_image() -> None:
    task = llm_task().eval()
    both = talk_batch(3)
    mixed = dataclasses.replace(both, conversation=(general_batch().conversation[0], *both.conversation[1:]))
    with torch.no_grad():
        together = task(mixed)["nll"]
        alone = [float(task(mixed[row : row + 1])["nll"]) for row in range(3)]
    assert together.tolist() == pytest.approx(alone, rel=1e-4)


def test_micro_batches_give_the_gradient_of_the_whole_batch() -> None:
    gradients = []
    for micro in (6, 2):
        task = llm_task(llm_config({"lora": {"dropout": 0.0}})).train()
        accumulate(task, task, talk_batch(6), micro, seed=3, backward=torch.autograd.backward)
        gradients.append({name: p.grad for name, p in task.trainable().items() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-3)


def general_batch() -> Any:
    said: tuple[Message, ...] = (
        {"from": "human", "value": "<image>\nWhat is seen?"},
        {"from": "gpt", "value": "A dog."},
    )
    plain: tuple[Message, ...] = ({"from": "human", "value": "Hello."}, {"from": "gpt", "value": "Good day."})
    return dataclasses.replace(talk_batch(2), conversation=(said, plain))


def test_the_gradient_reaches_prompt_learner_projector_and_lora_and_nothing_else() -> None:
    task = llm_task().train()
    before = {name: p.detach().clone() for name, p in task.named_parameters()}
    statistics = task.detector.norm.running_mean.clone()
    trained = task.trainable().keys()
    kinds = {name.split(".")[0] for name in trained}
    assert kinds == {"prompt", "projector", "language"}
    assert {name.split(".")[-3] for name in trained if name.startswith("language")} == {"lora_A", "lora_B"}
    learn(task, talk_batch(8), 3)
    for name, p in task.named_parameters():
        assert torch.equal(p, before[name]) != (name in trained), name
    assert torch.equal(task.detector.norm.running_mean, statistics)


def test_general_dialogues_teach_the_projector_and_leave_the_prompt_learner() -> None:
    task, batch = llm_task().train(), general_batch()
    terms = accumulate(task, task, batch, 2, seed=0, backward=torch.autograd.backward)
    assert terms.parts.keys() == {"general", "cut"}
    assert all(p.grad is None for p in task.prompt.parameters())
    assert all(p.grad is not None and p.grad.any() for p in task.projector.parameters())


def test_trained_weights_make_the_same_task_again_without_the_first_stage() -> None:
    task = llm_task()
    task.detector.offset.data.fill_(0.7)
    state = trained_state(task)
    again = llm_task()
    load_trained(again, state)
    images = talk_batch(2).images
    assert (again.score(images).fake == task.score(images).fake).all()
    assert float(again.detector.offset) == pytest.approx(0.7)
    wide = llm_task(llm_config({"shape": {"width": 32, "layers": 2, "heads": 2, "vocabulary": 700}}))
    with pytest.raises(UsageError, match="do not fit the configuration"):
        load_trained(wide, state)


def test_without_dialogues_it_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="mmidd simulate"):
        llm_task()(random_batch(2, 32))


def test_a_dialogue_that_leaves_no_room_is_one_line() -> None:
    task = llm_task()
    long: Message = {**opening("Is it " + "very " * 300 + "fake?")}
    with pytest.raises(UsageError, match="ask a shorter question"):
        task.answer(task.evidence(talk_batch(1).images), [[long]])


def vicuna(folder: Path) -> Path:
    """Vicuna-7B's shape, with a tokenizer but no weights."""
    LlamaConfig(vocab_size=32_000, max_position_embeddings=4096).save_pretrained(folder)
    tiny_tokenizer(700).save_pretrained(folder)
    return folder


def test_counts_of_the_paper(tmp_path: Path) -> None:
    with torch.device("meta"):
        learner = PromptLearner(Prompt(), maps=6, width=4096)
        config = Llm(name=str(vicuna(tmp_path)), weights="random")
        language = load_language(config, seed=0)
        evidence = Evidence(
            torch.empty(2, 1024), torch.empty(2, 6, 224, 224), torch.empty(2, 1, 224, 224), torch.empty(2, 2)
        )
        assert learner(evidence).shape == (2, 9, 4096)
        assert sum(p.numel() for p in nn.Linear(1024, language.width).parameters()) == 4_198_400
    assert sum(p.numel() for p in learner.parameters()) == 108_065_421
    tuned = [p for p in language.parameters() if p.requires_grad]
    assert sum(p.numel() for p in tuned) == 33_554_432
    assert {p.dtype for p in tuned} == {torch.float32}
    frozen = sum(p.numel() * p.element_size() for p in language.parameters() if not p.requires_grad)
    assert frozen == 2 * 6_738_415_616


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"llm": {"name": "/nowhere/model"}}, "cannot load the language model"),
        ({"llm": {"lora": {"targets": ["qkv"]}}}, "llm.lora.targets"),
    ],
)
def test_a_model_that_cannot_be_had_is_one_line(change: dict[str, Any], complaint: str) -> None:
    llm = {"shape": None, **change["llm"]} if "name" in change["llm"] else change["llm"]
    with pytest.raises(UsageError, match=complaint) as caught:
        KfdLlm(llm_config(llm), FakeDetector())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"micro_batch": 2, "prompt": {"norm": "batch"}}, "set prompt.norm to group"),
        ({"augment": {"hflip_p": 0.5, "affine_p": 0}}, "hflip_p"),
        ({"online": ()}, "set online"),
        ({"prompt": {"side": 100}}, "side must be at least 160"),
    ],
)
def test_settings_that_contradict_the_method_are_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        llm_config(**change)
