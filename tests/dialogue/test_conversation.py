"""Conversations say what is true, give the label away only in answers, and use every wording."""

from __future__ import annotations

import re
import subprocess
import sys
from fractions import Fraction
from functools import cache
from importlib import resources

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mmidd.dialogue.conversation import (
    IMAGE_SLOT,
    SCORE_SLOT,
    Finding,
    Message,
    Region,
    converse,
    fill_score,
    place,
)
from mmidd.dialogue.templates import parse
from mmidd.errors import DataError, UsageError
from mmidd.preprocess.blend.regions import REGIONS as LANDMARKS
from mmidd.schema import Label

PARTS = ["left eye", "right eye", "nose", "nose ridge", "left jaw", "right jaw", "left cheek", "right cheek"]
NAMES = [*PARTS, "mouth", "center face", "full face"]
GRID = [
    ["upper left", "upper centre", "upper right"],
    ["centre left", "centre", "centre right"],
    ["lower left", "lower centre", "lower right"],
]
SPOTS = [spot for row in GRID for spot in row]
TRACES = ["colour", "light", "blurred", "sharpened", "shifted", "seam"]
REAL = Finding(Label.REAL, (), ())
SOURCE = (resources.files("mmidd.dialogue") / "templates.yaml").read_text(encoding="utf-8")
RAW = yaml.safe_load(SOURCE)
FOLLOW_UPS = ["where", "sure", "why", "natural"]

regions = st.builds(Region, st.sampled_from(NAMES), st.sampled_from(SPOTS))
fakes = st.builds(
    Finding,
    st.just(Label.FAKE),
    st.lists(regions, min_size=1, max_size=3, unique_by=lambda region: region.name).map(tuple),
    st.lists(st.sampled_from(TRACES), unique=True).map(tuple),
)
findings = st.one_of(fakes, st.just(REAL))
seeds = st.integers(0, 2**32)


def talk(finding: Finding, seed: int) -> list[Message]:
    return converse(finding, np.random.default_rng(seed))


def said(messages: list[Message], who: str) -> list[str]:
    return [message["value"] for message in messages if message["from"] == who]


def turns(messages: list[Message]) -> list[tuple[str, str]]:
    """Kind and answer of every turn."""
    kinds = {question: kind for kind in FOLLOW_UPS for question in RAW["turns"][kind]["questions"]}
    asked = ["verdict", *(kinds[question] for question in said(messages, "human")[1:])]
    return list(zip(asked, said(messages, "gpt"), strict=True))


def named(text: str) -> list[str]:
    """Regions of the vocabulary in a text, in order."""
    return re.findall("|".join(sorted(NAMES, key=len, reverse=True)), text.lower())


def random_fake(rng: np.random.Generator) -> Finding:
    """One to three regions and the traces that a simulation leaves."""
    names = rng.choice(NAMES, rng.integers(1, 4), replace=False)
    spots = rng.choice(SPOTS, len(names))
    detail = rng.choice(["blurred", "sharpened"])
    chosen = tuple(Region(str(name), str(spot)) for name, spot in zip(names, spots, strict=True))
    return Finding(Label.FAKE, chosen, ("colour", "light", str(detail), "shifted", "seam"))


@cache
def corpus() -> list[tuple[Finding, list[Message]]]:
    rng = np.random.default_rng(0)
    pairs = [finding for _ in range(500) for finding in (random_fake(rng), REAL)]
    pairs += [Finding(Label.FAKE, random_fake(rng).regions, ()) for _ in range(60)]
    return [(finding, converse(finding, rng)) for finding in pairs]


def release_rule(text: str) -> int | None:
    """KFD-R inference.py: later hits override."""
    label = None
    for words, value in (
        (("pristine",), 0),
        (("not", "pristine"), 1),
        (("deepfake",), 1),
        (("not", "deepfake"), 0),
        (("Yes",), 1),
        (("No",), 0),
    ):
        if all(word in text for word in words):
            label = value
    return label


