"""What recipes share: evaluations that are not done twice, and tables in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from pydantic import BaseModel

from mmidd.evaluation.evaluate import evaluate, evaluation_dir
from mmidd.evaluation.results import EVALUATION_FILE, Evaluation, save
from mmidd.files import write_errors
from mmidd.shards.index import ShardIndex
from mmidd.storage import open_folder
from mmidd.training.trained import WEIGHTS


def evaluation_of(run_dir: Path, shards: Path | str, device: str) -> Evaluation:
    """The evaluation on the test split; that of before, where neither weights nor data are newer.

    Raises:
        UsageError: see `evaluate`.
    """
    file = evaluation_dir(run_dir, shards) / EVALUATION_FILE
    if file.is_file() and file.stat().st_mtime >= (run_dir / WEIGHTS).stat().st_mtime:
        before = Evaluation.model_validate_json(file.read_bytes())
        if before.dataset_sha256 == ShardIndex.load(open_folder(shards)).samples_sha256:
            return before
    return evaluate(run_dir, shards, device=device)


def write_both(model: BaseModel, lines: pl.DataFrame, folder: Path, name: str) -> Sequence[Path]:
    """Write NAME.json, the model, and NAME.csv, the lines.

    Raises:
        StorageError: they cannot be written.
    """
    files = [folder / f"{name}.json", folder / f"{name}.csv"]
    with write_errors(folder, "free space, or choose another --workspace"):
        folder.mkdir(parents=True, exist_ok=True)
        save(model, files[0])
        lines.write_csv(files[1])
    return files
