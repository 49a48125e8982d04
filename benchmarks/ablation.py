"""SD2 and what it loses without each of its parts, LNCLIP's variants, and the baselines, on new people.

    mmidd demo --portraits ../shared/data/portraits --clips 800 --seconds 0.6 --world-only --out w
    mmidd ingest ff++ w/raw/ff++ --frames 3 --size 128
    mmidd ingest ffhq w/raw/ffhq    # and folder w/raw/folder, folder w/raw/folder-stills
    mmidd caption --vlm measured && mmidd shard --target-size 8
    python -m benchmarks.ablation mmidd-data --out benchmarks/results/ablation.json
    python -m benchmarks.ablation_view    # fills docs/ablation.md

Each row of `ablation_arms` with three seeds, two runs at a time with one thread each, by the commands a user
types. What is there of a run is not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from scipy.stats import t

from benchmarks.ablation_arms import CAPTIONS_ALONE, STEPS, XCEPTION_STEPS, Arm, arms
from benchmarks.runs import mmidd, trained, validation, video_auc

SEEDS = (0, 1, 2)
SPENT = "cpu_seconds.txt"
"""Written last."""


def main() -> None:
    """Train and evaluate what is missing, then collect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--seed", type=int, action="append", help=f"default: {SEEDS}")
    parser.add_argument("--only", default="", help="arms whose name begins so")
    parser.add_argument("--collect", action="store_true", help="do nothing more, show what is there")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    workspace, seeds = given.workspace.resolve(), given.seed or SEEDS
    (workspace / "ablation").mkdir(exist_ok=True)
    rows = [row for row in arms(caption_clip(workspace)) if row.name.startswith(given.only)]
    if not given.collect:
        with ProcessPoolExecutor(2) as pool:
            jobs = [pool.submit(run, workspace, row, seed) for seed in seeds for row in rows]
            for job in jobs:
                print(job.result(), flush=True)
    if given.out:
        found = {start: table(workspace, rows, start, seeds) for start in ("random", "captions")}
        text = json.dumps({**conditions(workspace, rows, seeds), **found}, indent=1)
        given.out.write_text(text + "\n", encoding="utf-8")


def run(workspace: Path, row: Arm, seed: int) -> str:
    """Train and evaluate; the processor time of both is kept beside the run."""
    name, before = row.run(seed), children_seconds()
    options = [*row.options, "--set", f"seed={seed}"]
    folder = trained(workspace, name, options, workspace / "ablation" / f"{name}.log")
    if spent := children_seconds() - before:
        (folder / SPENT).write_text(f"{spent:.1f}\n", encoding="utf-8")
    return f"{name}: {video_auc(folder)['all']['value']} in {spent:.0f} s"


def children_seconds() -> float:
    """Processor time of this process's commands."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def caption_clip(workspace: Path) -> Path:
    """A CLIP that learned from captions alone; its last weights, since choosing the best would use labels."""
    path = workspace / "ablation" / "captions.safetensors"
    if not path.is_file():
        mmidd("train", *CAPTIONS_ALONE.options, "--name", "ablation-captions", "-w", str(workspace))
        (state,) = (workspace / "runs" / "ablation-captions" / "state").glob("*.pt")
        learned = torch.load(state, map_location="cpu", weights_only=True)["trained"]
        clip = {name.removeprefix("clip."): x for name, x in learned.items() if name.startswith("clip.")}
        save_file(clip, path)
    return path


def table(workspace: Path, rows: list[Arm], start: str, seeds: Any) -> dict[str, Any]:
    """By arm and type: values of the seeds, their mean and t-interval, and the interval over people."""
    done = {row: evaluated(workspace, row, seeds) for row in rows if row.start == start}
    return {
        row.name: {
            "options": " ".join(row.options).replace(str(workspace), "WORKSPACE"),
            "validation": [validation(run) for run in runs],
            **over_seeds([video_auc(run) for run in runs]),
        }
        for row, runs in done.items()
        if runs
    }


def evaluated(workspace: Path, row: Arm, seeds: Any) -> list[Path]:
    """The runs of an arm that are finished."""
    runs = [workspace / "runs" / row.run(seed) for seed in seeds]
    return [run for run in runs if (run / SPENT).is_file()]


def over_seeds(found: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Of evaluations that differ in the seed; the interval over people is the mean of theirs."""
    return {
        kind: {
            **interval([one[kind]["value"] for one in found]),
            "people": [round(statistics.mean(one[kind][end] for one in found), 3) for end in ("low", "high")],
            **{key: found[0][kind][key] for key in ("reals", "fakes")},
        }
        for kind in found[0]
    }


def interval(values: list[float]) -> dict[str, Any]:
    """Mean and 95 % t-interval over seeds, which is none for one seed."""
    mean = statistics.mean(values)
    half = 0.0
    if len(values) > 1:
        half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return {"seeds": values, "mean": round(mean, 3), "half_width": round(half, 3)}


def conditions(workspace: Path, rows: list[Arm], seeds: Any) -> dict[str, Any]:
    """What the table was made of, and what it took."""
    runs = [run for row in rows for run in evaluated(workspace, row, seeds)]
    spent = [float((run / SPENT).read_text(encoding="utf-8")) for run in runs]
    return {
        "seeds": list(seeds),
        "steps": STEPS,
        "steps_of_xception": XCEPTION_STEPS,
        "runs": len(spent),
        "cpu_minutes": round(sum(spent) / 60, 1),
    }


if __name__ == "__main__":
    main()