@given(findings, seeds)
def test_the_messages_alternate_and_the_first_begins_with_the_image(finding: Finding, seed: int) -> None:
    messages = talk(finding, seed)
    assert [message["from"] for message in messages] == ["human", "gpt"] * (len(messages) // 2)
    assert 2 <= len(messages) <= 10
    assert messages[0]["value"].startswith(IMAGE_SLOT + "\n")
    assert sum(message["value"].count(IMAGE_SLOT) for message in messages) == 1
    assert messages[0]["value"].count(SCORE_SLOT) == 1
    assert messages == talk(finding, seed)


@given(fakes, seeds)
def test_a_pair_is_asked_the_same_words(fake: Finding, seed: int) -> None:
    assert said(talk(fake, seed), "human") == said(talk(REAL, seed), "human")


@given(findings, seeds)
def test_each_follow_up_is_asked_at_most_once(finding: Finding, seed: int) -> None:
    asked = [kind for kind, _ in turns(talk(finding, seed))]
    assert len(set(asked)) == len(asked)


def test_number_and_order_of_follow_ups_vary() -> None:
    asked = [tuple(kind for kind, _ in turns(messages))[1:] for _, messages in corpus()]
    counts = np.bincount([len(kinds) for kinds in asked], minlength=5) / len(asked)
    assert np.abs(counts - 0.2).max() < 0.06
    first = [kinds[0] for kinds in asked if kinds]
    assert all(abs(first.count(kind) / len(first) - 0.25) < 0.06 for kind in FOLLOW_UPS)


def test_first_word_and_release_rule_give_the_label() -> None:
    for finding, messages in corpus():
        answer, fake = messages[1]["value"], finding.label == Label.FAKE
        first, rest = re.split(r"\W", answer, maxsplit=1)
        assert first == ("Yes" if fake else "No")
        assert release_rule(answer) == fake
        assert release_rule(rest) == fake, "the statement alone gives the label too"
        trap = r"\bno\b|not|pristine|No" if fake else r"Yes|\byes\b|pristine"
        assert not re.search(trap, answer), answer


@given(fakes, seeds)
def test_a_fakes_answers_name_exactly_its_regions(fake: Finding, seed: int) -> None:
    truth = [region.name for region in fake.regions]
    for kind, answer in turns(talk(fake, seed)):
        if kind != "natural":
            assert named(answer) == truth, answer
        if kind in ("verdict", "where"):
            spots = [region.place for region in fake.regions]
            longest_first = "|".join(sorted(SPOTS, key=len, reverse=True))
            found = re.findall(rf"at the ({longest_first})\b", answer)
            assert found == (spots[:1] if len({*spots}) == 1 else spots)


@given(fakes, seeds)
def test_reasons_are_traces_of_the_picture(fake: Finding, seed: int) -> None:
    for kind, answer in turns(talk(fake, seed)):
        if kind == "why":
            given_reasons = [
                trace for trace in TRACES if any(pattern(t).search(answer) for t in RAW["traces"][trace])
            ]
            assert {*given_reasons} <= {*fake.traces}
            assert bool(given_reasons) == bool(fake.traces)
            assert len(given_reasons) <= 3


@given(seeds)
def test_a_real_is_explained_by_what_agrees_in_it(seed: int) -> None:
    for kind, answer in turns(talk(REAL, seed)):
        if kind == "why":
            clauses = [text for lines in RAW["consistent"].values() for text in lines if text in answer]
            assert 1 <= len(clauses) <= 3
        assert kind == "natural" or not named(answer)
        assert kind != "natural" or 1 <= len(named(answer)) <= 3


def test_no_forged_part_is_called_natural() -> None:
    middle = {"left eye", "right eye", "nose", "nose ridge", "mouth", "left cheek", "right cheek"}
    contained = {"center face": middle, "full face": {*NAMES}}
    answers = [
        (f, answer) for f, messages in corpus() for kind, answer in turns(messages) if kind == "natural"
    ]
    for finding, answer in answers:
        praised = {*named(answer)}
        forged = {region.name for region in finding.regions}
        reached = forged.union(*(RAW["neighbours"][name] for name in forged))
        assert not praised & (reached | {"center face", "full face"}), answer
        for region in finding.regions:
            assert not praised & {region.name, *contained.get(region.name, set())}, answer
        assert praised or any(text in answer.lower() for text in RAW["surroundings"])


def test_neighbours_are_the_regions_that_share_a_landmark() -> None:
    assert list(LANDMARKS) == NAMES
    for name, points in LANDMARKS.items():
        sharing = [part for part in [*PARTS, "mouth"] if part != name and {*points} & {*LANDMARKS[part]}]
        assert RAW["neighbours"][name] == sharing


def test_no_number_is_said_before_the_score_is_filled() -> None:
    for _, messages in corpus():
        for message in messages:
            assert not re.search(r"\d", message["value"].replace("from 0 to 100 percent", ""))


@given(findings, seeds, st.floats(0, 1))
def test_the_score_is_a_slot_until_it_is_filled(finding: Finding, seed: int, score: float) -> None:
    messages = talk(finding, seed)
    filled = fill_score(messages, score)
    numbers = re.findall(r"(\d+) percent", " ".join(m["value"].replace("to 100", "") for m in filled))
    slots = sum(message["value"].count(SCORE_SLOT) for message in messages)
    assert len(numbers) == slots == 1 + sum(kind == "sure" for kind, _ in turns(messages))
    assert all(abs(Fraction(score) * 100 - int(number)) <= Fraction(501, 1000) for number in numbers)
    assert messages == talk(finding, seed), "filling leaves the given messages as they are"


@pytest.mark.parametrize(
    ("score", "percent"), [(0, "0"), (0.005, "1"), (0.934, "93"), (0.996, "100"), (1, "100")]
)
def test_scores_become_whole_percents(score: float, percent: str) -> None:
    assert fill_score([{"from": "gpt", "value": SCORE_SLOT}], score) == [{"from": "gpt", "value": percent}]


@pytest.mark.parametrize("score", [-0.01, 1.01, float("nan"), 93])
def test_a_score_outside_0_to_1_is_refused(score: float) -> None:
    with pytest.raises(UsageError, match=r"0\.\.1"):
        fill_score(talk(REAL, 0), score)


def test_answers_of_both_labels_are_of_similar_length() -> None:
    lengths: dict[tuple[str, str], list[int]] = {}
    for finding, messages in corpus():
        for kind, answer in turns(messages):
            lengths.setdefault((kind, finding.label.value), []).append(len(answer))
    means = {key: float(np.mean(values)) for key, values in lengths.items()}
    for kind in ("verdict", *FOLLOW_UPS):
        assert abs(means[kind, "fake"] / means[kind, "real"] - 1) < 0.25, (kind, means)


def pattern(template: str) -> re.Pattern[str]:
    """Matches what a template becomes: either form, anything in a placeholder, any capitalisation."""
    escaped = re.sub(r"\\\{\w+\\\}", ".+", re.escape(template))
    return re.compile(re.sub(r"\\\[(.*?)\\\|(.*?)\\\]", r"(?:\1|\2)", escaped), re.IGNORECASE)


def wordings(node: object) -> list[str]:
    if isinstance(node, str):
        return [node]
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    return [text for child in children for text in wordings(child)]


def test_every_wording_is_used_and_none_has_an_open_placeholder() -> None:
    text = "\n".join(message["value"] for _, messages in corpus() for message in messages)
    assert not re.search(r"[][{}|]", text)
    for template in wordings({key: value for key, value in RAW.items() if key != "neighbours"}):
        assert pattern(template).search(text), template


def test_there_are_enough_wordings_and_none_twice() -> None:
    verdict = RAW["turns"]["verdict"]
    assert min(len(RAW["backgrounds"]), len(RAW["detector"])) >= 6
    assert len(verdict["questions"]) >= 10
    assert min(len(verdict["fake"]), len(verdict["real"])) >= 8
    assert all(len(lines) >= 6 for kind in FOLLOW_UPS for lines in RAW["turns"][kind].values())
    assert all(len(lines) >= 2 for lines in RAW["traces"].values())
    for group in (
        [RAW["backgrounds"]],
        [RAW["detector"]],
        *(turn.values() for turn in RAW["turns"].values()),
    ):
        assert all(len({*lines}) == len(lines) for lines in group)


def test_verbs_follow_the_number_of_regions() -> None:
    one = Finding(Label.FAKE, (Region("nose", "centre"),), tuple(TRACES))
    two = Finding(Label.FAKE, (Region("nose", "centre"), Region("mouth", "lower centre")), tuple(TRACES))
    nose = " ".join(
        answer for seed in range(80) for kind, answer in turns(talk(one, seed)) if kind != "natural"
    )
    both = " ".join(
        answer for seed in range(80) for kind, answer in turns(talk(two, seed)) if kind != "natural"
    )
    assert not re.search(r"\b(they|them|their|were|have|(parts|areas|regions|artefacts) are)\b", nose)
    assert not re.search(r"\b(it sits|it meets|its|area is|region is|has been)\b", both)
    assert "the nose at the centre and the mouth at the lower centre of the image" in both


def test_a_place_that_all_regions_share_is_said_once() -> None:
    fake = Finding(Label.FAKE, tuple(Region(name, "centre") for name in ("nose", "mouth", "left eye")), ())
    assert "the nose, the mouth and the left eye at the centre of the image" in talk(fake, 0)[1]["value"]


def test_places_by_brute_force() -> None:
    for row in range(30):
        for column in range(30):
            x, y = (column + 0.5) / 30, (row + 0.5) / 30
            assert place(x, y) == GRID[row // 10][column // 10]
            assert Region("nose", place(x, y)).mirrored().place == place(1 - x, y)
    assert (place(0, 0), place(1, 1), place(1, 0)) == ("upper left", "lower right", "upper right")


@pytest.mark.parametrize("point", [(-0.01, 0.5), (0.5, 1.01), (float("nan"), 0.5)])
def test_a_point_outside_the_image_is_refused(point: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="outside the image"):
        place(*point)


@given(findings)
def test_mirroring_swaps_both_sides_and_twice_is_nothing(finding: Finding) -> None:
    mirrored = finding.mirrored()
    assert mirrored.mirrored() == finding
    assert (mirrored.label, mirrored.traces) == (finding.label, finding.traces)
    for before, after in zip(finding.regions, mirrored.regions, strict=True):
        for old, new in ((before.name, after.name), (before.place, after.place)):
            swapped = old.replace("left", "LEFT").replace("right", "left").replace("LEFT", "right")
            assert new == swapped


EYE = Region("left eye", "upper right")


@pytest.mark.parametrize(
    ("label", "chosen", "traces"),
    [
        (Label.REAL, (EYE,), ()),
        (Label.REAL, (), ("seam",)),
        (Label.FAKE, (), ("seam",)),
        (Label.FAKE, (EYE, EYE), ()),
        (Label.FAKE, (EYE,), ("seam", "seam")),
        (Label.FAKE, (EYE,), ("smell",)),
    ],
)
def test_a_contradictory_finding_is_refused(
    label: Label, chosen: tuple[Region, ...], traces: tuple[str, ...]
) -> None:
    with pytest.raises(DataError, match="finding"):
        Finding(label, chosen, traces)


@pytest.mark.parametrize(("name", "spot"), [("ear", "centre"), ("nose", "middle")])
def test_an_unknown_region_is_refused(name: str, spot: str) -> None:
    with pytest.raises(DataError, match=f"{name}.*{spot}"):
        Region(name, spot)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("The editing concerns {placed}.", "The editing concerns {place}.", "turns.where.fake.4"),
        ("The editing concerns {placed}.", "The editing concerns.", "turns.where.fake.4"),
        ("[region is|regions are]", "[region is|regions are", "turns.where.fake.0"),
        ("How sure are you?", f"How sure of {SCORE_SLOT} are you?", "turns.sure.questions.0"),
        ('  - "What makes you think so?"', "  - Yes", "turns.why.questions.0"),
        ("untraced:", "untrased:", "untraced"),
        ("untraced:", "more: [a line]\nuntraced:", "more"),
        ("  mouth: [", "  lips: [", "neighbours.lips"),
        ("  nose: [nose ridge", "  nose: [ear", "neighbours.nose"),
        ("  seam:", "  scar:", "traces.scar"),
        ("  natural:\n", "  unnatural:\n", "turns.natural"),
        ("turns:\n", "turns: [\n", "line"),
    ],
)
def test_a_malformed_template_is_an_error_that_names_the_key(old: str, new: str, key: str) -> None:
    assert old in SOURCE
    with pytest.raises(DataError, match=re.escape(key)):
        parse(SOURCE.replace(old, new, 1))


def test_importing_it_loads_no_torch_and_no_cv2() -> None:
    code = "import sys, mmidd.dialogue.conversation; sys.exit(bool({'torch', 'cv2'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
