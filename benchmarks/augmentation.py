r"""Milliseconds of augmentation and resize for a 256-pixel crop, against albumentations and torchvision.

    pip install --no-deps --target A albumentations==1.3.1 qudida
    pip install --no-deps --target B albumentations==2.0.8 albucore==0.0.24 stringzilla simsimd
    OMP_NUM_THREADS=1 python -m benchmarks.augmentation --peer A --peer B \
        --out benchmarks/results/augmentation.json

One thread each, processor time, medians of interleaved rounds; drawing included. `--device cuda` adds the
crops per second of `apply_batch` there, with the copy of the batch to the device.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torchvision.transforms import InterpolationMode, v2

from benchmarks.blend import Peer
from benchmarks.blend_measures import portrait
from mmidd.preprocess.blend.colour import compress
from mmidd.preprocess.detectors.base import Pixels
from mmidd.training.augment import Draw, apply, draw, resize, sample_generator
from mmidd.training.augment.device import apply_batch
from mmidd.training.augment.draw import Affine, Blur, Hsv, Light, Pca
from mmidd.training.config import load_preset

SIDE = 224
RECIPES = ("lnclip", "sd2")
Timed = Callable[[int], float]


def main() -> None:
    """Time whole recipes, their steps and, if asked, the device."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, action="append", default=[], help="folder with albumentations")
    parser.add_argument("--crops", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", help="also render batches there")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    crop, _ = portrait()
    peers = [Peer(folder, "benchmarks.augmentation_reference") for folder in arguments.peer]
    found: dict[str, Any] = {"opencv": cv2.__version__, "torch": torch.__version__, "cpus": os.cpu_count()}
    for recipe in RECIPES:
        ways = contenders(crop, recipe, peers)
        found[f"{recipe}_ms"] = medians(ways, arguments.crops, arguments.rounds)
        ours = found[f"{recipe}_ms"]["mmidd"]
        found[f"{recipe}_over"] = {name: round(ms / ours, 2) for name, ms in found[f"{recipe}_ms"].items()}
    found["steps_ms"] = medians(steps(crop), arguments.crops, arguments.rounds)
    if arguments.device:
        rates = {recipe: device_rate(crop, recipe, arguments.device, arguments.batch) for recipe in RECIPES}
        found["device"] = {"name": torch.cuda.get_device_name(arguments.device), "crops_per_s": rates}
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


def contenders(crop: Pixels, recipe: str, peers: list[Peer]) -> dict[str, Timed]:
    """Everyone who can do a recipe; torchvision lacks what sd2's colours need."""
    ranges = load_preset(recipe, "paper").augment
    ways = {"mmidd": processor(lambda k: apply(crop, draw(ranges, sample_generator(0, 0, 0, str(k))), SIDE))}
    for peer in peers:
        ways[peer.name] = partial(asked, peer, recipe)
    if recipe == "lnclip":
        changes, image = torchvision_lnclip(), torch.from_numpy(crop).permute(2, 0, 1).contiguous()
        ways["torchvision"] = processor(lambda _: changes(image))
    return ways


def asked(peer: Peer, recipe: str, count: int) -> float:
    """The processor's seconds of a peer."""
    return float(peer.ask(f"{count} {recipe}"))


def processor(change: Callable[[int], object]) -> Timed:
    """The processor's seconds that `change` takes for a number of crops."""

    def seconds(count: int) -> float:
        start = time.process_time()
        for k in range(count):
            change(k)
        return time.process_time() - start

    return seconds


def medians(ways: dict[str, Timed], count: int, rounds: int) -> dict[str, float]:
    """Median milliseconds of a crop, everyone in turn."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(1e3 * way(count) / count)
    return {name: round(statistics.median(values), 4) for name, values in times.items()}


def torchvision_lnclip() -> Any:
    """LNCLIP-DF's list on uint8 tensors."""
    move = {"translate": (0.1, 0.1), "scale": (0.9, 1.1), "interpolation": InterpolationMode.BILINEAR}
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(0.5),
            v2.RandomAffine(10, **move),
            v2.RandomApply([v2.GaussianBlur(7, (0.1, 2.0))], 0.1),
            v2.ColorJitter(brightness=0.1, contrast=0.1),
            v2.JPEG((40, 100)),
            v2.Resize((SIDE, SIDE), antialias=True),
        ]
    )


def steps(crop: Pixels) -> dict[str, Timed]:
    """What each change takes alone."""
    side = len(crop)
    changes = {
        "affine": Draw(True, Affine(7, 1.05, (0.05, 0.05), "zero")),
        "blur": Draw(blur=Blur(7, 1.0)),
        "light": Draw(colour=Light(1.05, 0.05, 0)),
        "fancy pca": Draw(colour=Pca((0.1, 0.1, 0.1))),
        "hue, saturation, value": Draw(colour=Hsv((5, 5, 5))),
    }
    timed = {name: processor(partial(_applied, crop, change, side)) for name, change in changes.items()}
    ranges = load_preset("lnclip", "paper").augment
    timed["draw"] = processor(lambda k: draw(ranges, sample_generator(0, 0, 0, str(k))))
    timed["jpeg"] = processor(lambda k: compress(crop, 40 + k % 61))
    timed["resize"] = processor(lambda _: resize(crop, SIDE))
    return timed


def _applied(crop: Pixels, change: Draw, side: int, _: int) -> object:
    return apply(crop, change, side)


def device_rate(crop: Pixels, recipe: str, device: str, batch: int, batches: int = 20) -> float:
    """Crops per second of batches that come from pinned memory; the results stay on the device."""
    ranges = load_preset(recipe, "paper").augment
    images = torch.from_numpy(np.stack([crop] * batch)).pin_memory()
    draws = [
        [draw(ranges, sample_generator(0, 0, step, str(k))) for k in range(batch)] for step in range(batches)
    ]
    apply_batch(images.to(device), draws[0], SIDE)
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    for drawn in draws:
        apply_batch(images.to(device, non_blocking=True), drawn, SIDE)
    torch.cuda.synchronize(device)
    return round(batch * batches / (time.perf_counter() - start), 0)


if __name__ == "__main__":
    main()
