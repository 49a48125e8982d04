"""Captions per second of the engines in this process, and what 3.6 million images take.

    python benchmarks/captioning_gpu.py --shape 2b --engine vllm --engine transformers --out FILE.json
    python benchmarks/captioning_gpu.py --shape tiny --engine transformers --images 8    # on a processor

The weights are random in the shape of Qwen2-VL-2B or -7B (or those of --checkpoint): the words are noise,
the work is that of the real model. vLLM's answers are guided by the schema as in `mmidd caption`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mmidd.captioning.backends.base import BatchModel, Request, Sampling
from mmidd.captioning.backends.local import TransformersModel, VllmModel
from mmidd.captioning.catalogue import Checkpoint, resolve
from tests.vllm.tiny_qwen2vl import QWEN2_VL_2B, QWEN2_VL_7B, TINY, write_checkpoint

SHAPES = {"tiny": TINY, "2b": QWEN2_VL_2B, "7b": QWEN2_VL_7B}
ALL = 3_600_000


def pictures(count: int) -> list[Request]:
    """Different crops of 256 pixels."""
    rng = np.random.default_rng(0)
    requests = []
    for seed in range(count):
        out = BytesIO()
        small = Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8))
        small.resize((256, 256)).save(out, "JPEG", quality=95)
        requests.append(Request(out.getvalue(), Sampling(0.7, seed % 7)))
    return requests


def measure(model: BatchModel, requests: list[Request], batch: int) -> dict[str, float]:
    """One warm batch, then all: per second, and the hours that 3.6 million take."""
    model.answer(requests[:batch])
    started = time.perf_counter()
    answers = [a for k in range(0, len(requests), batch) for a in model.answer(requests[k : k + batch])]
    seconds = time.perf_counter() - started
    return {
        "images_per_s": len(answers) / seconds,
        "prompt_tokens_per_s": sum(a.prompt_tokens or 0 for a in answers) / seconds,
        "completion_tokens_per_s": sum(a.completion_tokens or 0 for a in answers) / seconds,
        "tokens_per_caption": sum(a.completion_tokens or 0 for a in answers) / len(answers),
        "gpu_hours_for_3.6_million": ALL * seconds / len(answers) / 3600,
    }


def main() -> None:
    """Measure every engine asked for and write the figures."""
    parser = argparse.ArgumentParser(description="Captions per second on this machine.")
    parser.add_argument("--shape", choices=SHAPES, default="2b")
    parser.add_argument("--checkpoint", help="hub id or folder, instead of random weights")
    parser.add_argument("--engine", choices=("vllm", "transformers"), action="append", required=True)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    result: dict[str, Any] = {
        "device": device,
        "shape": given.checkpoint or given.shape,
        "batch": given.batch,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = given.checkpoint or str(write_checkpoint(Path(folder, "random"), shape=SHAPES[given.shape]))
        requests = pictures(given.images)
        for engine in given.engine:
            checkpoint: Checkpoint = resolve(path)
            model = VllmModel(checkpoint) if engine == "vllm" else TransformersModel(checkpoint)
            result[engine] = measure(model, requests, given.batch)
            del model
    text = json.dumps(result, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
