"""`mmidd recipe regularisation`: its numbers, what it does not do again, and its table."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from mmidd.cli.recipe import app
from mmidd.errors import MmiddError
from mmidd.evaluation.embedding import Embedder
from mmidd.evaluation.evaluate import evaluate
from mmidd.evaluation.probe import LinearProbe
from mmidd.evaluation.results import Estimate
from mmidd.evaluation.similarity import linear_cka
from mmidd.recipes.regularisation_table import Regularisation, Row
from mmidd.schema import Split
from mmidd.training import trained
from mmidd.training.checkpoint import start_run
from mmidd.training.config import apply_overrides, load_preset
from mmidd.training.tasks import build_task
from mmidd.training.trained import WEIGHTS, save_weights, trained_state
from tests.evaluation.evaluation_world import SPEC
from tests.evaluation.test_evaluate_run import SHAPE
from tests.evaluation.test_evaluate_run import _shard as shard

METHODS = {"ln": ("lnclip", []), "sd": ("sd2", ["adapter_width=16", "clam_heads=2"])}


def recipe(*arguments: object) -> SimpleNamespace:
    """The command in this process; an error of mmidd is its message."""
    found = CliRunner().invoke(app, ["regularisation", *map(str, arguments)])
    if found.exception and not isinstance(found.exception, SystemExit | MmiddError):
        raise found.exception
    return SimpleNamespace(code=found.exit_code, out=found.stdout, error=str(found.exception or ""))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two untrained runs and two datasets, after the recipe."""
    root = tmp_path_factory.mktemp("recipe")
    shard(root / "ours" / "shards", SPEC, "train", "val", "test")
    shard(root / "theirs" / "shards", SPEC, "val", "test")
    for name, (method, more) in METHODS.items():
        config = apply_overrides(load_preset(method, "tiny"), [SHAPE, *more])
        run = root / "ws" / "runs" / name
        start_run(run, config, SPEC)
        save_weights(run / WEIGHTS, config, SPEC, trained_state(build_task(config)))
    done = recipe("ln", "sd", *places(root))
    assert done.code == 0, done.error
    assert "What holds beyond the training data" in done.out
    return root


def places(root: Path) -> list[object]:
    return ["-w", root / "ws", "--data", root / "ours/shards", "--test-data", root / "theirs/shards"]


def stored(home: Path, name: str = "ln") -> Any:
    return json.loads((home / f"ws/recipes/regularisation-{name}.json").read_text())


def test_every_run_has_all_measures_on_all_data(home: Path) -> None:
    rows = stored(home)["rows"]
    assert [(row["run"], row["method"], row["measure"]) for row in rows] == [
        ("ln", "lnclip", "verdict"),
        ("ln", "lnclip", "linear probe"),
        ("ln", "lnclip", "likeness to ln"),
        ("sd", "sd2", "verdict"),
        ("sd", "sd2", "linear probe"),
        ("sd", "sd2", "likeness to ln"),
    ]
    assert all(list(row["values"]) == ["ours", "theirs"] for row in rows)
    lines = pl.read_csv(home / "ws/recipes/regularisation-ln.csv")
    assert lines.filter(pl.col("home"))["dataset"].unique().to_list() == ["ours"]
    assert len(lines) == 12


def test_the_numbers_are_those_of_its_parts(home: Path) -> None:
    ours, theirs = (home / name / "shards" for name in ("ours", "theirs"))
    first, second = (Embedder(home / "ws/runs" / name) for name in ("ln", "sd"))
    verdict, probe, alike = (row["values"] for row in stored(home)["rows"][3:])
    learned = second.of(ours, Split.TRAIN)
    fitted = LinearProbe(learned.rows, learned.values)
    for name, shards in (("ours", ours), ("theirs", theirs)):
        auc = evaluate(second.run_dir, shards).headline.metrics["auc"].value
        assert verdict[name]["value"] == pytest.approx(auc)
        here, there = (one.of(shards, Split.TEST) for one in (first, second))
        assert here.rows["sample_id"].equals(there.rows["sample_id"])
        assert probe[name] == fitted.video_auc(there.rows, there.values).model_dump()
        expected = linear_cka(here.values, there.values)
        assert alike[name] == {"value": pytest.approx(expected), "low": None, "high": None}
        assert expected < 0.999
    assert [row["values"]["ours"]["value"] for row in stored(home)["rows"] if row["run"] == "ln"][
        2
    ] == pytest.approx(1)


def test_what_is_done_is_not_done_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = trained.load_run

    def counted(path: Path, device: str = "cpu") -> Any:
        loaded.append(path.name)
        return load(path, device)

    monkeypatch.setattr(trained, "load_run", counted)
    before = stored(home)
    done = recipe("sd", *places(home), "--reference", "ln", "--reference", "sd", "--name", "two", "--json")
    assert done.code == 0, done.error
    assert loaded == []
    rows = json.loads(done.out)["rows"]
    assert [row["measure"] for row in rows] == ["verdict", "linear probe", "likeness to ln", "likeness to sd"]
    assert [{**row, "gap": None} for row in rows[:3]] == [{**row, "gap": None} for row in before["rows"][3:]]
    assert stored(home, "two")["home"] == "ours"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no"], "no run 'no'"),
        (["ln", "--test-data", "{root}/ours/shards"], "name every folder once"),
        (["ln", "--data", "{root}/theirs/shards"], "has no train split to take features of"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(home: Path, arguments: list[str], message: str) -> None:
    own = [argument.format(root=home) for argument in arguments]
    fixed = ["-w", home / "ws"] + ([] if "--data" in own else ["--data", home / "ours/shards"])
    done = recipe(*own, *fixed)
    assert done.code == 1
    assert message in done.error
    assert "\n" not in done.error


def row(measure: str, *values: float | None) -> Row:
    named = zip(("home", "b", "c"), values, strict=False)
    estimates = {name: Estimate(value=value, low=value, high=value) for name, value in named}
    return Row(run="r", method="m", measure=measure, values=estimates)


@pytest.mark.parametrize(
    ("row", "gap"),
    [
        (row("verdict", 0.9, 0.8, 0.5), 0.25),
        (row("linear probe", 0.9, 0.8), 0.1),
        (row("verdict", 0.9), None),
        (row("verdict", 0.9, 0.8, None), None),
        (row("verdict", None, 0.8), None),
        (row("likeness to r", 0.9, 0.8), None),
    ],
)
def test_the_gap_is_home_less_the_mean_elsewhere(row: Row, gap: float | None) -> None:
    assert row.gap == (None if gap is None else pytest.approx(gap))
    assert len(Regularisation(home="home", frames=8, rows=(row,)).table().columns) == 3 + len(row.values)
