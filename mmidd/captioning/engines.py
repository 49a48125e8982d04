"""What runs a vision-language model: a server, vLLM or `transformers` in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mmidd.captioning.answers import AnswerLog
from mmidd.captioning.backends.endpoint import EndpointOptions
from mmidd.captioning.catalogue import Engine
from mmidd.captioning.run import Captions, batch_pool, endpoint_pool
from mmidd.engine.units import Pool


@dataclass(frozen=True)
class Ready:
    """An engine that is ready to caption.

    Attributes:
        pool: makes the pool that runs the units.
        revision: of the model, None where a server does not tell.
        about: one line for people.
    """

    pool: Callable[[], Pool]
    revision: str | None
    about: str


def start(
    captions: Captions, log: AnswerLog, engine: Engine, endpoint: EndpointOptions | None, batch: int
) -> Ready:
    """Connect to the server, or load the model.

    Raises:
        UsageError: that cannot be done; says why.
        MissingExtra: the engine is not installed.
    """
    checkpoint = captions.checkpoint
    if endpoint is not None:
        from mmidd.captioning.backends.preflight import connect

        model = connect(endpoint, checkpoint)
        about = f"{model} at {endpoint.url}, up to {endpoint.concurrency} requests at a time"
        return Ready(endpoint_pool(captions, log, endpoint, model), None, about)
    if engine in (Engine.RAY, Engine.RAY_TRANSFORMERS):
        from mmidd.captioning.backends.on_ray import start_actors

        actors = start_actors(checkpoint, transformers=engine is Engine.RAY_TRANSFORMERS)
        about = (
            f"{checkpoint.id} ({actors[0].revision}) by {len(actors)} Ray actors, {batch} samples at a time"
        )
        return Ready(batch_pool(captions, log, actors, batch), actors[0].revision, about)
    from mmidd.captioning.backends.local import TransformersModel, VllmModel

    local = VllmModel(checkpoint) if engine is Engine.VLLM else TransformersModel(checkpoint)
    about = f"{checkpoint.id} ({local.revision}) by {engine.value}, {batch} samples at a time"
    return Ready(batch_pool(captions, log, [local], batch), local.revision, about)
