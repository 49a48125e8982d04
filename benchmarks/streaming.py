"""Samples per second of mmidd's stream against webdataset and litdata, and against bare JPEG decoding.

    pip install litdata
    python benchmarks/streaming.py --images ../shared/data/portraits

All read the same JPEG and JSON bytes, shuffled, with the same number of worker processes, decode them with
the same functions (simplejpeg, orjson), transform them in the same way and give batches of 64 images with
their labels. `webdataset, its decoder` is the same pipeline with webdataset's own `rgb8` and JSON decoders.
Bare decoding is as many processes that decode the JPEGs from memory and throw them away.

Rounds are interleaved, medians count. A round is the second epoch of a loader whose workers stay alive, so
that their start does not count; files are in the page cache.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import cv2
import litdata
import numpy as np
import orjson
import polars as pl
import simplejpeg
import torch
import webdataset as wds

from mmidd.engine.threads import single_thread
from mmidd.schema import SAMPLES, Split
from mmidd.shards.dataset import ShardDataset
from mmidd.shards.loader import Draw
from mmidd.shards.sampling import Sampling
from mmidd.shards.stream import Stream
from mmidd.shards.writer import write_shards
from mmidd.spec import PreprocessSpec
from mmidd.training.augment import apply, draw, sample_generator
from mmidd.training.ranges import Augment

BATCH = 64
RESULTS = Path(__file__).parent / "results" / "streaming.json"
Image = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Transform:
    """What is done with a crop: nothing, the network's size and a flip, or LNCLIP-DF's augmentation."""

    name: str
    size: int

    def __call__(self, image: Image, key: str) -> Image:
        """The changed crop."""
        if self.name == "none":
            return image
        rng = sample_generator(0, 0, 0, key)
        if self.name == "augment":
            return apply(image, draw(Augment(), rng), self.size)
        if rng.random() < 0.5:
            image = image[:, ::-1]
        return np.asarray(cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_LINEAR), np.uint8)


TRANSFORMS = (Transform("none", 256), Transform("resize", 224), Transform("augment", 224))


@dataclass(frozen=True)
class Fill:
    """mmidd's loader."""

    dataset: ShardDataset
    transform: Transform

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a crop in the batch."""
        return self.transform.size, self.transform.size, 3

    def __call__(self, drawn: Draw, out: Image) -> str:
        """See `loader.Fill`."""
        sample = self.dataset.read(drawn.index, out)
        if (image := self.transform(sample.image, sample.key)) is not out:
            out[:] = image
        return str(sample.row["label"])


def mmidd_batches(shards: Path, transform: Transform, workers: int, window: int | None) -> Iterator[int]:
    """Batch sizes of two epochs of a stream, 0 between them."""
    dataset = ShardDataset(shards, Split.TRAIN)
    sampling = Sampling(window=window)
    with Stream(dataset, Fill(dataset, transform), sampling, seed=0, batch=BATCH, workers=workers) as stream:
        for _ in range(2):
            for loaded in stream:
                yield len(torch.from_numpy(loaded.images))
            yield 0


def decode(blob: bytes) -> Image:
    """RGB (H, W, 3)."""
    return np.asarray(simplejpeg.decode_jpeg(blob, colorspace="RGB"))


def decode_member(name: str, data: bytes) -> Any:
    """Webdataset's decoder hook."""
    return decode(data) if name.endswith("jpg") else orjson.loads(data)


def transformed(transform: Transform, sample: dict[str, Any]) -> tuple[Image, str]:
    """Webdataset's map function."""
    return np.ascontiguousarray(transform(sample["jpg"], sample["__key__"])), sample["json"]["label"]


def webdataset_batches(shards: Path, transform: Transform, workers: int, stock: bool) -> Iterator[int]:
    """The same of a webdataset pipeline with its shuffle over shards and of 1,000 samples."""
    urls = [str(path) for path in sorted(shards.glob("*.tar"))]
    decoders = ("rgb8",) if stock else (decode_member,)
    pipeline = (
        wds.WebDataset(urls, shardshuffle=len(urls), workersplitter=wds.split_by_worker, seed=0)
        .shuffle(1000)
        .decode(*decoders)
        .map(partial(transformed, transform))
        .batched(BATCH)
    )
    loader = wds.WebLoader(pipeline, batch_size=None, num_workers=workers, persistent_workers=True)
    for _ in range(2):
        for images, _ in loader:
            yield len(torch.as_tensor(images))
        yield 0


