"""Initial weights of an encoder: from a seed, a file or a library, and one line where they cannot be had."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mmidd.errors import UsageError

RANDOM, PRETRAINED = "random", "pretrained"
"""In place of a tag: none, and a model's default."""

_SUFFIXES = {".safetensors", ".pt", ".pth", ".bin"}
_GEND = ("feature_extractor.vision_model.", "feature_extractor.backbone.")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """CPU randomness that depends on the seed alone and leaves no trace outside."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def obtainable(what: str, advice: str) -> Iterator[None]:
    """Turns what libraries raise and log about weights that cannot be had into one line.

    Args:
        what: is loaded.
        advice: what to pass instead.

    Raises:
        UsageError: in place of the library's error.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    except UsageError:
        raise
    except (RuntimeError, OSError, ValueError, KeyError, SafetensorError, UnpicklingError) as error:
        raise UsageError(f"cannot load {what} ({_line(error)}); {advice}") from error
    finally:
        logging.disable(disabled)


def is_file(weights: str) -> bool:
    """Whether weights are named by a path rather than by a tag of a library."""
    return Path(weights).suffix in _SUFFIXES or Path(weights).is_file()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file or of a state dict that torch saved; no pickled code runs.

    Raises:
        UsageError: no such file, or it holds something else.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}; pass a checkpoint: --set backbone.weights=FILE")
    with obtainable(str(path), "pass a .safetensors file or a state dict of tensors"):
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
            raise ValueError("it is no state dict of tensors")
        return tensors


def read_encoder(path: Path) -> dict[str, Tensor]:
    """Like `read_tensors`; of a file in GenD's published layout, the encoder's."""
    tensors = read_tensors(path)
    inside = [(prefix, name) for name in tensors for prefix in _GEND if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors[name] for prefix, name in inside} or tensors


def put(module: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Load tensors whose names and shapes are exactly the module's.

    Raises:
        UsageError: they are not; names the first that differs.
    """
    own = module.state_dict()
    odd = sorted(own.keys() ^ tensors.keys())
    odd += [name for name in own if name in tensors and own[name].shape != tensors[name].shape]
    if odd:
        raise UsageError(
            f"{source} does not fit the encoder ({odd[0]} and {len(odd) - 1} more differ in name or shape); "
            "pass the weights of this very encoder, or change backbone"
        )
    module.load_state_dict(dict(tensors))


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like a name."""
    return max(known, key=lambda one: difflib.SequenceMatcher(None, name, one).ratio())


def _line(error: Exception) -> str:
    """The first sentence."""
    return (str(error).splitlines() or [type(error).__name__])[0].partition(". ")[0][:160]
