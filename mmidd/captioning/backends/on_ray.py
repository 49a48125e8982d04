"""Captioning actors on a Ray cluster, one per GPU; one that dies is started again with its batch."""

from __future__ import annotations

from typing import Any

from mmidd.captioning.backends.base import Answer, Request
from mmidd.captioning.catalogue import Checkpoint
from mmidd.engine.cluster import connect, import_ray, one_line
from mmidd.errors import MmiddError, UsageError

RESTARTS = 20
"""Deaths of one actor after which its batch fails."""


class Worker:
    """A model in an actor's process."""

    def __init__(self, checkpoint: Checkpoint, transformers: bool) -> None:
        from mmidd.captioning.backends.local import TransformersModel, VllmModel

        self._model = TransformersModel(checkpoint) if transformers else VllmModel(checkpoint)

    def revision(self) -> str | None:
        """Of the model."""
        return self._model.revision

    def answer(self, requests: list[Request]) -> list[Answer]:
        """The answers, in the order of the requests."""
        return self._model.answer(requests)


class RayModel:
    """An actor as a `BatchModel`."""

    def __init__(self, actor: Any, revision: str | None) -> None:
        self._actor = actor
        self.revision = revision

    def answer(self, requests: list[Request]) -> list[Answer]:
        """The answers of the actor; Ray starts it again if it dies meanwhile.

        Raises:
            MmiddError: the actor cannot be kept alive.
        """
        if not requests:
            return []
        ray = import_ray()
        try:
            return list(ray.get(self._actor.answer.remote(requests)))
        except ray.exceptions.RayActorError as error:
            raise MmiddError(
                "a captioning actor died again and again; see `ray logs`, then run the same command"
            ) from error


def start_actors(checkpoint: Checkpoint, *, transformers: bool) -> list[RayModel]:
    """One actor per GPU of the cluster that RAY_ADDRESS names, else of this machine; without GPUs per node.

    Raises:
        MissingExtra: Ray is not installed.
        UsageError: the cluster cannot be reached, or the model cannot be loaded there.
    """
    ray = connect()
    gpus = int(ray.cluster_resources().get("GPU", 0))
    count = gpus or sum(node["Alive"] for node in ray.nodes())
    options: dict[str, Any] = {
        "max_restarts": RESTARTS,
        "max_task_retries": RESTARTS,
        "scheduling_strategy": "SPREAD",
    }
    remote = ray.remote(num_gpus=1 if gpus else 0, num_cpus=1, **options)(Worker)
    actors = [remote.remote(checkpoint, transformers) for _ in range(count)]
    try:
        revisions = ray.get([actor.revision.remote() for actor in actors])
    except ray.exceptions.RayError as error:
        raise UsageError(f"{checkpoint.id} cannot be loaded on the cluster ({one_line(error)})") from error
    return [RayModel(actor, revision) for actor, revision in zip(actors, revisions, strict=True)]
