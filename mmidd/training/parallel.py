"""Devices: how a run is spread over them, and what is done to its transformer blocks for that."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils.checkpoint import checkpoint

from mmidd.errors import UsageError
from mmidd.training.config import TrainConfig
from mmidd.training.tasks.base import Task


def open_fabric(config: TrainConfig) -> Fabric:
    """One device, or one for each process that `torchrun` started; these know each other afterwards."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    count, here = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if count == 1:
        return Fabric(accelerator="auto", devices=1, precision=config.precision)
    fabric = Fabric(
        accelerator="auto",
        devices=here,
        num_nodes=count // here,
        strategy="ddp",
        precision=config.precision,
    )
    fabric.launch()
    return fabric


def place(task: Task[Any], config: TrainConfig, fabric: Fabric) -> None:
    """Bring a task to the fabric's device, its blocks checkpointed, compiled and sharded as the settings say.

    Raises:
        UsageError: the settings need blocks that the encoder lacks, or batch statistics that CPU processes
            cannot share.
    """
    blocks = task.blocks()
    wanted = {
        "gradient_checkpointing": config.gradient_checkpointing,
        "compile": config.compile,
        "strategy=fsdp": config.strategy == "fsdp" and fabric.world_size > 1,
    }
    if not blocks and (named := [name for name, is_wanted in wanted.items() if is_wanted]):
        raise UsageError(f"{named[0]} works on transformer blocks, and this encoder has none; leave it out")
    if fabric.world_size > 1:
        _share_batch_statistics(task, config, fabric)
    task.to(fabric.device)
    for block in blocks:
        if config.gradient_checkpointing:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        if config.compile:
            block.compile()
    if wanted["strategy=fsdp"]:
        mesh = init_device_mesh(fabric.device.type, (fabric.world_size,))
        for block in blocks:
            fully_shard(block, mesh=mesh, reshard_after_forward=True)


def whole(tensor: Tensor) -> Tensor:
    """A tensor of which every rank may hold a share; all ranks must ask for it together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shared_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, shared among ranks as another of its shape is."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


def whole_state(optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimiser's state with whole tensors; all ranks must ask for it together."""
    state = optimiser.state_dict()
    tensors = {number: _mapped(values, whole) for number, values in state["state"].items()}
    return {**state, "state": tensors}


def load_whole_state(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Put back what `whole_state` gave, on any number of ranks."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    tensors = {
        number: _mapped(values, lambda tensor, like=parameters[number]: shared_like(tensor, like))
        for number, values in state["state"].items()
    }
    optimiser.load_state_dict({**state, "state": tensors})


def _mapped(values: Mapping[str, Any], change: Any) -> dict[str, Any]:
    return {name: change(value) if isinstance(value, Tensor) else value for name, value in values.items()}


def _share_batch_statistics(task: Task[Any], config: TrainConfig, fabric: Fabric) -> None:
    """Of the encoder, which sees a rank's own samples; what the losses run sees those of all ranks."""
    if not config.normalises_over_the_batch:
        return
    if fabric.device.type == "cpu":
        raise UsageError(
            "this encoder normalises over the batch, which CPU processes cannot share; run without torchrun"
        )
    nn.SyncBatchNorm.convert_sync_batchnorm(task)  # type: ignore[no-untyped-call]
