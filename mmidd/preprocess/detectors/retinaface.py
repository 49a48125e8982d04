"""RetinaFace with a MobileNet-0.25 backbone (Deng et al. 2020), in the layout of its public weights.

Two public files share their names and shapes but were trained with another activation and other
prior boxes; nothing in the file tells which. Packages that know one of them load the other without
complaint and return wrong boxes. So the weights are recognised by their SHA-256.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmidd.errors import UsageError
from mmidd.files import sha256_of
from mmidd.models import find_model
from mmidd.preprocess.detectors.base import Face, Floats, Pixels
from mmidd.preprocess.detectors.dense import Candidates, cells, channels_first, search

SURE = 0.6
"""Probability from which a candidate is a face."""

MEAN_BGR = np.array([104, 117, 123], np.float32)
STRIDES = (8, 16, 32)
CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
PRIORS_PER_CELL = 2
WIDTH = 64


@dataclass(frozen=True)
class Variant:
    """What a weight file was trained with and does not tell.

    Attributes:
        slope: of the leaky ReLU below zero.
        sides: side of the prior boxes in pixels, per stride.
    """

    slope: float
    sides: tuple[tuple[int, int], ...]


VARIANTS = {
    "ed6fa7d45a5179f03cb5ce82c73b0c6711372968e53782e88395acee88d319e1": Variant(
        0.0, ((10, 20), (32, 64), (128, 256))
    ),
    "2979b33ffafda5d74b6948cd7a5b9a7a62f62b949cef24e95fd15d2883a65220": Variant(
        0.1, ((16, 32), (64, 128), (256, 512))
    ),
}
"""By SHA-256: of Face-Detector-1MB-with-landmark and of Pytorch_Retinaface, both by biubug6."""


class RetinaFace:
    """RetinaFace with the weights `retinaface` of the registry, on the processor; five points.

    Raises:
        UsageError: the weights are missing, or none of those known here.
    """

    name = "retinaface"

    def __init__(self) -> None:
        model = find_model(self.name)
        self.version = f"torch-{torch.__version__.partition('+')[0]}+{model.digest}"
        path = model.path()
        assert path is not None
        self._variant = _variant(path)
        self._network = load_network(path, self._variant.slope)

    def detect(self, image: Pixels, previous: Sequence[Face] = ()) -> list[Face]:
        """All faces found, largest first; `previous` is not needed."""
        return search(image, self._run)

    def _run(self, image: Pixels) -> Candidates:
        blob = channels_first(image[:, :, ::-1] - MEAN_BGR)
        with torch.inference_mode():
            scores, boxes, points = (out[0].numpy() for out in self._network(torch.from_numpy(blob)))
        priors = prior_boxes(image.shape[0], image.shape[1], self._variant.sides)
        sure = scores >= SURE
        found, marks = decode(boxes[sure], points[sure], priors[sure])
        return found, scores[sure], marks


def prior_boxes(height: int, width: int, sides: Sequence[Sequence[int]]) -> Floats:
    """Centre x, centre y and side of every prior box in pixels, float32 (n, 3), as the heads order them."""
    levels = []
    for stride, pair in zip(STRIDES, sides, strict=True):
        centres = (cells(height, width, stride) + 0.5) * stride
        repeated = np.repeat(centres, len(pair), axis=0)
        levels.append(np.column_stack([repeated, np.tile(pair, len(centres))]))
    return np.concatenate(levels).astype(np.float32)


def decode(boxes: Floats, points: Floats, priors: Floats) -> tuple[Floats, Floats]:
    """Boxes (n, 4) and points (n, 5, 2) in pixels from the heads' output and their prior boxes."""
    centres, sides = priors[:, :2], priors[:, 2:]
    middle = centres + boxes[:, :2] * CENTRE_VARIANCE * sides
    half = sides * np.exp(boxes[:, 2:] * SIZE_VARIANCE) / 2
    marks = centres[:, None] + points.reshape(-1, 5, 2) * CENTRE_VARIANCE * sides[:, None]
    return np.concatenate([middle - half, middle + half], axis=1), marks


def load_network(path: Path, slope: float) -> Network:
    """The network with the weights of a file, every tensor of it used and none missing.

    Raises:
        UsageError: the file is not the state of this network.
    """
    network = Network(slope)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
    except (RuntimeError, pickle.UnpicklingError, EOFError, AttributeError) as error:
        raise UsageError(
            f"{path} does not hold a RetinaFace with MobileNet-0.25; run `mmidd models fetch retinaface`"
        ) from error
    return network.eval()


