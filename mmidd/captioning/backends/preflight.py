"""Before captions are asked of a server: what it serves, and whether it sees."""

from __future__ import annotations

import asyncio
import json
from io import BytesIO
from typing import Any

import aiohttp
from PIL import Image

from mmidd.captioning.backends.base import Request, Sampling
from mmidd.captioning.backends.endpoint import Endpoint, EndpointOptions, open_session
from mmidd.captioning.catalogue import KNOWN, Checkpoint
from mmidd.errors import DataError, UsageError


def connect(options: EndpointOptions, checkpoint: Checkpoint) -> str:
    """The name under which a server serves the model, after it has described a small picture.

    Raises:
        UsageError: nothing answers there, it serves another model, or the model takes no images.
    """
    return asyncio.run(_connect(options, checkpoint))


async def _connect(options: EndpointOptions, checkpoint: Checkpoint) -> str:
    served = await _served(options)
    model = _chosen(served, checkpoint, options.url)
    async with Endpoint(options, model) as endpoint:
        try:
            await endpoint.answer(Request(_picture(), Sampling()))
        except DataError as error:
            raise UsageError(
                f"{options.url} cannot describe a test picture with {model} ({error}); serve a "
                "vision-language model with a context of at least 4096 tokens"
            ) from error
    return model


async def _served(options: EndpointOptions) -> list[str]:
    url = f"{options.url.rstrip('/')}/models"
    try:
        async with open_session(options) as session, session.get(url) as response:
            body: Any = json.loads(await response.read())
            if response.status in (401, 403):
                raise UsageError(f"{options.url} does not accept the key; set MMIDD_API_KEY")
            return [str(model["id"]) for model in body["data"]]
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError) as error:
        raise UsageError(
            f"no model server answers at {options.url} ({type(error).__name__}); start one, for example "
            "`vllm serve Qwen/Qwen2-VL-7B-Instruct`, and give --endpoint http://HOST:8000/v1"
        ) from error


def _chosen(served: list[str], checkpoint: Checkpoint, url: str) -> str:
    """The served model that was asked for; of a family, any of its sizes."""
    family = {known.id for name, known in KNOWN.items() if name.startswith(f"{checkpoint.name}-")}
    for name in (checkpoint.id, checkpoint.name, *sorted(family)):
        if name in served:
            return name
    raise UsageError(
        f"{url} serves {', '.join(served) or 'nothing'}, not {checkpoint.id}; give --vlm one of those"
    )


def _picture() -> bytes:
    out = BytesIO()
    Image.new("RGB", (64, 64), (120, 90, 60)).save(out, "JPEG")
    return out.getvalue()
