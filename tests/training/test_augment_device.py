"""The device's renderer against the CPU's; on a GPU too where there is one."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pytest
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image

from mmidd.preprocess.decode import load_image
from mmidd.training.augment import Draw, apply, draw, sample_generator
from mmidd.training.augment.device import apply_batch
from mmidd.training.augment.draw import PAIRS, Affine, Blur, Hsv, Light, Pca, Resize
from mmidd.training.augment.jpeg import quantisation
from mmidd.training.config import load_preset
from tests.training.augment_world import PORTRAITS, portraits, scaled

DEVICES = pytest.mark.parametrize("device", ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
COUNT = 6
Pixels = NDArray[np.uint8]


@cache
def faces(side: int = 256) -> Pixels:
    return portraits(COUNT, side)


def apart(
    images: Pixels, draws: list[Draw], size: int, device: str = "cpu"
) -> tuple[NDArray[np.float64], float]:
    """Mean difference of every image and the largest, in grey levels."""
    one = np.stack([apply(image, change, size) for image, change in zip(images, draws, strict=True)])
    other = apply_batch(torch.from_numpy(images).to(device), draws, size).cpu().numpy()
    assert other.shape == one.shape == (len(images), size, size, 3)
    assert other.dtype == np.uint8
    difference = np.abs(one.astype(np.float64) - other)
    return difference.mean((1, 2, 3)), float(difference.max())


def affines(border: str, resize: Resize | None = None) -> list[Draw]:
    moves = [(-10, 0.9, 0.1), (0, 1.0, 0.0), (3, 1.1, -0.1), (10, 1.05, 0.05), (25, 1.5, 0.3), (-4, 0.5, 0.0)]
    return [
        Draw(k % 2 == 0, Affine(d, s, (t, -t / 2), "zero" if border == "zero" else "reflect"), resize=resize)
        for k, (d, s, t) in enumerate(moves)
    ]


BLURS = [Draw(blur=Blur(k, s)) for k, s in ((3, 0), (5, 0), (7, 0), (7, 0.1), (7, 2.0), (3, 1.0))]
LIGHTS = [Draw(colour=Light(0.8 + 0.08 * k, 0.1 - 0.05 * k, 12.0 * k - 30)) for k in range(COUNT)]
PCAS = [Draw(colour=Pca((0.3 - 0.1 * k, 0.2, -0.1 * k))) for k in range(COUNT)]
HSVS = [Draw(colour=Hsv((19.0 - 7.7 * k, 28.5 - 11 * k, 19.5 - 7 * k))) for k in range(COUNT)]
CASES: dict[str, tuple[list[Draw], int, float, float]] = {
    "nothing": ([Draw()] * COUNT, 256, 0, 0),
    "flip": ([Draw(flip=True)] * COUNT, 256, 0, 0),
    "area": ([Draw()] * COUNT, 224, 0.01, 1),
    "area over many pixels": ([Draw()] * COUNT, 96, 0.01, 1),
    "cubic": ([Draw()] * COUNT, 300, 0.01, 1),
    "linear": ([Draw(resize=PAIRS[2])] * COUNT, 224, 0.3, 1),
    "linear enlarged": ([Draw(resize=PAIRS[1])] * COUNT, 300, 0.3, 1),
    "affine": (affines("zero"), 256, 0.3, 8),
    "affine, mirrored": (affines("reflect"), 256, 0.3, 8),
    "affine and resize": (affines("reflect", PAIRS[2]), 224, 0.3, 8),
    "blur": (BLURS, 256, 0.3, 1),
    "light": (LIGHTS, 256, 0.02, 1),
    "pca": (PCAS, 256, 0.02, 1),
    "hsv": (HSVS, 256, 0.5, 12),
}


@DEVICES
@pytest.mark.parametrize("case", CASES)
def test_every_change_is_the_cpus(case: str, device: str) -> None:
    draws, size, mean, most = CASES[case]
    means, largest = apart(faces(), draws, size, device)
    assert means.max() <= mean
    assert largest <= most


def pillow(image: Pixels, quality: int) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=quality, subsampling=2)
    return np.asarray(Image.open(file))


@DEVICES
@pytest.mark.parametrize("side", [256, 250, 233])
@pytest.mark.parametrize(("quality", "most"), [(10, 64), (40, 40), (75, 25), (95, 10), (100, 6)])
def test_jpeg_is_libjpegs(quality: int, most: float, side: int, device: str) -> None:
    images = faces(side)
    draws = [Draw(jpeg=quality)] * COUNT
    found = apply_batch(torch.from_numpy(images).to(device), draws, side).cpu().numpy().astype(np.float64)
    expected = np.stack([pillow(image, quality) for image in images])
    difference, loss = np.abs(found - expected), np.abs(images - found)
    assert difference.mean() < min(0.6, loss.mean() / 4)
    assert difference.max() <= most


@DEVICES
@pytest.mark.parametrize("quality", [40, 75, 95, 98])
def test_jpeg_is_near_that_of_the_cpus_less_exact_encoder(quality: int, device: str) -> None:
    means, _ = apart(faces(), [Draw(jpeg=quality)] * COUNT, 256, device)
    assert means.mean() < 1.4


def test_quantisation_is_what_libjpeg_writes() -> None:
    zigzag = sorted(np.ndindex(8, 8), key=lambda p: (sum(p), p[0] if sum(p) % 2 else p[1]))
    for quality in range(1, 101):
        data = simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8), quality=quality)
        start = data.index(b"\xff\xdb")
        for table in quantisation(quality):
            assert list(data[start + 5 : start + 69]) == [int(table[place]) for place in zigzag]
            start += 69


def test_every_image_of_a_mixed_batch_is_what_it_is_alone() -> None:
    ranges = [load_preset(method, "paper").augment for method in ("lnclip", "sd2")]
    draws = [draw(ranges[k % 2], sample_generator(0, 0, 0, str(k))) for k in range(24)]
    images = torch.from_numpy(np.concatenate([faces()] * 4))
    before = images.clone()
    together = apply_batch(images, draws, 224)
    assert torch.equal(images, before), "the input is not changed"
    for k, change in enumerate(draws):
        alone = apply_batch(images[k : k + 1], [change], 224)[0]
        assert (alone.int() - together[k].int()).abs().float().mean() < 0.05


def test_autocast_changes_nothing() -> None:
    ranges = load_preset("sd2", "paper").augment
    draws = [draw(ranges, sample_generator(0, 0, 0, str(k))) for k in range(COUNT)]
    images = torch.from_numpy(faces())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = apply_batch(images, draws, 224)
    assert torch.equal(inside, apply_batch(images, draws, 224))


@pytest.mark.skipif(not PORTRAITS.is_dir(), reason="no ../shared/data/portraits beside the repository")
@pytest.mark.parametrize("method", ["lnclip", "sd2"])
def test_whole_drawings_of_real_portraits_are_the_cpus(method: str) -> None:
    files = sorted(PORTRAITS.glob("*.jpg"))[:24]
    images = np.stack([scaled(load_image(file)[40:340, 10:310], 256) for file in files])
    ranges = load_preset(method, "paper").augment
    means, _ = apart(images, [draw(ranges, sample_generator(0, 0, 0, str(k))) for k in range(24)], 224)
    assert means.mean() < 0.7
    assert means.max() < 1
