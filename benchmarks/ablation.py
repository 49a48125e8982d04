"""SD2 and what it loses without each of its parts, LNCLIP's variants, and the baselines, on people they never saw.

    mmidd demo --portraits ../shared/data/portraits --clips 800 --seconds 0.6 --world-only --out w
    mmidd ingest ff++ w/raw/ff++ --frames 3 --size 128   # then ffhq, folder w/raw/folder, folder w/raw/folder-stills
    mmidd caption --vlm measured && mmidd shard --target-size 8
    python -m benchmarks.ablation mmidd-data --out benchmarks/results/ablation.json

Small networks at 64 px, equal steps for all but Xception, three seeds, two runs at a time with one thread each, by
the commands a user types. A run that is there is not trained again. `random`: all weights learn, from random ones.
`captions`: what the method tunes learns, from a small CLIP that was first trained on the training split's images and
captions alone, without a label. Then `python -m benchmarks.ablation_view` draws and writes the tables.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from scipy.stats import t

from benchmarks.runs import trained, validation, video_auc

SHAPE = (
    "{embed_dim: 128, stem: conv, "
    "vision: {image_size: 64, patch_size: 16, width: 128, layers: 2, head_width: 32}, "
    "text: {context_length: 48, width: 64, heads: 2, layers: 1}}"
)
SEEDS = (0, 1, 2)
STEPS = 1000
XCEPTION_STEPS = 200
SD2 = {
    "sd2": (),
    "sd2 without CLAM": ("clam=false",),
    "sd2 without separation": ("separation=0",),
    "sd2 without face contrast": ("contrast_face=0",),
    "sd2 without environment contrast": ("contrast_environment=0",),
    "sd2 without contrasts": ("contrast_face=0", "contrast_environment=0"),
}
LNCLIP = {
    f"lnclip-df{names}": ("variant=lnclip-df", *settings)
    for names, settings in {"": (), ", unpaired": ("sampling.pair=false",)}.items()
} | {
    f"gend{names}": ("variant=gend", *settings)
    for names, settings in {"": (), ", unpaired": ("sampling.pair=false",)}.items()
}
