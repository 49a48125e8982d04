"""Short names of vision-language models, and the checkpoints that they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mmidd.errors import UsageError


class Engine(StrEnum):
    """What runs the model where no server is named; by `ray` as vLLM or `transformers` on every GPU."""

    VLLM = "vllm"
    TRANSFORMERS = "transformers"
    RAY = "ray"
    RAY_TRANSFORMERS = "ray-transformers"


@dataclass(frozen=True)
class Checkpoint:
    """A model to caption with.

    Attributes:
        name: what the user called it; names the folder of its captions.
        id: id on the Hugging Face hub, or a local path.
        trust_remote_code: its code comes with the checkpoint instead of with `transformers`.
    """

    name: str
    id: str
    trust_remote_code: bool = False


_QWEN = {
    "qwen2-vl": ("Qwen/Qwen2-VL-{}-Instruct", ("7B", "2B", "72B")),
    "qwen2.5-vl": ("Qwen/Qwen2.5-VL-{}-Instruct", ("7B", "3B", "32B", "72B")),
    "qwen3-vl": ("Qwen/Qwen3-VL-{}-Instruct", ("8B", "2B", "4B", "32B")),
}
_INTERN = {
    "internvl2.5": ("OpenGVLab/InternVL2_5-{}", ("8B", "1B", "2B", "4B", "26B", "38B", "78B")),
}


def _known() -> dict[str, Checkpoint]:
    """Every family alone (its first size) and with each size, such as `qwen2-vl-2b`."""
    found = {}
    for families, remote in ((_QWEN, False), (_INTERN, True)):
        for family, (pattern, sizes) in families.items():
            names = {family: sizes[0], **{f"{family}-{size.lower()}": size for size in sizes}}
            for name, size in names.items():
                found[name] = Checkpoint(name, pattern.format(size), remote)
    return found


KNOWN = _known()
"""Checkpoints by short name; ids as their authors publish them."""


def resolve(name: str) -> Checkpoint:
    """The checkpoint of a short name, a hub id `owner/name` or a local folder.

    Raises:
        UsageError: it is none of them.
    """
    if name.lower() in KNOWN:
        return KNOWN[name.lower()]
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UsageError(f"{path} holds no config.json; give the folder of a checkpoint")
        return Checkpoint(path.resolve().name, str(path))
    owner, _, model = name.partition("/")
    if owner and model and not name.startswith((".", "/", "~")) and "/" not in model:
        return Checkpoint(model, name)
    families = ", ".join((*_QWEN, *_INTERN))
    raise UsageError(
        f"--vlm {name}: no such model; give `measured`, one of {families} (also with a size, as in "
        "qwen2-vl-2b), a hub id such as Qwen/Qwen2-VL-2B-Instruct, or a local folder"
    )
