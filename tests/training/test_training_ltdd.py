"""LTDD's first stage: what learns, what stays, and that the specialist's tokens alone come in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import Qwen2_5_VLConfig

from mmidd.errors import MissingExtra, UsageError
from mmidd.schema import Label
from mmidd.training.accumulate import accumulate
from mmidd.training.config.mllm import Mllm
from mmidd.training.models.mllm.model import Generalist, load_generalist
from mmidd.training.models.mllm.projector import Projector
from mmidd.training.models.mllm.verdict import VerdictTokens
from mmidd.training.tasks.ltdd import Ltdd
from mmidd.training.tasks.specialist import averaged, resized
from mmidd.training.trained import load_trained, trained_state
from tests.training.ltdd_world import SIDE, learn, ltdd_config, pictures


@pytest.fixture(scope="module")
def learned() -> Ltdd:
    """Knows sixteen pictures by heart."""
    task = Ltdd(ltdd_config())
    learn(task, pictures(16), 60)
    return task.eval()


def shaken(task: Ltdd) -> Ltdd:
    """With a projector whose tokens are not zero."""
    with torch.no_grad():
        for number, parameter in enumerate(task.projector.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    return task


def test_sixteen_pictures_are_learned(learned: Ltdd) -> None:
    batch = pictures(16)
    fake = torch.from_numpy(learned.score(batch.images).fake)
    assert ((fake > 0.5) == batch.label.bool()).all()
    assert float((fake - batch.label).abs().max()) < 0.2


def test_the_score_is_what_the_model_itself_says_of_the_two_words() -> None:
    task = Ltdd(ltdd_config(backbone=None, grid=0)).eval()
    images, generalist = pictures(3).images, task.generalist
    question = task.own.questions.direct
    text = (
        f"<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{question}<|im_end|>\n"
        "<|im_start|>assistant\n<answer>"
    )
    for image, score in zip(images, task.score(images).fake, strict=True):
        made = generalist.processor(
            text=[text],
            images=[image.permute(2, 0, 1)],
            return_tensors="pt",
        )
        assert made["image_grid_thw"].tolist() == [[1, SIDE // 8, SIDE // 8]]
        with torch.no_grad():
            chances = generalist.model(**made).logits[0, -1].double().softmax(0)
        real, fake = (float(chances[generalist.tokenizer.encode(word)[0]]) for word in ("Real", "Fake"))
        assert score == pytest.approx(fake / (real + fake), abs=1e-5)


def test_tokens_of_zeros_leave_the_model_as_it_is_and_others_do_not() -> None:
    task = Ltdd(ltdd_config()).eval()
    assert task.specialist
    images = pictures(4).images
    prompts = task._prompts(images, "Which?")
    with torch.no_grad():
        bare = task.generalist.model(
            input_ids=prompts.ids,
            attention_mask=prompts.mask,
            mm_token_type_ids=prompts.kinds,
            **prompts.vision,
            logits_to_keep=1,
        ).logits
        tokens = task._tokens(images)
        said = [token for token in range(bare.shape[-1]) if token not in task.generalist.unsaid]
        assert tokens.shape == (4, 1 + 2 * 2, 48)
        assert not tokens.any(), "the projector begins at zero"
        assert torch.equal(task.generalist(prompts, tokens, 1)[..., said], bare[..., said])
        changed = task.generalist(prompts, shaken(task)._tokens(images), 1)[..., said]
        assert (changed - bare[..., said]).abs().amax(dim=(1, 2)).min() > 0.01


def test_every_row_is_shown_its_own_tokens() -> None:
    task = shaken(Ltdd(ltdd_config())).eval()
    images = pictures(4).images
    together = task.score(images).fake
    alone = [float(task.score(images[i : i + 1]).fake[0]) for i in range(4)]
    assert together.tolist() == pytest.approx(alone, abs=1e-5)
    assert len({round(value, 3) for value in alone}) > 1


def test_pictures_and_questions_of_several_sizes_answer_as_they_do_alone(learned: Ltdd) -> None:
    generalist = learned.generalist
    sides = ((32, 32), (32, 64), (80, 16), (48, 80))
    draws = torch.Generator().manual_seed(1)
    images = [
        torch.randint(0, 256, (3, *side), generator=draws, dtype=torch.int64).to(torch.uint8)
        for side in sides
    ]
    texts = ["Real?", learned.own.questions.explain, "Is the face in this picture real or fake?", "Why?"]
    tokens = torch.zeros(4, 0, generalist.width)
    with torch.no_grad():
        prompts = generalist.prompts(images, texts)
        assert len({int(row.sum()) for row in prompts.kinds}) > 1, "they take different numbers of tokens"
        logits = generalist(prompts, tokens, 1)
        written = generalist.write(prompts, tokens, learned.own.generation)
        for row in range(4):
            one = generalist.prompts(images[row : row + 1], texts[row : row + 1])
            torch.testing.assert_close(generalist(one, tokens[:1], 1)[0], logits[row], atol=1e-4, rtol=1e-4)
            assert generalist.write(one, tokens[:1], learned.own.generation)[0] == written[row]


def test_an_explanation_is_scored_at_the_place_of_its_verdict(learned: Ltdd) -> None:
    images = pictures(4).images
    greedy = learned.explain(images)
    assert [len(chains) for chains in greedy] == [1] * 4
    assert [chain[0].text for chain in learned.explain(images)] == [chain[0].text for chain in greedy]
    sampled = learned.explain(images[:2], chains=3)
    assert [len(chains) for chains in sampled] == [3, 3]
    said = learned.generalist.encode("So<answer>Fake</answer>")
    place = learned.verdict.before(said)
    assert learned.generalist.decode(place) == "So<answer>"
    assert learned.generalist.decode(
        learned.verdict.before([*said[:2], learned.generalist.ends[0]])
    ).endswith("<answer>")
    with torch.no_grad():
        prompts = learned._prompts(images[:1], learned.own.questions.explain)
        after = learned.generalist(prompts.then_all(place), learned._tokens(images[:1]), 1)[0, 0]
        aligned = learned._fake(prompts.then_each([place]), learned._tokens(images[:1]))
    two = after[list(learned.verdict.words)].softmax(0)
    assert float(two[1]) == pytest.approx(float(aligned[0]), abs=1e-6)


def test_lora_and_projector_learn_and_nothing_else() -> None:
    task = shaken(Ltdd(ltdd_config()))
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    learn(task, pictures(), 2)
    changed = {name for name, tensor in task.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == set(task.learned())
    assert all(".lora_" in name or name.startswith("projector.") for name in changed)
    assert any("visual" in name for name in changed)
    assert any("language_model" in name for name in changed)


def test_micro_batches_give_the_gradient_of_the_whole_batch() -> None:
    gradients = []
    for micro in (8, 3):
        task = shaken(Ltdd(ltdd_config()))
        accumulate(task.train(), task, pictures(8), micro, seed=0, backward=torch.autograd.backward)
        gradients.append(
            torch.cat([p.grad.flatten() for p in task.trainable().values() if p.grad is not None])
        )
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-3)
    assert gradients[0].abs().max() > 0


def test_trained_weights_make_the_same_task_again(learned: Ltdd) -> None:
    again = Ltdd(ltdd_config()).eval()
    load_trained(again, trained_state(learned))
    images = pictures(4).images
    assert again.score(images).fake.tolist() == learned.score(images).fake.tolist()
    assert again.references() == learned.references()


def test_a_changed_base_or_specialist_is_noticed() -> None:
    task = Ltdd(ltdd_config())
    before = task.references()
    assert before.keys() == {"multimodal model", "specialist"}
    with torch.no_grad():
        for name, tensor in task.learned().items():
            tensor.add_(1)
            assert task.references() == before, name
        task.generalist.model.lm_head.weight[0, 0] += 1
    assert task.references()["specialist"] == before["specialist"]
    assert task.references()["multimodal model"] != before["multimodal model"]
    with torch.no_grad():
        next(task.specialist.parameters()).add_(1)  # type: ignore[union-attr]
    assert task.references()["specialist"] != before["specialist"]


def test_each_network_gets_the_crop_at_its_own_size() -> None:
    task = Ltdd(ltdd_config({"image_size": 48}))
    assert task.specialist
    assert (task.size, task.generalist.image_size, task.specialist.size) == (48, 48, 32)
    flat = torch.full((1, 48, 48, 3), 37, dtype=torch.uint8)
    assert resized(flat, 32).shape == (1, 32, 32, 3)
    assert (resized(flat, 32) == 37).all()
    assert torch.equal(resized(flat, 48), flat)


def test_patches_are_averaged_row_by_row() -> None:
    patches = torch.arange(16.0).reshape(1, 16, 1)
    means = averaged(patches, 2)[0, :, 0]
    assert means.tolist() == [2.5, 4.5, 10.5, 12.5]


def test_counts_of_the_method_notes(tmp_path: Path) -> None:
    def parameters(module: Any) -> int:
        return sum(p.numel() for p in module.parameters())

    assert parameters(Projector([1024], 2048)) == 6_295_552 + 2 * 1024
    assert parameters(Projector([1024, 1024], 3584)) == 16_522_240 + 2 * 1024
    text = {
        "hidden_size": 2048,
        "intermediate_size": 11_008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "vocab_size": 151_936,
    }
    Qwen2_5_VLConfig(
        text_config=text, vision_config={"hidden_size": 1280, "out_hidden_size": 2048}
    ).save_pretrained(tmp_path)
    from mmidd.training.models.mllm import model as module

    shape = Mllm(name=str(tmp_path), weights="random")
    with torch.device("meta"):
        built = module._model(shape)
    module._adapt(built.get_encoder("image"), shape.vision_lora, "vision_lora", 0)
    module._adapt(built.get_decoder(), shape.language_lora, "language_lora", 0)
    assert sum(p.numel() for n, p in built.named_parameters() if ".lora_" in n) == 11_304_960


class Spelled(Generalist):
    """Writes words as it is told."""

    def __init__(self, spelling: dict[str, list[int]]) -> None:
        torch.nn.Module.__init__(self)
        self.spelling, self.ends = spelling, [0]

    def encode(self, text: str) -> list[int]:
        return self.spelling.get(text, [1])


@pytest.mark.parametrize("spelling", [{"Real": [2, 3]}, {"Real": [2], "Fake": [2]}, {"Fake": []}])
def test_words_of_several_tokens_are_refused(spelling: dict[str, list[int]]) -> None:
    with pytest.raises(UsageError, match="Real and Fake as one token each"):
        VerdictTokens(Spelled(spelling))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"place": "<|nowhere|>"}, "no token '<|nowhere|>'"),
        ({"language_lora": {"targets": ("w_pack",)}}, "none of mllm.language_lora.targets"),
        ({"vision_lora": {"targets": ("w_pack",)}}, "none of mllm.vision_lora.targets"),
        ({"shape": None, "name": "/nowhere"}, "cannot load the multimodal model /nowhere"),
    ],
)
def test_a_model_that_cannot_be_used_is_one_line(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint.replace("|", r"\|")):
        load_generalist(ltdd_config(change).mllm, 0)


def test_four_bits_need_their_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Qwen2_5_VLConfig().save_pretrained(tmp_path)
    monkeypatch.setattr("mmidd.training.models.llm.language.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"mmidd\[bnb\]"):
        load_generalist(Mllm(name=str(tmp_path), quantise="4bit"), 0)


def test_a_question_longer_than_the_context_is_one_line() -> None:
    task = Ltdd(ltdd_config(questions={"direct": "real or fake? " * 400}))
    with pytest.raises(UsageError, match="ask a shorter one"):
        task.score(pictures(2).images)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"specialist": "lnclip-tiny"}, "either backbone or specialist"),
        ({"mllm": {"shape": None}}, "either name or shape"),
        ({"mllm": {"quantise": "4bit"}}, "4-bit weights are those of a pretrained model"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        ltdd_config(**changes)


def test_labels_have_one_word_each() -> None:
    task = Ltdd(ltdd_config())
    batch = pictures(2)
    assert [Label.REAL, Label.FAKE][int(batch.label[1])] is Label.FAKE
    assert task.generalist.decode([task.verdict.words[1]]) == "Fake"
