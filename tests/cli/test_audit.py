"""`mmidd audit` by the command, on own images with one planted duplicate, leak and conflict."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from skimage import data

from tests.cli.command import as_json, error_line, mmidd

DESCRIPTION = """
name: {name}
media: image
rules: [{{glob: "*.png", label: {label}, type: {kind}, split: {split}}}]
"""


def folder(root: Path, name: str, label: str, kind: str, split: str) -> Path:
    path = root / name
    path.mkdir()
    (path / "dataset.yaml").write_text(DESCRIPTION.format(name=name, label=label, kind=kind, split=split))
    return path


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sources train, test and fake; `d` is twice in train, `l` in train and test, `c` in train and fake."""
    root = tmp_path_factory.mktemp("audit")
    face = Image.fromarray(data.astronaut())  # type: ignore[no-untyped-call]
    train = folder(root, "train", "real", "REAL", "train")
    test = folder(root, "test", "real", "REAL", "test")
    fake = folder(root, "fake", "fake", "FS", "train")
    for number, name in enumerate(("d1", "l", "c", "plain")):
        face.rotate(6 * number).resize((500 + 20 * number, 420)).save(train / f"{name}.png")
    shutil.copy(train / "d1.png", train / "d2.png")
    shutil.copy(train / "l.png", test / "l.png")
    shutil.copy(train / "c.png", fake / "c.png")
    for source in (train, test, fake):
        as_json("ingest", "folder", source, "-w", root / "ws")
    return root / "ws"


def of_kind(findings: pl.DataFrame, kind: str, check: str) -> list[set[str]]:
    some = findings.filter((pl.col("kind") == kind) & (pl.col("check") == check))
    return [set(pair) for pair in some.select("a_source", "b_source").iter_rows()]


def test_audit_finds_fails_on_and_resolves_what_was_planted(workspace: Path) -> None:
    assert as_json("status", "-w", workspace)["excluded"] == {}
    found = as_json("audit", "-w", workspace, "--radius", "0")
    findings = pl.read_parquet(found["findings"])
    assert found["samples"] == 7
    assert found["excluded"] == {}
    assert of_kind(findings, "leak", "file") == [{"train", "test"}]
    assert of_kind(findings, "conflict", "file") == [{"train", "fake"}]
    assert sorted(map(sorted, of_kind(findings, "duplicate", "file"))) == [
        ["fake", "train"],
        ["test", "train"],
        ["train"],
    ]
    assert Path(found["report"]).read_text().startswith("<!doctype html>")

    done = mmidd("audit", "-w", workspace, "--radius", "0", "--fail-on", "leak,conflict")
    assert "1 leak" in error_line(done, 1)
    assert "1 conflict" in done.stderr
    for words in ("leak", "conflict", "duplicate", "7 samples"):
        assert words in done.stdout
    assert mmidd("audit", "-w", workspace, "--radius", "0", "--fail-on", "mask").returncode == 0

    resolved = as_json("audit", "-w", workspace, "--radius", "0", "--resolve")
    assert resolved["excluded"] == {"conflict_file": 2, "leak_file": 1, "duplicate_file": 1}
    status = as_json("status", "-w", workspace)
    assert status["excluded"] == resolved["excluded"]
    assert sum(row["len"] for row in status["samples"]) == 3
    assert "left out" in mmidd("status", "-w", workspace).stdout
    every = "leak,conflict,duplicate"
    assert mmidd("audit", "-w", workspace, "--radius", "0", "--fail-on", every).returncode == 0
    assert as_json("verify", "-w", workspace) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fail-on", "leaks"], "near_duplicate"),
        (["-w", "/absent"], "mmidd ingest"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], words: str) -> None:
    assert words in error_line(mmidd("audit", *arguments), 2)
