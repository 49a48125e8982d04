"""General dialogues from files, first questions, and the labels of written answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmidd.dialogue.conversation import IMAGE_SLOT, SCORE_SLOT, converse
from mmidd.dialogue.finding import REGIONS, Finding, Region
from mmidd.dialogue.instructions import load_instructions
from mmidd.dialogue.opening import opening, split_opening
from mmidd.dialogue.reading import first_word, read_label, release_rule
from mmidd.dialogue.templates import templates
from mmidd.errors import UsageError
from mmidd.schema import Label

SAID = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A dog."}]
PLAIN = [{"from": "human", "value": "Hello."}, {"from": "gpt", "value": "Good day."}]


def written(folder: Path, records: Any, name: str = "set.json") -> Path:
    file = folder / name
    lines = name.endswith(".jsonl")
    file.write_text("\n".join(map(json.dumps, records)) if lines else json.dumps(records))
    return file


@pytest.mark.parametrize("name", ["set.json", "set.jsonl"])
def test_dialogues_with_and_without_an_image_are_read(name: str, tmp_path: Path) -> None:
    records = [
        {"id": 7, "image": "coco/1.jpg", "conversations": SAID, "model": "ignored"},
        {"id": "b", "conversations": PLAIN * 2},
    ]
    one, two = load_instructions(written(tmp_path, records, name), Path("/pictures"))
    assert (one.id, one.image, list(one.messages)) == ("7", Path("/pictures/coco/1.jpg"), SAID)
    assert (two.id, two.image, list(two.messages)) == ("b", None, PLAIN * 2)


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ({"id": "a", "conversations": [*PLAIN, PLAIN[0]]}, "speak in turn"),
        ({"id": "a", "conversations": PLAIN[::-1]}, "speak in turn"),
        ({"id": "a", "conversations": SAID}, "must stand once"),
        ({"id": "a", "image": "a.jpg", "conversations": PLAIN}, "must stand once"),
        ({"id": "a", "image": "a.jpg", "conversations": [*SAID, *SAID]}, "must stand once"),
        ({"id": "a", "image": "../a.jpg", "conversations": SAID}, "outside the folder"),
        ({"id": "a", "image": "/a.jpg", "conversations": SAID}, "outside the folder"),
        ({"id": "a", "conversations": []}, "conversations"),
        ({"conversations": PLAIN}, "id: Field required"),
        (
            {"id": "a", "conversations": [{"from": "human", "value": SCORE_SLOT}, PLAIN[1]]},
            "belongs to dialogues about forgeries",
        ),
    ],
)
def test_the_first_wrong_dialogue_is_named_in_one_line(
    record: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    file = written(tmp_path, [{"id": "good", "conversations": PLAIN}, record])
    with pytest.raises(UsageError, match=f"dialogue 1: .*{complaint}") as caught:
        load_instructions(file, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("{", "is not JSON"), ("{}", "no list of dialogues"), ("[]", "holds no dialogues")],
)
def test_a_file_of_another_kind_is_one_line(text: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "set.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=complaint):
        load_instructions(file)
    with pytest.raises(UsageError, match="there is no file"):
        load_instructions(tmp_path / "other.json")
    pictured = written(tmp_path, [{"id": "a", "image": "a.jpg", "conversations": SAID}])
    with pytest.raises(UsageError, match=r"--set instructions\.images"):
        load_instructions(pictured)


@given(st.integers(0, 2**32), st.booleans())
def test_the_parts_of_a_first_question_are_those_it_was_made_of(seed: int, fake: bool) -> None:
    found = (
        Finding(Label.FAKE, (Region(REGIONS[seed % 11], "centre"),), ())
        if fake
        else Finding(Label.REAL, (), ())
    )
    first = converse(found, np.random.default_rng(seed))[0]["value"]
    parts, text = split_opening(first), templates()
    assert parts.has_image
    assert parts.description in text.backgrounds
    assert parts.score in text.detector
    assert parts.question in text.turns["verdict"].questions
    assert parts.with_score(0.125).score == parts.score.replace(SCORE_SLOT, "13")


def test_a_question_of_ones_own_comes_with_description_and_score() -> None:
    parts = split_opening(opening("Is her nose real? I doubt it.")["value"])
    assert (parts.has_image, parts.question) == (True, "Is her nose real? I doubt it.")
    assert SCORE_SLOT in parts.score
    assert split_opening(opening()["value"]).question in templates().turns["verdict"].questions
    general = split_opening(f"Look. {IMAGE_SLOT} What is it?")
    assert (general.description, general.score, general.question) == ("", "", "Look.  What is it?")


@given(st.integers(0, 2**32), st.booleans())
def test_both_rules_read_the_label_of_every_first_answer(seed: int, fake: bool) -> None:
    found = Finding(Label.FAKE, (Region("nose", "centre"),), ()) if fake else Finding(Label.REAL, (), ())
    answer = converse(found, np.random.default_rng(seed))[1]["value"]
    assert first_word(answer) is release_rule(answer) is found.label


@pytest.mark.parametrize(
    ("answer", "by_word", "by_release"),
    [
        ("The picture is pristine.", None, Label.REAL),
        ("It is not pristine.", None, Label.FAKE),
        ("A deepfake, I think.", None, Label.FAKE),
        ("It is not a deepfake.", None, Label.REAL),
        ("Nose and mouth look odd.", None, Label.REAL),
        ("No, it is a deepfake.", Label.REAL, Label.REAL),
        ("yes", Label.FAKE, None),
        ("  \n- YES!", Label.FAKE, None),
        ("Nothing to see.", None, Label.REAL),
        ("", None, None),
    ],
)
def test_the_rules_differ_as_documented(answer: str, by_word: Label | None, by_release: Label | None) -> None:
    assert read_label(answer, "first_word") is by_word
    assert read_label(answer, "release") is by_release
