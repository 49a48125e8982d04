"""Writing shards: mmidd against webdataset's TarWriter and against the bare disk, on the same samples.

    python benchmarks/writing.py --samples 80000

mmidd reads the crops from the packs of a workspace, checks every image against its SHA-256, hashes the
shards and syncs them to disk; planning, start of the workers, tables and dataset card are in its time.
webdataset gets the same bytes and the same row as a dict from memory, writes one file, and neither checks,
hashes nor syncs. The disk gets as many bytes as mmidd's shards have in blocks of 4 MiB, synced at the end.
Rounds are interleaved. CPU time counts all processes, and suffers less from what else the machine does.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson
import polars as pl
import simplejpeg

from mmidd.engine import Blob, EngineOptions, Ledger, Row
from mmidd.schema import SAMPLES
from mmidd.shards.blobs import Packs
from mmidd.shards.content import json_of
from mmidd.shards.select import select
from mmidd.shards.writer import write_shards
from mmidd.workspace import Workspace

RESULTS = Path(__file__).parent / "results" / "writing.json"
PICTURES = 500
PART = 2_500
FAMILY = 8
STOCK = "webdataset TarWriter"


def main() -> None:
    """Run every contender on the same samples, print the table and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=80_000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--target-size", type=int, default=64, help="mean shard size at most, in MB")
    parser.add_argument(
        "--folder", type=Path, default=None, help="where to write (default: the temporary one)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        result = measure(Path(folder), arguments)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Rates of all contenders in interleaved rounds."""
    workspace = make_workspace(folder / "ws", arguments.samples, arguments.size)
    rows = select(workspace).rows
    packs = Packs(workspace.root)
    samples = [
        (row["sample_id"], packs.image(row), orjson.loads(text))
        for row, text in zip(rows.iter_rows(named=True), json_of(rows), strict=True)
    ]

    gc.freeze()  # webdataset's samples in memory must not cost the others their collection

    def ours(workers: int) -> int:
        summary = write_shards(
            rows,
            packs,
            folder / "shards",
            spec=workspace.spec,
            target_bytes=arguments.target_size << 20,
            options=EngineOptions(workers=workers),
        )
        assert summary.kept == 0
        return summary.bytes

    contenders: dict[str, Callable[[], int]] = {
        STOCK: lambda: write_webdataset(samples, folder / "stock.tar"),
        "mmidd, 1 worker": lambda: ours(1),
        "mmidd, 2 workers": lambda: ours(2),
        "disk": lambda: write_disk(folder / "raw", ours_bytes),
    }
    ours_bytes = ours(1)
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(arguments.rounds):
        for name, contender in contenders.items():
            clear(folder)
            start, cpu = time.perf_counter(), cpu_seconds()
            contender()
            took[name].append((time.perf_counter() - start, cpu_seconds() - cpu))
    return report(took, len(samples), ours_bytes, rows)


def clear(folder: Path) -> None:
    """Remove what the last contender wrote, and let the disk come to rest."""
    shutil.rmtree(folder / "shards", ignore_errors=True)
    for name in ("stock.tar", "raw"):
        (folder / name).unlink(missing_ok=True)
    os.sync()


def cpu_seconds() -> float:
    """CPU time of this process and of those that ended."""
    return sum(os.times()[:4])


def report(
    took: dict[str, list[tuple[float, float]]], samples: int, written: int, rows: pl.DataFrame
) -> dict[str, Any]:
    """Samples and bytes per second, and what these are of webdataset and of the disk."""
    best = {name: min(wall for wall, _ in times) for name, times in took.items()}
    median = {name: statistics.median(wall for wall, _ in times) for name, times in took.items()}
    return {
        "samples": samples,
        "bytes_per_image": rows["length"].sum() // samples,
        "bytes_written": written,
        "rounds": len(took["disk"]),
        "cores": len(os.sched_getaffinity(0)),
        "contenders": {
            name: {
                "samples_per_s": round(samples / best[name]),
                "samples_per_s_median": round(samples / median[name]),
                "mb_per_s": round(written / best[name] / 1e6, 1),
                "cpu_us_per_sample": round(1e6 * min(cpu for _, cpu in times) / samples, 1),
                "times_webdataset": round(best[STOCK] / best[name], 2),
                "times_webdataset_median": round(median[STOCK] / median[name], 2),
                "share_of_disk": round(best["disk"] / best[name], 3),
                "share_of_disk_median": round(median["disk"] / median[name], 3),
            }
            for name, times in took.items()
        },
    }


def make_workspace(root: Path, count: int, size: int) -> Workspace:
    """Rows with all columns of an ingest, families of eight, their crops in packs."""
    workspace = Workspace.open(root, create=True)
    spec_id = workspace.pin({"size": size}).spec_id
    ledger = Ledger(root / "samples" / "synthetic", SAMPLES)
    pictures = list(draw(size))
    rng = np.random.default_rng(1)
    with ledger.writing():
        for first in range(0, count, PART):
            numbers = range(first, min(first + PART, count))
            ledger.commit([(f"unit{i}", 0, [make_row(i, pictures, spec_id, rng)]) for i in numbers])
    return workspace


def draw(size: int) -> Iterator[bytes]:
    """JPEGs of smooth shapes with grain, about as large as those of face crops at this quality."""
    rng = np.random.default_rng(0)
    for _ in range(PICTURES):
        coarse = rng.normal(128, 40, (size // 16, size // 16, 3)).clip(0, 255)
        grain = rng.normal(0, 2, (size, size, 3))
        image = (cv2.resize(coarse, (size, size)) + grain).clip(0, 255).astype(np.uint8)
        yield simplejpeg.encode_jpeg(image, quality=95, colorspace="RGB", colorsubsampling="444")


def make_row(number: int, pictures: list[bytes], spec_id: str, rng: np.random.Generator) -> Row:
    """One sample: every eighth is real, the others are its fakes."""
    real, video = number % FAMILY == 0, f"synthetic/{number // FAMILY:06d}"
    columns = {
        "sample_id": hashlib.sha256(str(number).encode()).hexdigest()[:32],
        "source": "synthetic",
        "label": "real" if real else "fake",
        "type": "REAL" if real else "FS",
        "method": "original" if real else "deepfakes",
        "compression": "c23",
        "media": "video",
        "src_path": f"manipulated_sequences/c23/videos/{number:06d}.mp4",
        "src_sha256": hashlib.sha256(video.encode()).hexdigest(),
        "frame_index": number % 300,
        "pts_ms": number % 300 * 40.0,
        "video_id": video,
        "identity_ids": [f"{number // FAMILY:06d}"],
        "overlap_ids": [],
        "pair_id": video,
        "split": ("train", "train", "train", "test")[number // FAMILY % 4],
        "split_origin": "official",
        "box": rng.uniform(0, 1000, 4).tolist(),
        "landmarks5": rng.uniform(0, 1000, 10).tolist(),
        "landmarks": rng.uniform(0, 1000, 136).tolist(),
        "landmark_scheme": "dlib68",
        "det_score": float(rng.random()),
        "detector": "dlib 20.0.0",
        "face_index": 0,
        "spec_id": spec_id,
        "crop_matrix": rng.uniform(0, 10, 6).tolist(),
        "width": 256,
        "height": 256,
        "encoding": "jpeg",
        "phash": f"{number:016x}",
        "sharpness": float(rng.random()),
        "brightness": float(rng.random()),
    }
    return Row(columns, blobs=(Blob(pictures[number % PICTURES], "jpg"),))


def write_webdataset(samples: list[tuple[str, bytes, dict[str, Any]]], out: Path) -> int:
    """The same members by webdataset."""
    import webdataset as wds  # here, for the workers of mmidd import this module

    with wds.TarWriter(str(out)) as sink:
        return sum(sink.write({"__key__": key, "jpg": image, "json": row}) for key, image, row in samples)


def write_disk(out: Path, size: int) -> int:
    """So many bytes from front to back, synced."""
    block = os.urandom(4 << 20)
    with out.open("wb", buffering=0) as file:
        for _ in range(-(-size // len(block))):
            file.write(block)
        os.fsync(file.fileno())
    return size


if __name__ == "__main__":
    main()
