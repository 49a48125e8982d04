"""Memory and time that the stream's index takes, by the number of samples.

    python benchmarks/index_memory.py

A fresh process opens the table of samples and plans an epoch, as the training process does; another looks up
100,000 samples in random order, as a loader process does. Private memory is what only that process holds;
mapped file pages are shared by all processes of the machine, and the kernel may drop them at any time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from mmidd.schema import Simulated
from mmidd.shards.entries import Entries, mapped
from mmidd.shards.index import ENTRIES
from mmidd.shards.plan import Sampler
from mmidd.shards.sampling import Sampling

RESULTS = Path(__file__).parent / "results" / "index_memory.json"
SAMPLINGS: dict[str, Any] = {
    "every sample once": {},
    "types equal, 16 shards at a time": {"by": ["type"], "window": 16},
    "paired": {"pair": True},
}
PER_SHARD = 8_000
SOUGHT = 100_000


def write_table(path: Path, count: int) -> str:
    """A table of samples as `mmidd shard` writes it, of families of 192; gives its SHA-256."""
    number = pl.int_range(count, eager=True, dtype=pl.Int64)
    family, fake = number // 192, number % 6 > 0
    kind = np.array(["REAL", "FS", "FS", "FR", "FR", "FE"])[(number % 6).to_numpy()]
    frame = pl.DataFrame({"number": number}).select(
        key=pl.format("{}{}", pl.col("number").hash(1), pl.col("number").hash(2)).str.head(32),
        shard=pl.format("train-{}.tar", (pl.col("number") // PER_SHARD).cast(pl.String).str.zfill(5)),
        image_offset=pl.col("number") % PER_SHARD * 34_304 + 512,
        image_length=pl.lit(30_000),
        mask_offset=pl.lit(0),
        mask_length=pl.lit(0),
        json_offset=pl.col("number") % PER_SHARD * 34_304 + 31_744,
        json_length=pl.lit(2_048),
        split=pl.lit("train"),
        label=pl.Series(np.where(fake, "fake", "real")),
        type=pl.Series(kind),
        source=pl.Series(np.array(["ff++", "df40", "celeba"])[(family % 3).to_numpy()]),
        video_id=pl.format("v{}", pl.Series(family * 6 + number % 6)),
        pair_id=pl.format("f{}", pl.Series(family)),
        frame_index=(pl.col("number") // 6 % 32).cast(pl.Int32),
    )
    table = frame.to_arrow()
    for field in ENTRIES:
        if field.name not in table.column_names:
            table = table.append_column(field.name, [[None] * count])
    pq.write_table(table.select(ENTRIES.names).cast(ENTRIES), path, compression="zstd")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def private_mib() -> float:
    """Memory that only this process holds and no file backs, in MiB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Anonymous:", "Swap:"))) / 1024


def measure(folder: Path, count: int, what: str) -> dict[str, float]:
    """One size and one use, in this process, which must be fresh."""
    before = private_mib()
    path = mapped(lambda: folder / "samples.parquet", (folder / "sha256").read_text(), folder)
    entries = Entries(path, 0, count, Simulated.INCLUDE)
    if what == "loader":
        order = np.random.default_rng(0).permutation(count)[:SOUGHT].tolist()
        entries.at(0)
        start = time.perf_counter()
        for index in order:
            entries.at(index)
        taken = (time.perf_counter() - start) / len(order) * 1e6
        return {"lookup_us": taken, "private_mib": private_mib() - before}
    start = time.perf_counter()
    sampler = Sampler(entries, Sampling.model_validate(SAMPLINGS[what]), 0, 256)
    opened = time.perf_counter()
    epoch = sampler.epoch(0)
    times = {"open_s": opened - start, "plan_s": time.perf_counter() - opened}
    return times | {"steps": epoch.steps, "private_mib": private_mib() - before}


def main() -> None:
    """Measure every size and use in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--one", nargs=2, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(Path(arguments.one[0]), arguments.entries[0], arguments.one[1])))
        return
    results = [_in_processes(count) for count in arguments.entries]
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def _in_processes(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sha256 = write_table(folder / "samples.parquet", count)
        (folder / "sha256").write_text(sha256)
        start = time.perf_counter()
        path = mapped(lambda: folder / "samples.parquet", sha256, folder)
        result: dict[str, Any] = {"entries": count, "map_s": time.perf_counter() - start}
        result["arrow_mib"] = path.stat().st_size / 2**20
        for what in ["loader", *SAMPLINGS]:
            command = [sys.executable, __file__, "--entries", str(count), "--one", name, what]
            answer = subprocess.run(command, capture_output=True, check=True, text=True).stdout
            result[what] = json.loads(answer)
    print(json.dumps(result, indent=1), flush=True)
    return result


if __name__ == "__main__":
    main()
