"""`mmidd shard` by the command, on a workspace of four faces."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl

from mmidd.shards.index import read_entries
from mmidd.workspace import Workspace
from tests.audit.audit_world import build, row
from tests.cli.command import as_json, error_line, mmidd


def make(root: Path) -> Workspace:
    spec_id = Workspace.open(root, create=True).pin({"frames": 4, "size": 32}).spec_id
    shared = {"encoding": "jpeg", "spec_id": spec_id}
    rows = [row(f"r{number}", source="ab"[number % 2], **shared) for number in range(4)]
    return build(root, *rows, row("r4", source="a", split="none", **shared))


def test_where_chooses_what_is_sharded_and_the_card_says_so(tmp_path: Path) -> None:
    workspace = make(tmp_path / "ws")
    summary = as_json("shard", "--where", "source = 'a'", "-w", workspace.root)
    assert (summary["samples"], summary["unmatched"], summary["no_split"]) == ({"train": 2}, 2, 1)
    assert set(read_entries(workspace.shards_dir)["source"].to_pylist()) == {"a"}
    card = (workspace.shards_dir / "README.md").read_text()
    assert "| not matching --where | 2 |" in card
    assert "| without a split | 1 |" in card
    said = mmidd("shard", "--where", "source = 'a'", "-w", workspace.root)
    assert "2 not matching --where" in said.stdout
    assert as_json("verify", "--full", "-w", workspace.root) == []


def test_verify_tells_of_samples_that_changed_since(tmp_path: Path) -> None:
    workspace = make(tmp_path / "ws")
    as_json("shard", "-w", workspace.root)
    workspace.audit_dir.mkdir()
    key = workspace.samples().filter(pl.col("source") == "b").collect()["sample_id"][0]
    left_out = pl.DataFrame({"sample_id": [key], "reason": ["leak"]})
    left_out.write_parquet(workspace.audit_dir / "excluded.parquet")
    part = next((workspace.root / "samples" / "a").glob("parts/*.parquet"))
    rows = pl.read_parquet(part)
    rows.with_columns(method=pl.lit("other")).write_parquet(part)
    problems = json.loads(mmidd("verify", "--json", "-w", workspace.root).stdout)
    found = {problem["reason"]: problem["detail"] for problem in problems}
    assert found.keys() == {"not_in_workspace", "other_labels"}
    assert found["not_in_workspace"].startswith(f"1 samples as {key}")
    assert found["other_labels"].startswith("2 samples as ")


def test_packs_may_lie_elsewhere_and_shards_go_there(tmp_path: Path) -> None:
    workspace = make(tmp_path / "ws")
    here = as_json("shard", "-w", workspace.root)
    shards = {path.name: path.read_bytes() for path in workspace.shards_dir.iterdir()}
    shutil.rmtree(workspace.shards_dir)
    for packs in (workspace.root / "samples").glob("*/packs"):
        moved = tmp_path / "mirror" / packs.relative_to(workspace.root)
        moved.parent.mkdir(parents=True)
        packs.rename(moved)
        packs.mkdir()
    command = ["shard", "--packs", tmp_path / "mirror", "--publish", tmp_path / "there", "-w", workspace.root]
    there = as_json(*command)
    assert there["samples"] == here["samples"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()} == shards
    assert there["published"]["kept"] == 0
    assert as_json(*command)["published"]["kept"] == there["shards"]


def test_a_bad_condition_is_one_line_and_writes_nothing(tmp_path: Path) -> None:
    workspace = make(tmp_path / "ws")
    assert "sorce" in error_line(mmidd("shard", "--where", "sorce = 'a'", "-w", workspace.root), 2)
    assert not workspace.shards_dir.exists()
