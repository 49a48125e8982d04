"""`mmidd chat`: answers in context, the dialogue on disk, and one line where it cannot be."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from mmidd.cli.chat import chat
from mmidd.detection import chat as library
from mmidd.errors import UsageError
from mmidd.spec import PreprocessSpec
from mmidd.training.tasks.kfd_llm import KfdLlm
from mmidd.training.trained import Run
from tests.training.llm_world import FakeDetector, llm_config, llm_task

FACE = Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"
SPEC = PreprocessSpec(size=64)

app = typer.Typer()
app.command()(chat)


@pytest.fixture
def task() -> KfdLlm:
    return llm_task(llm_config({"context": 512}, generation={"max_new_tokens": 6}))


@pytest.fixture
def run_dir(task: KfdLlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of the task, and faces that need no detector."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text("method: kfd-llm\n")
    monkeypatch.setattr(library, "load_run", lambda *_: Run(task, SPEC, task.config, "kfd-llm"))
    monkeypatch.setattr(library, "face_crop", lambda *_: np.full((64, 64, 3), 90, np.uint8))
    return folder


def talk(run_dir: Path, *options: str, typed: str = "") -> Any:
    return CliRunner().invoke(app, [str(FACE), "--run", str(run_dir), *options], input=typed)


def test_questions_from_the_terminal_are_answered_and_saved(run_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "saved" / "talk.json"
    done = talk(run_dir, "--save", str(file), typed="Is it fake?\nWhere?\n\nnever asked\n")
    assert done.exit_code == 0, done.output
    assert re.search(r"P\(fake\) 0\.\d+, P\(yes\) 0\.\d+; answering on", done.output)
    (record,) = json.loads(file.read_text())
    said = record["conversations"]
    assert [one["from"] for one in said] == ["human", "gpt"] * 2
    assert said[0]["value"].startswith("<image>\n")
    assert said[0]["value"].endswith("Is it fake?")
    assert said[2]["value"] == "Where?"
    assert f"{100 * record['score']:.0f} percent" in said[0]["value"]
    assert all(one["value"] in done.output for one in said[1::2])


def test_a_follow_up_is_answered_in_the_context_of_what_was_said(
    run_dir: Path, task: KfdLlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[Any]] = []
    answer = task.answer

    def heard(evidence: Any, talks: Any, listener: Any = None) -> Any:
        asked.append([one["value"] for one in talks[0]])
        return answer(evidence, talks, listener)

    monkeypatch.setattr(task, "answer", heard)
    assert talk(run_dir, "--ask", "Is it fake?", "--ask", "Where?").exit_code == 0
    assert [len(one) for one in asked] == [1, 3]
    assert asked[1][0] == asked[0][0]
    assert asked[1][2] == "Where?"
    assert list((run_dir / "chats").glob("grace_hopper-*.json"))


def test_a_question_longer_than_the_context_is_one_line_and_the_talk_goes_on(
    run_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "talk.json"
    done = talk(run_dir, "--save", str(file), typed=f"{'very ' * 900}\nIs it fake?\n")
    assert done.exit_code == 0
    assert done.output.count("ask a shorter question") == 1
    assert len(json.loads(file.read_text())[0]["conversations"]) == 2
    refused = talk(run_dir, "--ask", "very " * 900)
    assert isinstance(refused.exception, UsageError)


def test_a_run_of_the_other_stage_is_one_line(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first: Any = FakeDetector()
    monkeypatch.setattr(library, "load_run", lambda *_: Run(first, SPEC, llm_config(), "kfd"))
    refused = talk(run_dir, "--ask", "Is it fake?")
    assert isinstance(refused.exception, UsageError)
    assert "run of kfd and cannot talk" in str(refused.exception)


def test_the_face_is_cropped_as_in_training() -> None:
    assert library.face_crop(FACE, SPEC).shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("empty.png", "has no face to talk about"), ("none.png", "not_found"), ("notes.txt", "not_media")],
)
def test_an_image_without_a_face_is_one_line(name: str, complaint: str, tmp_path: Path) -> None:
    Image.new("RGB", (96, 96), (90, 120, 60)).save(tmp_path / "empty.png")
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(UsageError, match=complaint) as caught:
        library.face_crop(tmp_path / name, SPEC)
    assert "\n" not in str(caught.value)