class LitSamples(litdata.StreamingDataset):  # type: ignore[misc]
    """litdata's reader with the same decode and transform."""

    transform_crop: Transform

    def __getitem__(self, index: Any) -> tuple[Any, str]:
        sample = super().__getitem__(index)
        image = self.transform_crop(decode(sample["jpg"]), sample["key"])
        return torch.from_numpy(np.ascontiguousarray(image)), orjson.loads(sample["json"])["label"]


def litdata_batches(chunks: Path, transform: Transform, workers: int) -> Iterator[int]:
    """The same of litdata's loader."""
    dataset = LitSamples(str(chunks), shuffle=True, drop_last=False)
    dataset.transform_crop = transform
    loader = litdata.StreamingDataLoader(
        dataset, batch_size=BATCH, num_workers=workers, persistent_workers=True
    )
    for _ in range(2):
        for images, _ in loader:
            yield len(images)
        yield 0


def decode_all(blobs: list[bytes], barrier: Any, seconds: Any) -> None:
    """One of the bare decoding processes."""
    single_thread()
    decode(blobs[0])
    barrier.wait()
    start = time.perf_counter()
    for blob in blobs:
        decode(blob)
    seconds.put(time.perf_counter() - start)


def bare_rate(blobs: list[bytes], workers: int) -> float:
    """Images per second of bare decoding."""
    context = multiprocessing.get_context("fork")
    barrier, seconds = context.Barrier(workers), context.Queue()
    processes = [context.Process(target=decode_all, args=(blobs, barrier, seconds)) for _ in range(workers)]
    for process in processes:
        process.start()
    taken = [seconds.get() for _ in processes]
    for process in processes:
        process.join()
    return float(sum(len(blobs) / each for each in taken))


def rate(read: Callable[[], Iterator[int]]) -> float:
    """Samples per second of the second epoch."""
    batches = read()
    while next(batches):
        pass
    start = time.perf_counter()
    return sum(batches) / (time.perf_counter() - start)


@dataclass(frozen=True)
class MemoryBlobs:
    """JPEGs by sample id."""

    images: dict[str, bytes]

    def image(self, row: Any, /) -> bytes:
        """See `Blobs`."""
        return self.images[row["sample_id"]]

    def of(self, rows: Any, /) -> Self:
        """See `Blobs`."""
        return self

    def mask(self, row: Any, /) -> bytes:
        """See `Blobs`."""
        raise KeyError(row["sample_id"])


def make(folder: Path, images: Path | None, count: int, size: int) -> list[bytes]:
    """Write shards and litdata's chunks of the same samples."""
    spec = PreprocessSpec.model_validate({"size": size})
    blobs: dict[str, bytes] = {}
    rows = []
    for number, blob in zip(range(count), _jpegs(images, size, spec.quality), strict=False):
        key = hashlib.sha256(str(number).encode()).hexdigest()[:32]
        blobs[key] = blob
        given = {"sample_id": key, "source": "ffhq", "label": ("real", "fake")[number % 2], "split": "train"}
        face = {"type": ("REAL", "FS")[number % 2], "spec_id": spec.spec_id, "encoding": "jpeg"}
        place = {"length": len(blob), "sha256": hashlib.sha256(blob).hexdigest()}
        points = {
            "landmarks": np.random.default_rng(number).random(136).tolist(),
            "video_id": f"v{number // 32}",
        }
        rows.append(dict.fromkeys(SAMPLES.names) | given | face | place | points)
    frame = pl.DataFrame(rows, schema_overrides=pl.DataFrame(SAMPLES.empty_table()).schema)
    write_shards(frame, MemoryBlobs(blobs), folder / "shards", spec=spec, target_bytes=32 << 20)
    dataset = wds.WebDataset([str(p) for p in sorted((folder / "shards").glob("*.tar"))], shardshuffle=False)
    samples = [{"key": s["__key__"], "jpg": s["jpg"], "json": s["json"]} for s in dataset]
    (folder / "chunks").mkdir()
    litdata.optimize(_same, samples, str(folder / "chunks"), chunk_bytes="32MB", num_workers=1)
    return list(blobs.values())


