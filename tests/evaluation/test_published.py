"""Published tables stand beside runs of their method on their datasets, and nowhere else."""

from __future__ import annotations

from io import StringIO

import polars as pl
import pytest
from rich.console import Console

from mmidd.evaluation.details import details
from mmidd.evaluation.evaluate import Subject, evaluate_scores
from mmidd.evaluation.protocol import Level
from mmidd.evaluation.published import CAVEAT, beside, published
from mmidd.evaluation.results import FIXED_THRESHOLD, Evaluation
from mmidd.ingest.base import find_reader
from mmidd.schema import SCORES, Split
from mmidd.training.config import METHODS
from tests.evaluation.evaluation_world import SPEC


def evaluation(method: str, source: str = "ff++", dataset: str = "world") -> Evaluation:
    rows = [
        {"sample_id": f"{n}", "source": source, "split": "test", "label": n % 2, "score": score, "type": "FS"}
        for n, score in enumerate((0.1, 0.9, 0.4, 0.3, 0.2, 0.8))
    ]
    table = pl.DataFrame(rows, schema_overrides={"score": pl.Float32, "label": pl.Int8})
    scores = pl.concat([pl.DataFrame(SCORES.empty_table()), table], how="diagonal")
    subject = Subject("run", method, dataset, "")
    return evaluate_scores(scores, Split.TEST, subject, SPEC, FIXED_THRESHOLD, replicates=5)


def test_kfd_on_ff_stands_beside_its_first_table() -> None:
    found = evaluation("kfd")
    (table,) = beside(found)
    assert table.columns == ("FF++",)
    assert table.rows["KFD"] == ("99.53 / 99.54",)
    assert table.rows["LAA-Net"] == ("99.96",)
    assert "LSDA" not in table.rows, "it gives no number for FF++"
    auc, ap = (found.headline.metrics[name].value for name in ("auc", "ap"))
    assert auc is not None
    assert ap is not None
    assert next(iter(table.rows)) == "this run"
    assert table.rows["this run"] == (f"{100 * auc:.2f} / {100 * ap:.2f}",)
    assert "Table 1" in table.heading


def test_a_folder_named_after_a_dataset_counts() -> None:
    (table,) = beside(evaluation("sd2", source="folder", dataset="UADFV"))
    assert table.columns == ("UADFV",)
    assert table.rows["SD2"] == ("96.44",)


@pytest.mark.parametrize(("method", "source"), [("kfd", "ffhq"), ("zeroshot", "ff++"), ("sd2", "ff++")])
def test_other_methods_and_datasets_have_none(method: str, source: str) -> None:
    assert beside(evaluation(method, source)) == []


def test_terminal_and_report_say_that_they_are_not_comparable() -> None:
    *_, part = details(evaluation("kfd"))
    assert CAVEAT in part.caption
    console = Console(width=80, record=True, file=StringIO())
    console.print(part.table())
    text = console.export_text()
    assert "not comparable unless the protocol is the same" in " ".join(text.split())
    assert "99.53 / 99.54" in text


def test_frame_numbers_stand_beside_frame_numbers() -> None:
    found = evaluation("effnetb4", "celebdf-v2")
    (table,) = beside(found)
    assert table.heading.startswith("frame AUC")
    auc = found.at(Level.FRAME)[0].metrics["auc"].value
    assert auc is not None
    assert table.rows == {
        "this run": (f"{100 * auc:.2f}",),
        "Xception": ("73.65",),
        "EfficientNet-B4": ("74.87",),
    }


def test_every_table_is_of_methods_and_sources_that_exist() -> None:
    for table in published().tables:
        assert set(table.of) <= set(METHODS)
        for row in table.rows.values():
            assert {find_reader(name).info.key for name in row} == set(row)
            assert all(len(values) <= len(table.metrics) for values in row.values())
            assert all(0 < value <= 100 for values in row.values() for value in values)
