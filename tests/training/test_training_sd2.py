from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from mmidd.schema import ForgeryType, Split
from mmidd.training.accumulate import accumulate
from mmidd.training.config import Validation, apply_overrides, load_preset
from mmidd.training.models.clip import encode_text
from mmidd.training.tasks import build_task
from mmidd.training.tasks.sd2 import Sd2
from mmidd.training.trained import load_trained, trained_state
from mmidd.training.validate import validate
from tests.training.training_world import MemorySamples, memory_data, random_batch, small_config

CLAM, ADAPTER, SCALARS = 4_198_400, 2_885_376, 3


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("lora.rank=8", 2_162_688 + CLAM + ADAPTER + SCALARS),
        ("lora.rank=16", 2 * 2_162_688 + CLAM + ADAPTER + SCALARS),
        ("lora.targets=[q_proj, v_proj]", 1_081_344 + CLAM + ADAPTER + SCALARS),
        ("adapter_width=2048", 2_162_688 + CLAM + 5_769_984 + SCALARS),
        ("temperature=frozen", 2_162_688 + CLAM + ADAPTER + 2),
        ("clam=false", 2_162_688 + ADAPTER - 1024 * 1024 + SCALARS),
    ],
)
def test_the_paper_preset_trains_as_many_weights_as_published(override: str, expected: int) -> None:
    config = apply_overrides(load_preset("sd2", "paper"), ["backbone.weights=random", override])
    with torch.device("meta"):
        task = build_task(config)
    assert sum(p.numel() for p in task.trainable().values()) == expected
    frozen = [name for name, p in task.named_parameters() if not p.requires_grad]
    assert "clip.visual.proj" in frozen


def test_a_contrast_that_weighs_nothing_needs_no_captions() -> None:
    config = small_config("sd2", "contrast_face=0", "contrast_environment=0")
    task = build_task(config)
    batch = dataclasses.replace(
        random_batch(6, 32), face_caption=(None,) * 6, environment_caption=(None,) * 6
    )
    features = task(batch)
    terms = task.losses(features, batch, torch.Generator())
    assert not task.needs_captions
    assert features.keys() == {"f"}
    assert terms.parts.keys() == {"type", "separation"}


@pytest.mark.parametrize("part", ["type", "separation", "face", "environment"])
def test_every_part_of_the_loss_has_its_weight(part: str) -> None:
    key = {"type": "alpha", "separation": "separation"}.get(part, f"contrast_{part}")
    batch = random_batch(6, 32)
    totals, value = [], 0.0
    for weight in (1.0, 3.0):
        task = build_task(small_config("sd2", f"{key}={weight}"))
        with torch.no_grad():
            terms = task.losses(task(batch), batch, torch.Generator().manual_seed(0))
        totals.append(float(terms.total))
        value = float(terms.parts[part])
    assert totals[1] - totals[0] == pytest.approx(2 * value, rel=1e-4)


def test_without_clam_the_final_token_alone_is_adapted() -> None:
    task = Sd2(small_config("sd2", "clam=false"))  # type: ignore[arg-type]
    images = random_batch(2, 32).images
    with torch.no_grad():
        pooled = task.clip.visual(task.normalise(images))
        final = torch.linalg.lstsq(task.clip.visual.proj.T, pooled.T).solution.T
        tokens = task.clip.visual.forward_intermediates(task.normalise(images), output_extra_tokens=True)
        last = task.clip.visual.ln_post(tokens["image_intermediates_prefix"][-1][:, 0])
        f = task(random_batch(2, 32))["f"]
    assert final.shape == last.shape
    torch.testing.assert_close(f, torch.nn.functional.normalize(task.clam.adapter(last), dim=-1))


def test_sixteen_crops_are_learned_by_heart() -> None:
    config = small_config("sd2", "batch=16", "micro_batch=16")
    task = build_task(config).train()
    samples = MemorySamples(Split.TRAIN, 8, kinds=2).samples
    kinds = [ForgeryType(sample.row["type"]).index for sample in samples]
    batch = dataclasses.replace(
        random_batch(16, 32),
        images=task.prepare([sample.image for sample in samples]),
        label=torch.tensor([int(kind > 0) for kind in kinds]),
        type=torch.tensor(kinds),
    )
    optimiser = torch.optim.AdamW(
        [
            {"params": group.parameters, "lr": lr}
            for group, lr in zip(task.groups(), (5e-3, 2e-2), strict=True)
        ]
    )
    for step in range(100):
        optimiser.zero_grad()
        accumulate(task, task, batch, 16, seed=step, backward=torch.autograd.backward)
        optimiser.step()
    assert roc_auc_score(batch.label, task.score(batch.images).fake) == 1.0


def asked(task: Sd2) -> list[int]:
    """Grows by one entry, the number of texts, with every pass of the text tower."""
    sizes: list[int] = []
    task.clip.transformer.register_forward_hook(lambda *seen: sizes.append(len(seen[-1])))
    return sizes


def test_an_evaluation_asks_the_text_tower_once() -> None:
    task = Sd2(small_config("sd2"))  # type: ignore[arg-type]
    sizes, val = asked(task), memory_data().val
    for times in (1, 2):
        validate(task, val, Validation(), 3, list.clear)
        assert sizes == [5] * times
        assert task.training
    sizes.clear()
    task.eval()
    assert [len(task.score(random_batch(n, 32).images).fake) for n in (3, 4)] == [3, 4]
    assert sizes == [5]


def test_what_was_learned_since_an_evaluation_counts_in_the_next() -> None:
    config, images = small_config("sd2", "trainable=lora"), random_batch(4, 32).images
    task, fresh = Sd2(config), Sd2(config)  # type: ignore[arg-type]
    before = task.score(images).types
    with torch.no_grad():
        for parameter in task.trainable().values():
            parameter.add_(torch.randn_like(parameter) / 10)
    load_trained(fresh, trained_state(task))
    found, expected = task.score(images).types, fresh.score(images).types
    assert before is not None
    assert found is not None
    assert not np.allclose(found, before)
    np.testing.assert_array_equal(found, expected)


def test_labels_come_in_the_order_of_the_types() -> None:
    labels = load_preset("sd2", "paper").model_dump()["labels"]
    assert list(labels) == [kind.value for kind in ForgeryType]
    assert {len(set(sentences)) for sentences in labels.values()} == {30}
    assert MemorySamples(Split.VAL, 5).rows["type"].unique(maintain_order=True).to_list() == list(labels)


def test_a_class_is_one_of_its_sentences_or_their_mean() -> None:
    sampled, mean = (Sd2(small_config("sd2", f"label_mode={mode}")) for mode in ("sample", "mean"))  # type: ignore[arg-type]
    with torch.no_grad():
        every = [encode_text(mean.clip, list(sentences)) for sentences in mean.config.labels.classes]
        expected = torch.stack([of.mean(dim=0) for of in every])
        drawn = [sampled._class_texts(torch.Generator().manual_seed(seed)) for seed in range(6)]
        torch.testing.assert_close(
            mean._class_texts(torch.Generator()), torch.nn.functional.normalize(expected, dim=-1)
        )
    for u in drawn:
        for text, of in zip(u, every, strict=True):
            assert torch.isclose(of, text, atol=1e-5).all(dim=1).any()
    assert len({round(float(u.sum()), 4) for u in drawn}) == 6
