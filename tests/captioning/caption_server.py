"""A server with OpenAI's chat interface that answers as a test tells it to."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

DESCRIPTION = {
    "face": {
        "age_range": "30s",
        "gender_presentation": "feminine",
        "expression": "smiling",
        "pose": "frontal",
        "hair": "short dark hair",
        "skin_tone": "light",
        "skin_texture": "smooth",
        "accessories": "none",
        "occlusion": "none",
    },
    "environment": {
        "scene": "indoors",
        "background": "a grey wall",
        "lighting": "soft",
        "colour": "grey",
        "image_quality": "sharp",
    },
    "face_sentence": "A smiling woman in her thirties with short dark hair looks straight at the camera.",
    "environment_sentence": "Behind her a plain grey wall is softly lit from above in a sharp picture.",
}
GOOD = json.dumps(DESCRIPTION)


def described(**changes: Any) -> str:
    """The good answer with other top-level values."""
    return json.dumps(DESCRIPTION | changes)


@dataclass
class CaptionServer:
    """What the server does, and what it saw.

    Attributes:
        reply: from (image hash, number of this image's request from 1) to the text of an answer, an HTTP
            status, a float of seconds to wait before a good answer, or None to cut the connection.
        gone: whether it cuts every connection.
        models: what it says it serves.
        asked: requests by image hash.
        most: requests that were under way at a time.
        bodies: of all requests.
    """

    reply: Callable[[str, int], str | int | float | None] = lambda image, number: GOOD
    gone: Callable[[], bool] = lambda: False
    models: tuple[str, ...] = ("Qwen/Qwen2-VL-2B-Instruct",)
    key: str | None = None
    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    most: int = 0
    _now: int = 0

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """One chat completion."""
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": {"message": "no"}}, status=401)
        body = await request.json()
        self.bodies.append(body)
        url = body["messages"][0]["content"][0]["image_url"]["url"]
        image = hashlib.sha256(base64.b64decode(url.partition(",")[2])).hexdigest()
        self.asked[image] += 1
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            return await self._answered(request, image)
        finally:
            self._now -= 1

    async def _answered(self, request: web.Request, image: str) -> web.StreamResponse:
        said = None if self.gone() else self.reply(image, self.asked[image])
        if said is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(said, float):
            await asyncio.sleep(said)
            said = GOOD
        if isinstance(said, int):
            headers = {"Retry-After": "0"} if said == 429 else {}
            message = {"error": {"message": f"status {said}"}}
            return web.json_response(message, status=said, headers=headers)
        if said.startswith("raw:"):
            return web.Response(text=said[4:])
        self.answered[image] += 1
        choice = {"message": {"content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 50}
        return web.json_response({"choices": [choice], "usage": usage})

    async def list_models(self, request: web.Request) -> web.Response:
        """The models."""
        if self.gone():
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"data": [{"id": name} for name in self.models]})


@contextmanager
def serving(server: CaptionServer, port: int = 0) -> Iterator[CaptionServer]:
    """The server on a loopback port, in a thread."""
    loop = asyncio.new_event_loop()
    app = web.Application(client_max_size=1 << 26)
    app.add_routes([web.post("/v1/chat/completions", server.chat), web.get("/v1/models", server.list_models)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        return int(runner.addresses[0][1])

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{asyncio.run_coroutine_threadsafe(start(), loop).result()}/v1"
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