def _same(sample: dict[str, Any]) -> dict[str, Any]:
    return sample


def _jpegs(folder: Path | None, size: int, quality: int) -> Iterator[bytes]:
    """Crops of portraits at random places, or smooth shapes with grain where no folder is given."""
    rng = np.random.default_rng(0)
    paths = sorted(p for p in folder.rglob("*") if p.suffix in {".jpg", ".png"}) if folder else []
    pictures = [picture for path in paths[:400] if (picture := cv2.imread(str(path))) is not None]
    while True:
        if pictures:
            picture = pictures[rng.integers(len(pictures))]
            side = int(min(picture.shape[:2]) * rng.uniform(0.6, 1))
            y, x = (int(rng.integers(0, n - side + 1)) for n in picture.shape[:2])
            image = cv2.resize(
                picture[y : y + side, x : x + side, ::-1], (size, size), interpolation=cv2.INTER_AREA
            )
        else:
            coarse = cv2.resize(rng.normal(128, 40, (size // 8, size // 8, 3)).clip(0, 255), (size, size))
            image = (coarse + rng.normal(0, 4, (size, size, 3))).clip(0, 255).astype(np.uint8)
        yield simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorsubsampling="444")


def main() -> None:
    """Run every contender on the same samples, print the table and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=12_000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=Path, default=None, help="folder of portraits to cut crops from")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        blobs = make(folder, arguments.images, arguments.samples, arguments.size)
        result = measure(folder, blobs, arguments.workers, arguments.rounds)
    result |= {"samples": len(blobs), "jpeg_bytes": sum(map(len, blobs)) // len(blobs)}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def measure(folder: Path, blobs: list[bytes], workers: int, rounds: int) -> dict[str, Any]:
    """Median rates and their ratios."""
    shards, chunks = folder / "shards", folder / "chunks"
    contenders: dict[str, Callable[[], float]] = {
        "bare decode": lambda: statistics.median(bare_rate(blobs[:4000], workers) for _ in range(3))
    }
    for transform in TRANSFORMS:
        readers: dict[str, Callable[[], Iterator[int]]] = {
            "mmidd": partial(mmidd_batches, shards, transform, workers, None),
            "mmidd window 4": partial(mmidd_batches, shards, transform, workers, 4),
            "webdataset": partial(webdataset_batches, shards, transform, workers, stock=False),
            "webdataset its decoder": partial(webdataset_batches, shards, transform, workers, stock=True),
            "litdata": partial(litdata_batches, chunks, transform, workers),
        }
        contenders |= {f"{name}, {transform.name}": partial(rate, read) for name, read in readers.items()}
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, contender in contenders.items():
            time.sleep(1)  # the processes of the one before end
            rates[name].append(contender())
            print(f"round {number} {name:36} {rates[name][-1]:8.0f}/s", flush=True)
    return {"workers": workers, "rounds": rounds, **summary(rates)}


def summary(rates: dict[str, list[float]]) -> dict[str, Any]:
    """Medians of the rates, and of the ratios within a round."""

    def ratio(ours: str, theirs: str) -> float:
        return statistics.median(a / b for a, b in zip(rates[ours], rates[theirs], strict=True))

    ratios = {
        f"{ours} / bare": ratio(ours, "bare decode") for ours in ("mmidd, none", "mmidd window 4, none")
    }
    for at in (transform.name for transform in TRANSFORMS):
        for peer in ("webdataset", "webdataset its decoder", "litdata"):
            ratios[f"mmidd / {peer}, {at}"] = ratio(f"mmidd, {at}", f"{peer}, {at}")
    medians = {name: statistics.median(found) for name, found in rates.items()}
    return {"samples_per_s": medians, "ratios": ratios, "rounds_samples_per_s": rates}


if __name__ == "__main__":
    main()
