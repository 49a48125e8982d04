"""`mmidd recipe data-efficiency`: what it trains, what it does not do again, and its table."""

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
from mmidd.evaluation.results import Estimate
from mmidd.recipes.efficiency_table import Efficiency, Row
from mmidd.training.config import load_config
from mmidd.training.data import open_data
from mmidd.training.loop import Loop
from tests.cli.test_train_stages import places, settings, write_faces
from tests.training import kfd_world

TWO_STEPS = settings([*kfd_world.SMALL, "sampling.draws=6", "keep.every=1"])


def recipe(*arguments: object) -> SimpleNamespace:
    """The command in this process; an error of mmidd is its message."""
    found = CliRunner().invoke(app, ["data-efficiency", *map(str, arguments)])
    if found.exception and not isinstance(found.exception, SystemExit | MmiddError):
        raise found.exception
    return SimpleNamespace(code=found.exit_code, out=found.stdout, error=str(found.exception or ""))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of the recipe with two and with three images."""
    root = tmp_path_factory.mktemp("recipe") / "ws"
    write_faces(root.parent / "shards")
    done = recipe("kfd", "--preset", "tiny", "--images", "3,2", *TWO_STEPS, *places(root))
    assert done.code == 0, done.error
    assert "Video AUC on the test split" in " ".join(done.out.split())
    return root


def test_a_run_for_each_number_takes_as_many_steps(home: Path) -> None:
    configs = [load_config(home / f"runs/kfd-tiny-{count}/config.yaml") for count in (2, 3)]
    assert [config.reals for config in configs] == [2, 3]
    for count in (2, 3):
        lines = (home / f"runs/kfd-tiny-{count}/metrics.jsonl").read_text().splitlines()
        assert max(json.loads(line)["step"] for line in lines) == 2
        assert (home / f"runs/kfd-tiny-{count}/eval").is_dir()


def test_only_the_training_split_gets_smaller(home: Path) -> None:
    config = load_config(home / "runs/kfd-tiny-2/config.yaml")
    fewer, all_of_them = (
        open_data(home.parent / "shards", config.model_copy(update={"reals": count})) for count in (2, None)
    )
    assert (len(fewer.train), len(all_of_them.train)) == (4, 8)
    assert len(fewer.val) == len(all_of_them.val) == 8


def test_what_is_done_is_not_done_again_and_more_images_are_added(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    step = Loop._step

    def counted(self: Loop, *rest: Any) -> None:
        steps.append(self.run_dir.name)
        step(self, *rest)

    monkeypatch.setattr(Loop, "_step", counted)
    files = [
        file for file in (home / "runs").rglob("*") if file.name in ("weights.safetensors", "scores.parquet")
    ]
    before = {file: file.stat().st_mtime_ns for file in files}
    done = recipe("kfd", "--preset", "tiny", "--images", "4,2,3", *TWO_STEPS, *places(home), "--json")
    assert done.code == 0, done.error
    assert steps == ["kfd-tiny-4"] * 2
    assert len(before) == 4
    assert {file: file.stat().st_mtime_ns for file in files} == before
    found: dict[str, Any] = json.loads(done.out)
    assert [row["images"] for row in found["rows"]] == [2, 3, 4]
    assert json.loads((home / "recipes/data-efficiency-kfd-tiny.json").read_text())["rows"] == found["rows"]


def test_a_run_that_stopped_goes_on_where_it_was(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    same = ("kfd", "--preset", "tiny", "--images", "2", "--name", "half", *TWO_STEPS, *places(home))
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_end_epoch", lambda self: (_ for _ in ()).throw(InterruptedError))
        with pytest.raises(InterruptedError):
            recipe(*same)
    log = home / "runs/half-2/metrics.jsonl"
    first, *_ = log.read_text().splitlines()
    assert json.loads(first)["step"] == 1
    assert recipe(*same).code == 0
    assert log.read_text().splitlines()[0] == first, "the first step was not done again"
    assert json.loads(log.read_text().splitlines()[-1])["step"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kfd", "--images", "2", "--set", "epochs=7"], "kfd-tiny-2 was trained with other settings"),
        (["kfd", "--images", "2,many"], "write --images 50,100,200,500"),
        (["kfd", "--images", "0"], "write --images 50,100,200,500"),
        (["kfd", "--images", "5", "--name", "more"], "has 4 reals with landmarks, and reals asks for 5"),
        (["full", "--images", "2"], "full needs fakes to train on"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(home: Path, arguments: list[str], message: str) -> None:
    done = recipe(*arguments[:1], "--preset", "tiny", *arguments[1:], *places(home))
    assert done.code == 1
    assert message in done.error
    assert "\n" not in done.error


def efficiency(method: str) -> Efficiency:
    return Efficiency(
        method=method,
        rows=tuple(
            Row(
                images=count,
                run=f"{method}-paper-{count}",
                validation=0.9,
                auc={"ff++": Estimate(value=0.8, low=0.7, high=0.85)},
            )
            for count in (50, 70)
        ),
    )


def test_the_papers_numbers_stand_beside_the_same_numbers_of_images(tmp_path: Path) -> None:
    found = efficiency("kfd")
    assert found.published == {50: {"FF++": 92.68, "CDF1": 83.18, "DFD": 74.46, "DFDC": 61.82}}
    assert efficiency("sbi").published == {}
    _, file = found.write(tmp_path, "table")
    lines = pl.read_csv(file)
    assert lines["by"].to_list() == ["kfd-paper-50", "kfd-paper-70", *["published"] * 4]
    assert lines["video_auc"].to_list() == pytest.approx([0.8, 0.8, 0.9268, 0.8318, 0.7446, 0.6182])
    headings = [str(column.header) for column in found.table().columns]
    assert headings == [
        "images",
        "val",
        "ff++",
        *(f"published\n{n}" for n in ("FF++", "CDF1", "DFD", "DFDC")),
    ]
    assert [str(column.header) for column in efficiency("sbi").table().columns] == ["images", "val", "ff++"]
