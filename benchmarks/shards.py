"""Samples per second of mmidd's shards against stock webdataset: writing, and reading with decode.

    python benchmarks/shards.py --samples 4000 --size 256

Every reader decodes the JPEG and the JSON of every sample, in one process, from the same shards
in the page cache. The best of `--rounds` interleaved rounds counts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import simplejpeg
import webdataset as wds

from mmidd.schema import SAMPLES, Split
from mmidd.shards.plan import EpochPlan, balance_groups
from mmidd.shards.stream import ShardDataset
from mmidd.shards.writer import write_shards
from mmidd.spec import PreprocessSpec


def main() -> None:
    """Run every contender on the same synthetic samples and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    spec = PreprocessSpec.model_validate({"size": arguments.size})
    rows, blobs = synthetic(arguments.samples, spec)
    frame = pl.DataFrame(rows, schema_overrides=pl.DataFrame(SAMPLES.empty_table()).schema)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "shards"
        contenders: dict[str, Callable[[], int]] = {
            "write: webdataset TarWriter": lambda: write_webdataset(rows, blobs, Path(folder) / "stock.tar"),
            "write: mmidd (checked, hashed)": lambda: write_mmidd(frame, blobs, out, spec),
            "read: webdataset, sequential": lambda: read_webdataset(out),
            "read: mmidd, sequential": lambda: read_mmidd(out, shuffled=False),
            "read: mmidd, shuffled plan": lambda: read_mmidd(out, shuffled=True),
            "read: bare JPEG decode": lambda: sum(1 for blob in blobs.values() if decode(blob).size),
        }
        best = dict.fromkeys(contenders, 0.0)
        for _ in range(arguments.rounds):
            for name, contender in contenders.items():
                best[name] = max(best[name], rate(contender))
    print(f"{arguments.samples} samples of {arguments.size} px, {sum(map(len, blobs.values())) / 1e6:.0f} MB")
    for name, value in best.items():
        stock = next(v for n, v in best.items() if n.split(":")[0] == name.split(":")[0])
        print(f"{name:32} {value:9.0f} samples/s  {value / stock:5.2f} x webdataset")


def rate(contender: Callable[[], int]) -> float:
    """Samples per second of one run."""
    start = time.perf_counter()
    return contender() / (time.perf_counter() - start)


def synthetic(count: int, spec: PreprocessSpec) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Manifest rows and JPEGs of smooth shapes with grain, about as large as those of face crops."""
    rng = np.random.default_rng(0)
    rows, blobs = [], {}
    for i in range(count):
        coarse = rng.normal(128, 40, (spec.size // 8, spec.size // 8, 3)).clip(0, 255)
        grain = rng.normal(0, 4, (spec.size, spec.size, 3))
        image = (cv2.resize(coarse, (spec.size, spec.size)) + grain).clip(0, 255).astype(np.uint8)
        blob = simplejpeg.encode_jpeg(image, quality=spec.quality, colorspace="RGB", colorsubsampling="444")
        key = hashlib.sha256(str(i).encode()).hexdigest()[:16]
        blobs[key] = blob
        rows.append(
            dict.fromkeys(SAMPLES.names)
            | {
                "sample_id": key,
                "source": "synthetic",
                "label": "fake" if i % 2 else "real",
                "type": "FS" if i % 2 else "REAL",
                "split": "train",
                "landmarks": rng.random(136).tolist(),
                "spec_id": spec.spec_id,
                "encoding": "jpeg",
                "length": len(blob),
                "sha256": hashlib.sha256(blob).hexdigest(),
            }
        )
    return rows, blobs


def decode(blob: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Decode with the codec that mmidd uses."""
    return np.asarray(simplejpeg.decode_jpeg(blob, colorspace="RGB"))


def write_mmidd(frame: pl.DataFrame, blobs: dict[str, bytes], out: Path, spec: PreprocessSpec) -> int:
    """Write with `write_shards`: rows checked, images and shards hashed, JSON canonical."""
    return sum(write_shards(frame, lambda row: blobs[row["sample_id"]], out, spec=spec).samples.values())


def write_webdataset(rows: list[dict[str, Any]], blobs: dict[str, bytes], out: Path) -> int:
    """Write the same bytes with webdataset's TarWriter, nothing checked or hashed."""
    with wds.TarWriter(str(out)) as sink:
        for row in rows:
            sink.write({"__key__": row["sample_id"], "jpg": blobs[row["sample_id"]], "json": row})
    return len(rows)


def read_webdataset(out: Path) -> int:
    """Read the shards from front to back with stock webdataset."""
    urls = [str(path) for path in sorted(out.glob("*.tar"))]
    return sum(
        1 for s in wds.WebDataset(urls, shardshuffle=False) if decode(s["jpg"]).size and json.loads(s["json"])
    )


def read_mmidd(out: Path, *, shuffled: bool) -> int:
    """Read every sample once, in the order of the shards or of an epoch's plan."""
    dataset = ShardDataset(out, Split.TRAIN)
    plan = EpochPlan(balance_groups(dataset.rows, "none"), seed=0, epoch=0, batch=1)
    order: Iterable[int] = plan.order.tolist() if shuffled else range(len(dataset))
    return sum(1 for i in order if dataset[i].image.size)


if __name__ == "__main__":
    main()
