"""Run by the engine's own Python: captions by vLLM in one process. Prints the answers as JSON."""

from __future__ import annotations

import json
import sys
from io import BytesIO

import numpy as np
from PIL import Image

from mmidd.captioning.backends.base import Request, Sampling
from mmidd.captioning.backends.local import VllmModel
from mmidd.captioning.catalogue import resolve


def picture(seed: int) -> bytes:
    """A JPEG of coloured noise."""
    out = BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (224, 224, 3), np.uint8)
    Image.fromarray(pixels).save(out, "JPEG")
    return out.getvalue()


def main(folder: str) -> None:
    """Caption four pictures with different draws."""
    model = VllmModel(resolve(folder), memory=0.2, context=2048)
    answers = model.answer([Request(picture(seed), Sampling(0.7, seed)) for seed in range(4)])
    rows = [vars(answer) for answer in answers]
    sys.stdout.write("\nANSWERS " + json.dumps({"revision": model.revision, "answers": rows}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
