"""One planted fault per check, and what the audit says about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mmidd.captioning.audit import duplicates
from mmidd.captioning.audit.rows import FINDINGS
from mmidd.captioning.measured import Facts
from mmidd.errors import StorageError, UsageError
from tests.captioning.caption_audit_world import (
    FACE,
    VLM,
    add,
    audited,
    build,
    caption,
    facts,
    kinds,
    prose,
    sample,
)

MEASURED = Facts(
    brightness=120,
    contrast=30,
    warmth=0.6,
    side_light=0,
    sharpness=100,
    background_brightness=90,
    background_texture=4,
    background_colour="blue",
    background_uniformity=0.5,
)
TWO = [sample("a"), sample("b")]
SENTENCE = "one two three four five six"
PAIR = (SENTENCE, SENTENCE)


def found(root: Path, *captions: dict[str, Any], samples: list[dict[str, Any]] = TWO) -> pl.DataFrame:
    return audited(build(root / "ws", samples, captions)).findings


def test_clean_captions_have_no_findings_and_the_files_are_there(tmp_path: Path) -> None:
    result = audited(build(tmp_path / "ws", TWO, [caption("a"), caption("b")]))
    assert result.findings.is_empty()
    assert (result.captions, result.samples, result.drawn) == (2, 2, 2)
    assert pl.read_parquet(result.paths["findings"]).schema == pl.DataFrame(FINDINGS.empty_table()).schema
    assert "Nothing is wrong" in result.paths["report"].read_text()
    assert result.folder == tmp_path / "ws" / "captions_audit" / VLM
    assert [path.name for path in result.folder.iterdir() if path.name.startswith(".tmp")] == []


@pytest.mark.parametrize(
    ("planted", "expected", "detail"),
    [
        ({"facts": None}, ("schema", "facts_missing", "error"), None),
        ({"facts": "{'face':"}, ("schema", "facts_not_json", "error"), "Invalid JSON"),
        ({"facts": MEASURED.model_dump_json()}, ("schema", "facts_invalid", "error"), "Field required"),
        ({"facts": facts(*PAIR, pose="dancing")}, ("schema", "facts_invalid", "error"), "face.pose"),
        ({"tries": 2}, ("schema", "second_try", "info"), "50.0%"),
        ({"face": None}, ("length", "face_missing", "error"), None),
        ({"environment": " "}, ("length", "environment_missing", "error"), None),
        ({"face": "one two three four"}, ("length", "face_too_short", "warning"), "one two three four"),
        ({"environment": "a " * 76}, ("length", "environment_too_long", "error"), None),
        ({"face": "A Fake look: it was swapped, clearly"}, ("verdict", "face", "error"), "fake, swapped: A"),
        ({"environment": f"{SENTENCE} generated"}, ("verdict", "environment", "error"), "generated: one"),
    ],
)  # fmt: skip
def test_a_planted_fault_is_found(
    tmp_path: Path, planted: dict[str, Any], expected: tuple[str, str, str], detail: str | None
) -> None:
    findings = found(tmp_path, caption("a", **planted), caption("b"))
    assert kinds(findings) == {expected}
    assert (detail or "") in (findings["detail"][0] or "")
    if expected[2] != "info":
        assert findings["sample_id"].to_list() == [caption("a")["sample_id"]]


def test_the_longest_sentence_that_clip_reads_is_fine(tmp_path: Path) -> None:
    assert found(tmp_path, caption("a", face="a " * 75, environment=SENTENCE), caption("b")).is_empty()
    long = found(tmp_path / "long", caption("a", face="a " * 76), caption("b"))
    assert long["value"].to_list() == [78]


def test_an_attribute_may_not_judge_either(tmp_path: Path) -> None:
    findings = found(tmp_path, caption("a", {"accessories": "artificial lashes"}), caption("b"))
    assert kinds(findings) == {("verdict", "face.accessories", "error")}
    assert findings["value"].to_list() == [1]


def test_measured_facts_have_a_schema_of_their_own(tmp_path: Path) -> None:
    good, bad = caption("a", facts=MEASURED.model_dump_json()), caption("b")
    result = audited(build(tmp_path / "ws", TWO, [good, bad], "measured"), "measured")
    assert kinds(result.findings) == {("schema", "facts_invalid", "error")}
    assert result.findings["sample_id"].to_list() == [bad["sample_id"]]


def test_failures_count_by_reason_unless_the_sample_was_captioned_after_all(tmp_path: Path) -> None:
    failed = {"face": None, "environment": None, "facts": None}
    rows = [caption("a"), caption("a", reason="timeout", **failed), caption("b", reason="parse", **failed)]
    findings = found(tmp_path, *rows, samples=[*TWO, sample("c")])
    assert kinds(findings) == {("failure", "parse", "warning"), ("coverage", "uncaptioned", "info")}
    assert "1 of 3 usable samples" in findings.filter(pl.col("kind") == "coverage")["detail"][0]


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        ((SENTENCE, SENTENCE), "duplicate"),
        ((f"{SENTENCE.title()}.", SENTENCE), "near_duplicate"),
        ((prose("x", 30), prose("x", 29) + " other"), "near_duplicate"),
        ((prose("x", 12), prose("x", 11) + " other"), None),
    ],
)
@pytest.mark.parametrize("videos", [("v", "v"), ("v", "w")])
def test_sentences_that_repeat_are_notes_in_a_video_and_warnings_across(
    tmp_path: Path, texts: tuple[str, str], kind: str | None, videos: tuple[str, str]
) -> None:
    samples = [sample(name, video_id=f"own/{video}") for name, video in zip("ab", videos, strict=True)]
    rows = [caption(name, environment=text) for name, text in zip("ab", texts, strict=True)]
    result = audited(build(tmp_path / "ws", samples, rows))
    severity = "info" if videos == ("v", "v") else "warning"
    assert kinds(result.findings) == ({(kind, "environment", severity)} if kind else set())
    if kind:
        assert result.findings["value"].to_list() == [2]
        match = pl.col("match") == ("exact" if kind == "duplicate" else "near")
        row = (
            result.tables["duplicates"]
            .filter((pl.col("sentence") == "environment") & match)
            .row(0, named=True)
        )
        assert (row["groups"], row["share"]) == (1, 1.0 if severity == "warning" else 0.0)


def test_of_many_sentences_some_are_searched_for_near_duplicates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "SEARCHED", 3)
    names = [str(k) for k in range(5)]
    table = audited(build(tmp_path / "ws", map(sample, names), map(caption, names))).tables["duplicates"]
    assert table["distinct"].to_list() == [5, 3, 5, 3]


def test_where_everything_failed_the_failures_are_told(tmp_path: Path) -> None:
    rows = [caption(name, reason="timeout", face=None, environment=None, facts=None) for name in "ab"]
    result = audited(build(tmp_path / "ws", TWO, rows))
    assert result.summary().rows() == [("failure", "timeout", "warning", 2)]
    assert (result.captions, result.drawn) == (0, 0)


def test_two_seeds_are_compared(tmp_path: Path) -> None:
    names = [str(k) for k in range(24)]
    poses = {name: ("frontal", "turned left")[int(name) % 2] for name in names}
    ours = [caption(name, {"pose": poses[name]}, face=f"{name} b c d e") for name in names]
    theirs = [
        caption(name, {"pose": "frontal"}, face=f"{name} b c x y", environment=ours[k]["environment"], seed=1)
        for k, name in enumerate(names)
    ]
    workspace = build(tmp_path / "ws", map(sample, names), ours)
    add(workspace, theirs, f"{VLM}-seed1")
    result = audited(workspace, against=f"{VLM}-seed1")
    agreed = {row["attribute"]: row for row in result.tables["agreement"].iter_rows(named=True)}
    assert agreed["face.pose"] == {"attribute": "face.pose", "exact": 0.5, "kappa": 0.0, "n": 24}
    assert agreed["face.hair"]["exact"] == 1.0
    assert ("agreement", "face.pose", "warning") in kinds(result.findings)
    wording = {row["sentence"]: row for row in result.tables["wording"].iter_rows(named=True)}
    assert wording["face"]["jaccard"] == pytest.approx(3 / 7)
    assert (wording["face"]["identical"], wording["environment"]["identical"]) == (0.0, 1.0)
    assert "against qwen2-vl-seed1" in result.paths["report"].read_text()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("gpt", "only by: qwen2-vl"),
        ("", "only by: qwen2-vl"),
        ("strangers", "captioned no usable sample"),
    ],
)
def test_captions_that_are_not_there_are_named_with_what_is(tmp_path: Path, asked: str, words: str) -> None:
    workspace = build(tmp_path / "ws", TWO, [caption("a")])
    if asked == "strangers":
        add(workspace, [caption("stranger")], "strangers")
    with pytest.raises(UsageError, match=words):
        audited(workspace, asked)


def test_nothing_in_common_cannot_be_compared(tmp_path: Path) -> None:
    workspace = build(tmp_path / "ws", TWO, [caption("a")])
    add(workspace, [caption("b")], "other")
    with pytest.raises(UsageError, match="no sample in common"):
        audited(workspace, against="other")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    workspace = build(tmp_path / "ws", TWO, [caption("a")])
    (workspace.root / "captions_audit").write_text("in the way")
    with pytest.raises(StorageError, match="free space"):
        audited(workspace)


def test_captions_of_before_the_model_columns_are_read(tmp_path: Path) -> None:
    workspace = build(tmp_path / "ws", TWO, [caption("a"), caption("b")])
    part = next((workspace.root / "captions" / VLM / "parts").glob("*.parquet"))
    pl.read_parquet(part).drop("model", "seed", "tries", "revision", "prompt_hash").write_parquet(part)
    assert audited(workspace).findings.is_empty()


def test_the_answers_of_the_helpers_are_valid() -> None:
    assert json.loads(caption("a")["facts"])["face"] == FACE
