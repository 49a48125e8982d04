"""What 3.6 million samples and a billion take, from costs per sample that are measured on one machine.

    python -m benchmarks.planning --images ../shared/data/fake_efs_sd3 --out benchmarks/results/planning.json

Measured here, in processor time: ingest of still images, classical captions, simulation, commits, and what a
driver does per row (workers that only hand it rows as large as real ones); bytes of all that is stored, and
of tables in memory. Taken from the figures of other benchmarks, so run those first: ingest of videos, writing
of shards, reading for training, memory of the index. The captioning client's is from docs/captions.md.
Everything is multiplied by the number of samples: that is the extrapolation.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
import tracemalloc
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from mmidd.captioning import stage as measured
from mmidd.captioning.select import Choice, choose
from mmidd.engine import Blob, EngineOptions, Ledger, Row, Stage, Unit, content_id, run_stage
from mmidd.engine.cluster import import_ray
from mmidd.engine.progress import Silent
from mmidd.engine.threads import single_thread
from mmidd.ingest import stage as ingest
from mmidd.ingest.base import ReadOptions, find_reader
from mmidd.preprocess import simulation
from mmidd.schema import SAMPLES
from mmidd.shards.blobs import Packs
from mmidd.shards.content import json_of
from mmidd.shards.select import select
from mmidd.shards.writer import write_shards
from mmidd.workspace import Workspace

RESULTS = Path(__file__).parent / "results"
SCALES = {"3.6 million": 3_600_000, "1 billion": 1_000_000_000}
CORES = {"3.6 million": 64, "1 billion": 1024}
PAIRS = 20
"""Simulated of every image, so that there is something to shard."""
REALS = 0.2
"""Assumed share of real training samples, each simulated once: a forgery and its twin."""
FRAMES = 32
CAPTION_CLIENT_MS = 0.57
HEADERS = 2 * 512 + 2 * 256
"""Of a tar, per sample: a header and half a block of padding for each of its two members."""
DESCRIPTION = "name: planning\nmedia: image\nrules: [{glob: '*.jpg', label: real, split: train}]\n"


def main() -> None:
    """Measure, keep the figures, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of JPEG portraits")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=6_400, help="rows that the drivers get")
    arguments = parser.parse_args()
    single_thread()
    with tempfile.TemporaryDirectory() as folder:
        costs = measure(Path(folder), arguments.images, arguments.rows)
    arguments.out.write_text(json.dumps(costs, indent=1) + "\n")
    for name, count in SCALES.items():
        print(f"\n{name}\n\n{time_table(costs, name, count)}\n\n{size_table(costs, count)}")


