"""Batches of forgeries and of general dialogues in turn; a run goes on exactly where it stopped."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mmidd.dialogue.instructions import load_instructions
from mmidd.dialogue.reading import first_word
from mmidd.errors import UsageError
from mmidd.schema import Label, Split
from mmidd.training.alternating import Batches
from mmidd.training.checkpoint import start_run
from mmidd.training.config.kfd_llm import KfdLlmConfig
from mmidd.training.data import TrainingData, as_batch, train_stream
from mmidd.training.loop import Loop
from mmidd.training.online import OnlineSamples
from mmidd.training.parallel import open_fabric
from mmidd.training.tasks.kfd_llm import is_about_forgery
from mmidd.training.trained import trained_state
from tests.training.llm_world import SIZE, llm_config, llm_task, talk
from tests.training.test_training_loop import SPEC, Recorder, stop_at
from tests.training.test_training_online import faces
from tests.training.training_world import MemorySamples


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three dialogues in set.json, of which the middle one has an image: a green square between red bars."""
    folder = tmp_path_factory.mktemp("general")
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[..., 0] = 200
    picture[:, 20:60] = (0, 200, 0)
    Image.fromarray(picture).save(folder / "a.png")
    records = []
    for number in range(3):
        asked = "<image>\nWhich colour?" if number == 1 else f"What is {number} and {number}?"
        said = [{"from": "human", "value": asked}, {"from": "gpt", "value": f"Answer {number}."}]
        records.append(
            {"id": str(number), "conversations": said, **({"image": "a.png"} if number == 1 else {})}
        )
    (folder / "set.json").write_text(json.dumps(records))
    return folder


def config(folder: Path, **changes: Any) -> KfdLlmConfig:
    general = {"file": folder / "set.json", "images": folder}
    return llm_config(batch=4, micro_batch=2, epochs=2, instructions=general, **changes)


def talking(split: Split) -> MemorySamples:
    """Eight pictures that are talked about."""
    samples = MemorySamples(split, 4)
    for number, sample in enumerate(samples.samples):
        sample.row["conversations"] = list(talk(number))
    return samples


def data() -> TrainingData:
    return TrainingData(talking(Split.TRAIN), talking(Split.VAL))


def alternating(samples: TrainingData, folder: Path, rank: int = 0, world_size: int = 1) -> Batches:
    return train_stream(samples, config(folder), SIZE, rank, world_size)


def test_every_batch_of_faces_is_followed_by_one_of_general_dialogues(folder: Path) -> None:
    instructions = load_instructions(folder / "set.json", folder)
    with alternating(data(), folder) as stream:
        batches = [as_batch(loaded) for loaded in stream]
        assert len(batches) == stream.planned.steps == 4
    for number, batch in enumerate(batches):
        about = {is_about_forgery(messages) for messages in batch.conversation}
        assert about == {number % 2 == 0}
        assert len(batch) == 4
    batch = batches[1]
    assert set(batch.sample_id) == {"0", "1", "2"}, "a batch larger than the set holds all of it"
    for image, key, said in zip(batch.images, batch.sample_id, batch.conversation, strict=True):
        assert said == instructions[int(key)].messages
        colour = (0, 200, 0) if key == "1" else (0, 0, 0)
        assert image.reshape(-1, 3).float().mean(0).tolist() == pytest.approx(colour, abs=12)


def test_ranks_share_the_general_dialogues(folder: Path) -> None:
    whole = [as_batch(loaded).sample_id for loaded in alternating(data(), folder)]
    halves = [
        [as_batch(loaded).sample_id for loaded in alternating(data(), folder, rank, 2)] for rank in (0, 1)
    ]
    assert [first + second for first, second in zip(*halves, strict=True)] == whole


def test_it_goes_on_after_any_batch(folder: Path) -> None:
    samples = data()
    whole = alternating(samples, folder)
    expected = [as_batch(loaded).sample_id for _ in range(2) for loaded in whole]
    for stop in range(1, 8):
        first = alternating(samples, folder)
        state: dict[str, Any] = {}
        seen: list[Any] = []
        while len(seen) < stop:
            for loaded in first:
                seen.append(as_batch(loaded).sample_id)
                if len(seen) == stop:
                    state = first.state_dict()
                    break
        second = alternating(samples, folder)
        second.load_state_dict(json.loads(json.dumps(state)))
        while len(seen) < len(expected):
            seen += [as_batch(loaded).sample_id for loaded in second]
        assert seen == expected, stop


def test_other_general_dialogues_are_refused(folder: Path, tmp_path: Path) -> None:
    state = alternating(data(), folder).state_dict()
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    alternating(data(), tmp_path).load_state_dict(state)
    (tmp_path / "set.json").write_text((folder / "set.json").read_text().replace("Answer", "Reply"))
    with pytest.raises(UsageError, match="dialogues have changed"):
        alternating(data(), tmp_path).load_state_dict(state)


def test_a_run_that_was_stopped_ends_with_the_same_weights(folder: Path, tmp_path: Path) -> None:
    setting = config(folder, max_steps=4, generation={"max_new_tokens": 2})

    def trained(folder: Path, *stops: int | None) -> dict[str, torch.Tensor]:
        start_run(folder, setting, SPEC)
        for turn, stop in enumerate(stops):
            task, recorder = llm_task(setting), stop_at(stop, signal.SIGTERM) if stop else Recorder()
            run = Loop(task, data(), setting, folder, recorder, open_fabric(setting))
            assert run.run(resume=turn > 0).interrupted == (stop is not None)
        return trained_state(task)

    whole, parts = trained(tmp_path / "whole", None), trained(tmp_path / "parts", 1, 2, None)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())


def test_what_is_drawn_online_is_talked_about_and_afresh_in_every_epoch() -> None:
    samples = OnlineSamples(faces(Split.TRAIN, 1), ("regional",), 0)
    for epoch in (0, 1):
        real, fake = (samples.at(epoch)[half].row["conversations"] for half in (0, 1))
        assert [one["value"] for one in real[::2]] == [one["value"] for one in fake[::2]], (
            "humans say the same"
        )
        assert (first_word(real[1]["value"]), first_word(fake[1]["value"])) == (Label.REAL, Label.FAKE)
    first, second = (samples.at(epoch)[1].row["conversations"] for epoch in (0, 1))
    assert first != second
