from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from mmidd.engine import Blob, Ledger, Row
from mmidd.errors import UsageError
from mmidd.schema import SIMULATED, Status
from mmidd.shards.select import select
from mmidd.where import matching
from mmidd.workspace import Workspace
from tests.audit.audit_world import build, digest, row


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


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Three reals of two sources, one without a split, and a simulation of the first."""
    root = tmp_path_factory.mktemp("mixed") / "ws"
    real = row("r0", source="a", compression="c23", frame_index=3)
    workspace = build(root, real, row("r1", source="b", frame_index=5), row("r2", source="b", split="none"))
    taken = ("source", "split", "video_id", "pair_id", "identity_ids")
    twin = {
        "label": "real",
        "type": "REAL",
        "recipe": "sbi",
        "base_id": real["sample_id"],
        "sample_id": "twin",
    }
    blobs = (Blob(b"twin", "jpg"),)
    rows = [Row({name: real[name] for name in taken} | twin, Status.OK, blobs=blobs)]
    ledger = Ledger(root / "simulated" / "sbi", SIMULATED)
    with ledger.writing():
        ledger.commit([("unit", 0, rows)])
    return workspace


@pytest.mark.parametrize(
    ("where", "chosen", "unmatched", "no_split"),
    [
        (None, [("a", None), ("a", "sbi"), ("b", None)], 0, 1),
        ("source = 'a'", [("a", None), ("a", "sbi")], 2, 0),
        ("recipe IS NULL", [("a", None), ("b", None)], 1, 1),
        ("recipe = 'sbi' OR source = 'b'", [("a", "sbi"), ("b", None)], 1, 1),
        ("compression = 'c23'", [("a", None)], 3, 0),  # which the simulation does not have itself
    ],
)
def test_where_asks_samples_and_simulations_each_for_their_own_columns(
    mixed: Workspace, where: str | None, chosen: list[tuple[str, str | None]], unmatched: int, no_split: int
) -> None:
    selection = select(mixed, where=where)
    found = selection.rows.select("source", "recipe").iter_rows()
    assert sorted(found, key=str) == sorted(chosen, key=str)
    assert (selection.unmatched, selection.no_split) == (unmatched, no_split)
    assert (f"{unmatched} not matching --where" in selection.describe()) == bool(unmatched)


@pytest.mark.parametrize(
    "where",
    [
        "sorce = 'a'",
        "source =",
        "source",
        "1",
        "frame_index = 'x'",
        "CAST(source AS INT) > 1",
        "source = 'z'",
    ],
)
def test_a_condition_that_cannot_be_used_is_one_line(mixed: Workspace, where: str) -> None:
    with pytest.raises(UsageError, match="--where") as error:
        select(mixed, where=where)
    assert "\n" not in str(error.value)


def test_a_comparison_of_unlike_types_is_refused_before_the_rows_are_read(mixed: Workspace) -> None:
    with pytest.raises(UsageError, match="cannot compare"):
        matching(mixed.samples(), "frame_index = 'x'")


def test_what_the_audit_left_out_is_told(tmp_path: Path) -> None:
    workspace = build(tmp_path / "ws", row("r0"), row("r1"))
    workspace.audit_dir.mkdir()
    out = pl.DataFrame({"sample_id": [digest("r1")[:32]], "reason": ["duplicate"]})
    out.write_parquet(workspace.audit_dir / "excluded.parquet")
    selection = select(workspace)
    assert selection.left_out == {"audit: duplicate": 1}