def measure(folder: Path, images: Path, rows: int) -> dict[str, Any]:
    """Milliseconds of one core, and bytes, per sample."""
    home = Workspace.open(folder / "ws", create=True)
    spec = home.pin({})
    config = folder / "planning.yaml"
    config.write_text(DESCRIPTION)
    reader = find_reader("folder")(images, ReadOptions(config=config))
    crops = alone(ingest.stage("planning"), ingest.ledger(home, "planning"), ingest.units(reader, spec))
    described = alone(measured.stage(), measured.ledger(home), measured.units(home, choose(home, Choice())))
    reals = simulation.real_samples(home)
    pairs = alone(
        simulation.stage("sbi"),
        simulation.ledger(home, "sbi"),
        simulation.units(home, reals, "sbi", PAIRS, 0),
    )
    chosen = select(home).rows
    crop = int(home.samples().select(pl.col("length").mean()).collect().item())
    text = sum(map(len, json_of(chosen))) / chosen.height
    drivers = {
        f"{engine}, {size} rows a unit": driver(folder / f"{engine}{size}", crop, rows, size, engine)
        for engine in ("local", "ray")
        for size in (1, FRAMES)
    }
    return {
        "machine": {"processor": processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "images": len(list(images.glob("*.jpg"))),
        "cpu_ms": {
            "ingest, still image of 1024 px": crops["work_ms"],
            "ingest, frame of a 720p video": figures("ingest")["cpu_ms_per_frame"]["mmidd_1"],
            "caption, measured": described["work_ms"],
            "caption, client of a server": CAPTION_CLIENT_MS,
            "simulate, a pair": pairs["work_ms"],
            "shard": figures("writing")["contenders"]["mmidd, 1 worker"]["cpu_us_per_sample"] / 1000,
            "train: read, decode, augment": reading_ms(),
        },
        "driver_ms_per_row": drivers | {"shard": shard_driver(home, folder / "shards")},
        "bytes": {
            "crop": crop,
            "sample (pack and part)": crops["bytes"],
            "measured caption (part)": described["bytes"],
            "simulated pair (pack and part)": pairs["bytes"],
            "JSON in the shard": text,
            "sample in the shard": crop + text + HEADERS,
        },
        "memory_bytes": {
            "driver, per unit of the stage": per_unit(),
            "simulate, per real": reals.estimated_size() / reals.height,
            "shard, per sample": chosen.estimated_size() / chosen.height,
            "train, per sample, per process": index_bytes(),
        },
    }


def alone(stage: Stage, ledger: Ledger, units: Iterable[Unit]) -> dict[str, float]:
    """Per unit: milliseconds of this process in the work and in the commit, and bytes on disk."""
    assert stage.work is not None
    todo = list(units)
    stage.work(todo[0].payload)
    start = time.process_time()
    done = [(unit.unit_id, 0, with_columns(unit, stage.work(unit.payload))) for unit in todo]
    between = time.process_time()
    with ledger.writing():
        ledger.commit(done)
    end = time.process_time()
    size = sum(path.stat().st_size for path in ledger.parts + ledger.packs)
    per = 1000 / len(todo)
    return {
        "work_ms": (between - start) * per,
        "commit_ms": (end - between) * per,
        "bytes": size / len(todo),
    }


def with_columns(unit: Unit, rows: list[Row]) -> list[Row]:
    """The rows as the engine commits them."""
    return [replace(row, columns={**unit.columns, **row.columns}) for row in rows]


def hand_over(payload: tuple[int, int, int]) -> list[Row]:
    """Rows like those of face crops, at no cost."""
    first, count, size = payload
    columns = {
        "source": "planning",
        "media": "video",
        "src_path": f"real/{first}.mp4",
        "src_sha256": "0" * 64,
        "box": [0.0] * 4,
        "landmarks": [0.5] * 136,
        "crop_matrix": [0.5] * 6,
    }
    keys = (content_id("row", number) for number in range(first, first + count))
    return [Row({**columns, "sample_id": key}, blobs=(Blob(os.urandom(size), "jpg"),)) for key in keys]


def driver(root: Path, crop: int, rows: int, per_unit: int, engine: Any) -> float:
    """Milliseconds of the driver's processor time per row, commits and all; without the start of workers."""
    options = EngineOptions(engine=engine, workers=1)
    spent = []
    if engine == "ray":
        import_ray().init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    for name, count in (("warm", per_unit), ("full", rows)):
        numbers = range(0, count, per_unit)
        units = (Unit(content_id(n), str(n), (n, per_unit, crop), {"label": "real"}) for n in numbers)
        start = time.process_time()
        summary = run_stage(
            Stage("hand over", SAMPLES, hand_over), Ledger(root / name, SAMPLES), units, options, Silent()
        )
        assert summary.samples == count, summary.reasons
        spent.append(time.process_time() - start)
    if engine == "ray":
        import_ray().shutdown()
    return 1000 * (spent[1] - spent[0]) / (rows - per_unit)


def shard_driver(home: Workspace, folder: Path) -> float:
    """Milliseconds of the driver's processor time per sample: what all of them cost more than the reals."""
    found = []
    for where in ("recipe IS NULL", None):
        start = time.process_time()
        rows = select(home, where=where).rows
        options = EngineOptions(workers=2)
        write_shards(rows, Packs(home.root), folder, spec=home.spec, target_bytes=8 << 20, options=options)
        found.append((time.process_time() - start, rows.height))
    (few_s, few), (many_s, many) = found
    return 1000 * (many_s - few_s) / (many - few)


def per_unit() -> float:
    """Bytes that the driver keeps of every unit done: its last attempt, and that it was listed."""
    count = 100_000
    tracemalloc.start()
    kept = {content_id(n): (n % 3, False) for n in range(count)}, {content_id(n) for n in range(count)}
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held / len(kept[0])


def figures(name: str) -> Any:
    """What another benchmark found."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def reading_ms() -> float:
    """Milliseconds of one core per training sample."""
    found = figures("streaming")
    return float(1000 * found["workers"] / found["samples_per_s"]["mmidd, augment"])


def index_bytes() -> float:
    """Private memory per sample of a process that reads every sample once, at the largest size measured."""
    largest = figures("index_memory")[-1]
    return float(largest["every sample once"]["private_mib"] * 2**20 / largest["entries"])


def processor() -> str:
    """Name of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))


