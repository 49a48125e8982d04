from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmidd.errors import DataError, UsageError
from mmidd.evaluation.protocol import Aggregation, Level
from mmidd.evaluation.tables import confusion, groups, items, load_scores
from mmidd.schema import SCORES


def _row(sample: str, label: int, score: float, **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "sample_id": sample,
        "source": "a",
        "video_id": sample[:2],
        "split": "test",
        "label": label,
        "score": score,
        "type": "FS" if label else "REAL",
        "method": "m" if label else None,
    }
    return row | more


def _scores(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(pa.Table.from_pylist(list(rows), schema=SCORES))


@pytest.mark.parametrize(("rule", "expected"), [("mean", 0.5), ("median", 0.4), ("max", 0.9)])
def test_frames_become_a_video(rule: str, expected: float) -> None:
    table = _scores(_row("v1a", 1, 0.2), _row("v1b", 1, 0.9), _row("v1c", 1, 0.4))
    videos = items(table, Level.VIDEO, Aggregation(rule))
    assert videos["score"].to_list() == pytest.approx([expected])
    assert videos["frames"].to_list() == [3]
    assert len(items(table, Level.FRAME, Aggregation(rule))) == 3


def test_equal_video_names_of_two_methods_or_sources_are_not_pooled() -> None:
    table = _scores(
        _row("v1a", 1, 0.2, method="m1"),
        _row("v1b", 1, 0.8, method="m2"),
        _row("v1c", 0, 0.1),
        _row("v1d", 0, 0.3, source="b"),
        _row("v1e", 0, 0.3, compression="c40"),
    )
    assert len(items(table, Level.VIDEO, Aggregation.MEAN)) == 5


def test_a_still_without_a_video_counts_as_one() -> None:
    table = _scores(_row("s1", 1, 0.2, video_id=None), _row("s2", 1, 0.4, video_id=None))
    assert items(table, Level.VIDEO, Aggregation.MEAN)["score"].to_list() == pytest.approx([0.2, 0.4])


def test_clusters_are_identities_within_a_source_else_videos() -> None:
    table = _scores(
        _row("v1", 0, 0.1, identity="p"),
        _row("v2", 1, 0.1, identity="p"),
        _row("v3", 0, 0.1, identity="p", source="b"),
        _row("v4", 0, 0.1),
    )
    clusters = items(table, Level.VIDEO, Aggregation.MEAN).sort("video_key")["cluster"].to_list()
    assert clusters == ["a/p", "a/p", "b/p", "a/v4"]


def test_the_shown_frame_is_the_most_misleading_one() -> None:
    table = _scores(_row("v1a", 1, 0.9), _row("v1b", 1, 0.2), _row("v2a", 0, 0.1), _row("v2b", 0, 0.7))
    assert set(items(table, Level.VIDEO, Aggregation.MEAN)["sample_id"]) == {"v1b", "v2b"}


def test_a_video_with_both_labels_is_refused() -> None:
    table = _scores(_row("v1a", 1, 0.9, method=None), _row("v1b", 0, 0.2))
    with pytest.raises(DataError, match="mixed_labels"):
        items(table, Level.VIDEO, Aggregation.MEAN)


def test_fakes_are_measured_against_reals_of_their_own_sources() -> None:
    table = _scores(
        _row("v1", 0, 0.1),
        _row("v2", 1, 0.9),
        _row("v3", 0, 0.2, source="b"),
        _row("v4", 1, 0.8, source="b", method="n"),
        _row("v5", 1, 0.7, source="fakes-only", method="o", type="EFS"),
    )
    found = {(g.kind, g.name): g for g in groups(items(table, Level.VIDEO, Aggregation.MEAN))}

    def videos(kind: Any, name: str) -> set[str]:
        return set(found[kind, name].items["video_key"])

    assert videos("all", "all") == {"v1", "v2", "v3", "v4", "v5"}
    assert videos("type", "FS") == {"v1", "v2", "v3", "v4"}
    assert videos("method", "n") == videos("source", "b") == {"v3", "v4"}
    assert videos("source", "fakes-only") == videos("type", "EFS") == {"v1", "v3", "v5"}
    assert "all reals" in found["type", "EFS"].note
    assert found["type", "FS"].note == ""


def test_confusion_votes_per_video_and_needs_predictions() -> None:
    table = _scores(
        _row("v1a", 1, 0.9, predicted_type="FS"),
        _row("v1b", 1, 0.9, predicted_type="FR"),
        _row("v1c", 1, 0.9, predicted_type="FR"),
        _row("v2a", 0, 0.9, predicted_type="REAL"),
    )
    counts = confusion(items(table, Level.VIDEO, Aggregation.MEAN))
    assert counts == [[1, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0] * 5, [0] * 5, [0] * 5]
    assert confusion(items(_scores(_row("v1", 1, 0.9)), Level.VIDEO, Aggregation.MEAN)) is None


@pytest.mark.parametrize(("change", "reason"), [
    ({"score": float("nan")}, "bad_score"),
    ({"score": None}, "bad_score"),
    ({"score": 1.5}, "bad_score"),
    ({"label": 2}, "bad_label"),
    ({"sample_id": "v1"}, "duplicate_sample"),
])  # fmt: skip
def test_scores_that_cannot_be_trusted_are_refused(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    rows = [_row("v1", 0, 0.5), _row("v2", 1, 0.5) | change]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCORES), tmp_path / "s.parquet")
    with pytest.raises(DataError, match=reason):
        load_scores(tmp_path / "s.parquet")


def test_a_missing_or_foreign_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mmidd eval"):
        load_scores(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(UsageError, match="not a table"):
        load_scores(tmp_path / "text.parquet")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    with pytest.raises(UsageError, match="not a table"):
        load_scores(tmp_path / "other.parquet")