def _variant(path: Path) -> Variant:
    sha = sha256_of(path)
    if sha not in VARIANTS:
        raise UsageError(
            f"the prior boxes of {path} (sha256 {sha[:12]}) are not known; known are "
            f"{', '.join(known[:12] for known in VARIANTS)}; run `mmidd models fetch retinaface`"
        )
    return VARIANTS[sha]


class Network(nn.Module):
    """Backbone, feature pyramid, context modules and heads; submodules are named as in the weights."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope
        self.body = nn.ModuleDict(
            {
                "stage1": self._stage((8, 16, 32, 32, 64, 64), (1, 2, 1, 2, 1), first=True),
                "stage2": self._stage((64, *[128] * 6), (2, 1, 1, 1, 1, 1)),
                "stage3": self._stage((128, 256, 256), (2, 1)),
            }
        )
        self.fpn = nn.ModuleDict(
            {f"output{n}": self._convolution(width, WIDTH, 1) for n, width in ((1, 64), (2, 128), (3, 256))}
            | {f"merge{n}": self._convolution(WIDTH, WIDTH) for n in (1, 2)}
        )
        self.ssh1, self.ssh2, self.ssh3 = (self._context() for _ in STRIDES)
        self.ClassHead, self.BboxHead, self.LandmarkHead = (
            nn.ModuleList(
                nn.Sequential(OrderedDict(conv1x1=nn.Conv2d(WIDTH, PRIORS_PER_CELL * size, 1)))
                for _ in STRIDES
            )
            for size in (2, 4, 10)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Probability (b, n), box (b, n, 4) and points (b, n, 10) of every prior box."""
        features = self._pyramid(images)
        scores, boxes, points = (
            torch.cat(
                [
                    head(feature).permute(0, 2, 3, 1).reshape(len(images), -1, size)
                    for head, feature in zip(heads, features, strict=True)
                ],
                dim=1,
            )
            for heads, size in ((self.ClassHead, 2), (self.BboxHead, 4), (self.LandmarkHead, 10))
        )
        return scores.softmax(-1)[..., 1], boxes, points

    def _pyramid(self, images: Tensor) -> list[Tensor]:
        fine = self.body["stage1"](images)
        middle = self.body["stage2"](fine)
        coarse = self.fpn["output3"](self.body["stage3"](middle))
        middle = self._merged("2", middle, coarse)
        fine = self._merged("1", fine, middle)
        contexts = ((self.ssh1, fine), (self.ssh2, middle), (self.ssh3, coarse))
        return [_in_context(module, feature) for module, feature in contexts]

    def _merged(self, level: str, feature: Tensor, coarser: Tensor) -> Tensor:
        own = self.fpn[f"output{level}"](feature)
        merged: Tensor = self.fpn[f"merge{level}"](own + F.interpolate(coarser, size=own.shape[2:]))
        return merged

    def _stage(self, widths: Sequence[int], strides: Sequence[int], *, first: bool = False) -> nn.Sequential:
        """Depthwise separable blocks from width to width, after a plain convolution in the first stage."""
        blocks = [self._convolution(3, widths[0], stride=2)] if first else []
        for before, after, stride in zip(widths, widths[1:], strides, strict=False):
            depthwise = self._convolution(before, before, stride=stride, groups=before)
            blocks.append(nn.Sequential(*depthwise, *self._convolution(before, after, 1)))
        return nn.Sequential(*blocks)

    def _context(self) -> nn.ModuleDict:
        """SSH: views of 3, 5 and 7 pixels, side by side."""
        half, quarter = WIDTH // 2, WIDTH // 4
        return nn.ModuleDict(
            {
                "conv3X3": self._convolution(WIDTH, half)[:2],
                "conv5X5_1": self._convolution(WIDTH, quarter),
                "conv5X5_2": self._convolution(quarter, quarter)[:2],
                "conv7X7_2": self._convolution(quarter, quarter),
                "conv7x7_3": self._convolution(quarter, quarter)[:2],
            }
        )

    def _convolution(
        self, before: int, after: int, size: int = 3, stride: int = 1, groups: int = 1
    ) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(before, after, size, stride, size // 2, groups=groups, bias=False),
            nn.BatchNorm2d(after),
            nn.LeakyReLU(self.slope, inplace=True),
        )


def _in_context(module: nn.ModuleDict, feature: Tensor) -> Tensor:
    shared = module["conv5X5_1"](feature)
    wide = module["conv7x7_3"](module["conv7X7_2"](shared))
    return F.relu(torch.cat([module["conv3X3"](feature), module["conv5X5_2"](shared), wide], dim=1))