def time_table(costs: dict[str, Any], name: str, count: int) -> str:
    """Hours of one core, of a cluster, and of the driver that no cluster shortens."""
    cores = CORES[name]
    lines = [
        ("ingest, still image of 1024 px", 1.0, of_driver(costs, 1)),
        ("ingest, frame of a 720p video", 1.0, of_driver(costs, FRAMES) / FRAMES),
        ("simulate, a pair", REALS, of_driver(costs, 2)),
        ("shard", 1 + 2 * REALS, costs["driver_ms_per_row"]["shard"]),
        ("caption, measured", 1.0, None),
        ("caption, client of a server", 1.0, None),
        ("train: read, decode, augment", 1 + 2 * REALS, None),
    ]
    table = []
    for stage, share, driver_ms in lines:
        ms = costs["cpu_ms"][stage]
        hours = count * share * ms / 3.6e6
        row = [stage, f"{ms:.2f}", f"{hours:,.1f}"]
        if driver_ms is not None:
            driven = count * share * driver_ms / 3.6e6
            row += [f"{driven:,.1f}", f"{max(hours / cores, driven):,.1f}", f"{ms / driver_ms:,.0f}"]
        table.append([*row, *[""] * (6 - len(row))])
    head = ("stage", "core ms", "core hours", "driver hours", f"hours on {cores} cores", "cores fed")
    return markdown(head, table)


def of_driver(costs: dict[str, Any], rows: int) -> float:
    """Milliseconds of the driver for a unit of so many rows: a part for the unit and one for each row."""
    short, long = (costs["driver_ms_per_row"][f"ray, {size} rows a unit"] for size in (1, FRAMES))
    unit = (short - long) / (1 - 1 / FRAMES)
    return float(unit + rows * (short - unit))


def size_table(costs: dict[str, Any], count: int) -> str:
    """What lies on disk and in memory."""
    size, memory = costs["bytes"], costs["memory_bytes"]
    per_unit, per_entry = memory["driver, per unit of the stage"], memory["train, per sample, per process"]
    all_samples = count * (1 + 2 * REALS)
    lines = [
        ("disk: samples", count * size["sample (pack and part)"]),
        ("disk: measured captions", count * size["measured caption (part)"]),
        ("disk: simulated pairs", count * REALS * size["simulated pair (pack and part)"]),
        ("disk: shards", all_samples * size["sample in the shard"]),
        ("memory: driver of ingest, a unit per image", count * per_unit),
        (
            "memory: driver of ingest, a unit per video",
            count / FRAMES * per_unit,
        ),
        ("memory: driver of simulate", count * REALS * (per_unit + memory["simulate, per real"])),
        ("memory: `mmidd shard` (table of samples)", all_samples * memory["shard, per sample"]),
        (
            "memory: index, each process of a training run",
            all_samples * per_entry,
        ),
    ]
    return markdown(("what", "size"), [(what, human(value)) for what, value in lines])


def human(value: float) -> str:
    """Bytes in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:,.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table."""
    rows = [head, ["---"] + ["--:"] * (len(head) - 1), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    from benchmarks import planning  # so that workers find `hand_over` by its module's name

    planning.main()
