"""KFD's detector, tiny, trained on reals alone: who is forged, and where, on new people.

    mmidd demo --portraits ../shared/data/portraits --clips 800 --seconds 0.6 --world-only --out w
    mmidd ingest ff++ w/raw/ff++ --frames 3 --size 128
    mmidd ingest ffhq w/raw/ffhq    # and folder w/raw/folder, folder w/raw/folder-stills
    mmidd shard
    python -m benchmarks.kfd mmidd-data --out benchmarks/results/kfd.json

The world is that of `benchmarks.ablation`. The run is trained and evaluated by the commands a user types:
on the demo's forgeries, none of which it saw, and on regional blends of the test split's reals.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from benchmarks.runs import mmidd, validation
from mmidd.evaluation.evaluate import evaluation_dir
from mmidd.evaluation.evidence import EVIDENCE_FILE, load_evidence
from mmidd.evaluation.heatmap import overlay
from mmidd.evaluation.protocol import Level
from mmidd.evaluation.results import EVALUATION_FILE, SCORES_FILE, Evaluation, Measures
from mmidd.evaluation.simulated import DrawnPairs
from mmidd.evaluation.tables import load_scores
from mmidd.preprocess.blend.recipe import RecipeName
from mmidd.schema import Simulated, Split
from mmidd.shards.dataset import ShardDataset
from mmidd.training.config import load_config
from mmidd.training.trained import WEIGHTS, load_run

RECIPE: RecipeName = "regional"
FORGERIES, REALS = 6, 2
FIGURE = Path(__file__).parents[1] / "docs/images/kfd-maps.png"
Pixels = NDArray[np.uint8]


def main() -> None:
    """Train and evaluate what is missing, then collect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--preset", default="tiny-long")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    workspace = given.workspace.resolve()
    run, shards = workspace / "runs" / f"kfd-{given.preset}", workspace / "shards"
    if not (run / WEIGHTS).is_file():
        mmidd("train", "kfd", "--preset", given.preset, "-w", str(workspace))
    demo, blends = (evaluated(workspace, run, recipes) for recipes in ((), (RECIPE,)))
    found = {**conditions(run), "auc": areas(demo), "blends": areas(blends), "where": places(blends)}
    text = json.dumps(found, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")
        figure(run, shards, FIGURE)


def evaluated(workspace: Path, run: Path, recipes: tuple[RecipeName, ...]) -> Evaluation:
    """On the test split, or on blends of its reals."""
    file = evaluation_dir(run, workspace / "shards", recipes) / EVALUATION_FILE
    if not file.is_file():
        simulated = [word for recipe in recipes for word in ("--simulated", recipe)]
        mmidd("eval", run.name, *simulated, "-w", str(workspace))
    return Evaluation.model_validate_json(file.read_bytes())


def conditions(run: Path) -> dict[str, Any]:
    """What the numbers were made of, and what it took."""
    log = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    batch, steps = load_config(run / "config.yaml").batch, [one for one in log if "samples_per_s" in one]
    return {
        "minutes": round(sum(batch / one["samples_per_s"] for one in steps) / 60, 1),
        "steps": max(int(one["step"]) for one in steps),
        "batch": batch,
        "validation": validation(run),
    }


def areas(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """Video AUC of all and of each type and method, with its interval over people."""
    return {
        result.name: {**rounded(result.metrics["auc"]), "reals": result.reals, "fakes": result.fakes}
        for result in evaluation.at(Level.VIDEO)
        if result.kind in ("all", "type", "method")
    }


def places(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """Overlap of maps and masks by method, and the share of reals that is called forged."""
    marked = [evaluation.marked] if evaluation.marked else []
    groups = [group for group in evaluation.localisation if group.kind in ("all", "method")]
    return {group.name: measured(group) for group in [*groups, *marked]}


def measured(group: Measures) -> dict[str, Any]:
    """Its estimates, and of how many images."""
    return {"images": group.items, **{name: rounded(one) for name, one in group.metrics.items()}}


def rounded(estimate: Any) -> dict[str, float | None]:
    """To three digits."""
    return {key: None if x is None else round(x, 3) for key, x in estimate.model_dump().items()}


def figure(run_dir: Path, shards: Path, path: Path) -> None:
    """Columns of image, true mask and map: forgeries from the best to the worst located, then reals.

    Sorted by IoU the forgeries stand at equal steps, in the middle of each sixth; the reals likewise, by the
    share of pixels that is called forged, in the middle of each half.
    """
    pairs = DrawnPairs(ShardDataset(shards, Split.TEST, Simulated.EXCLUDE), [RECIPE])
    run, columns = load_run(run_dir), []
    for index, heading in chosen(evaluation_dir(run_dir, shards, [RECIPE]), pairs):
        sample = pairs[index]
        scores = run.score([sample.image])
        assert scores.maps is not None
        mask = np.zeros(sample.image.shape[:2], np.uint8) if sample.mask is None else sample.mask
        title = f"{heading}\nP(fake) {scores.fake[0]:.2f}"
        columns.append((title, (sample.image, mask, overlay(sample.image, scores.maps[0]))))
    draw(columns, path)


def chosen(folder: Path, pairs: DrawnPairs) -> Iterator[tuple[int, str]]:
    """Indices of the samples of the figure, and their headings."""
    position = {key: index for index, key in enumerate(pairs.rows["key"])}
    evidence = load_evidence(folder / EVIDENCE_FILE)
    assert evidence is not None
    scores = load_scores(folder / SCORES_FILE).filter(pl.col("split") == Split.TEST.value)
    seen = scores.join(evidence, on="sample_id")
    forged = seen.filter(pl.col("iou").is_not_null()).sort("iou", "sample_id", descending=True)
    real = seen.filter(pl.col("label") == 0).sort("share", "sample_id")
    for rows, count, name in ((forged, FORGERIES, "iou"), (real, REALS, "share")):
        for place in range(count):
            row = rows.row(int((place + 0.5) / count * len(rows)), named=True)
            heading = f"IoU {row[name]:.2f}" if name == "iou" else f"real, {row[name]:.0%} marked"
            yield position[row["sample_id"]], heading


def draw(columns: list[tuple[str, tuple[Pixels, Pixels, Pixels]]], path: Path) -> None:
    """A row for images, one for masks, one for maps."""
    mpl.use("agg")
    size = (1.55 * len(columns), 5.2)
    grid, axes = plt.subplots(3, len(columns), figsize=size, dpi=110, layout="constrained", squeeze=False)
    for column, (title, pictures) in zip(axes.T, columns, strict=True):
        column[0].set_title(title, fontsize=8)
        for axis, picture in zip(column, pictures, strict=True):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
            axis.set(xticks=[], yticks=[])
    for axis, name in zip(axes[:, 0], ("image", "true mask", "P(forged)"), strict=True):
        axis.set_ylabel(name, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    grid.savefig(path)
    plt.close(grid)


if __name__ == "__main__":
    main()
