from __future__ import annotations

from pathlib import Path

from mmidd.shards.select import select
from tests.audit.audit_world import build, row


def test_evaluation_sources_give_test_samples_only(tmp_path: Path) -> None:
    rows = [
        row(f"{source} {split}", source=source, split=split)
        for source in ("celebdf-v2", "own")
        for split in ("train", "val", "test", "none")
    ]
    workspace = build(tmp_path / "ws", *rows)
    chosen = select(workspace)
    assert sorted(chosen.rows.select("source", "split").iter_rows()) == [
        ("celebdf-v2", "test"),
        ("own", "test"),
        ("own", "train"),
        ("own", "val"),
    ]
    assert (chosen.no_split, chosen.kept_apart) == (2, 2)
    assert "2 train and val samples of evaluation sources" in chosen.describe()
    whole = select(workspace, train_on_eval=True)
    assert (whole.rows.height, whole.kept_apart) == (6, 0)
