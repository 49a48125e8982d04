"""Captions from any server with OpenAI's chat interface, such as `vllm serve`."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

import aiohttp

from mmidd.captioning.backends.base import Answer, Request, ServerLost
from mmidd.captioning.backends.pressure import Pressure
from mmidd.captioning.prompt import MAX_TOKENS, messages, schema
from mmidd.errors import DataError, UsageError

_BUSY = frozenset({429, 503, 529})
_TRANSIENT = _BUSY | {408, 425, 500, 502, 504}
_MIME = {b"\x89PNG": b"image/png", b"RIFF": b"image/webp"}
_LONGEST_WAIT = 30.0
_IMAGE = "@image@"
_PROBE = aiohttp.ClientTimeout(total=10.0)


@dataclass(frozen=True)
class EndpointOptions:
    """How a server is spoken to.

    Attributes:
        url: base address, such as http://127.0.0.1:8000/v1.
        key: bearer token, None for none.
        concurrency: requests under way at most; fewer while the server says that it is busy.
        retries: further tries of a request that the server could not serve.
        patience: seconds without any answer after which the server counts as lost.
        time_limit: seconds per request.
    """

    url: str
    key: str | None = None
    concurrency: int = 64
    retries: int = 6
    patience: float = 120.0
    time_limit: float = 300.0


class Endpoint:
    """A connection to a server; use it as an asynchronous context manager.

    Args:
        options: how to speak to it.
        model: name of the model at the server.
    """

    def __init__(self, options: EndpointOptions, model: str) -> None:
        self._options = options
        self._pressure = Pressure(options.concurrency)
        self._silent_since: float | None = None
        self._before, self._after = _fixed_parts(model)

    async def __aenter__(self) -> Endpoint:
        self._session = open_session(self._options)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def answer(self, request: Request) -> Answer:
        """The model's answer to one request.

        A failed connection counts as a try only if the server still answers something: else it is the
        server that is gone, and everybody waits for it.

        Raises:
            DataError: `refused` or `context_overflow`, or `server_error` after all tries.
            ServerLost: no answer from the server for as long as `patience`.
            UsageError: the server does not accept the key, the model or images.
        """
        body = self.body(request)
        failure, tries = "no answer", 0
        while tries <= self._options.retries:
            async with self._pressure:
                started = time.monotonic()
                try:
                    status, headers, content = await self._post(body)
                except (aiohttp.ClientError, TimeoutError) as error:
                    failure, headers = _short(error), {}
                    tries += await self._is_alive(failure)
                else:
                    self._silent_since = None
                    if status == 200:
                        self._pressure.relax()
                        return read_response(content, time.monotonic() - started)
                    failure = f"{status} {_message(content)}"
                    if status not in _TRANSIENT:
                        raise refusal(status, _message(content), self._options.url)
                    if status in _BUSY:
                        self._pressure.back_off()
                    tries += 1
            await asyncio.sleep(_wait(tries, headers))
        raise DataError("server_error", failure)

    async def _post(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        async with self._session.post(
            f"{self._options.url.rstrip('/')}/chat/completions",
            data=body,
            headers={"Content-Type": "application/json"},
        ) as response:
            return response.status, response.headers, await response.read()

    def body(self, request: Request) -> bytes:
        """The request as JSON; all but the image and the sampling is put together once."""
        mime = _MIME.get(request.image[:4], b"image/jpeg")
        drawn = f'{{"temperature": {request.sampling.temperature}, "seed": {request.sampling.seed}, '
        image = (b"data:", mime, b";base64,", base64.b64encode(request.image))
        return b"".join((drawn.encode(), self._before, *image, self._after))

    async def _is_alive(self, failure: str) -> bool:
        """Whether the server answers anything; it may not for as long as `patience`."""
        try:
            async with self._session.get(
                f"{self._options.url.rstrip('/')}/models", timeout=_PROBE
            ) as response:
                await response.read()
        except (aiohttp.ClientError, TimeoutError):
            now = time.monotonic()
            self._silent_since = self._silent_since or now
            if now - self._silent_since > self._options.patience:
                raise ServerLost(
                    f"{self._options.url} has not answered for {self._options.patience:g} s ({failure}); "
                    "start the server again and run the same command: every caption that arrived is kept"
                ) from None
            return False
        self._silent_since = None
        return True


def _fixed_parts(model: str) -> tuple[bytes, bytes]:
    """What stands before and after the image in every request."""
    answer = {"name": "caption", "schema": schema(), "strict": True}
    body = {
        "model": model,
        "messages": messages(_IMAGE),
        "max_tokens": MAX_TOKENS,
        "response_format": {"type": "json_schema", "json_schema": answer},
    }
    before, _, after = json.dumps(body)[1:].partition(_IMAGE)
    return before.encode(), after.encode()


def open_session(options: EndpointOptions) -> aiohttp.ClientSession:
    """A session with the key and the time limit."""
    headers = {"Authorization": f"Bearer {options.key}"} if options.key else {}
    return aiohttp.ClientSession(
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=options.time_limit, sock_connect=10.0),
        connector=aiohttp.TCPConnector(limit=options.concurrency),
    )


def read_response(content: bytes, seconds: float) -> Answer:
    """The answer in the body of a chat completion.

    Raises:
        DataError: `malformed_response`.
    """
    try:
        body = json.loads(content)
        choice, usage = body["choices"][0], body.get("usage") or {}
        text = choice["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        raise DataError("malformed_response", content[:80].decode(errors="replace")) from error
    return Answer(
        text or "",
        choice.get("finish_reason"),
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
        seconds,
    )


def refusal(status: int, message: str, url: str) -> DataError | UsageError:
    """What a refusal means: for this request alone, or for every one."""
    if status in (401, 403):
        return UsageError(f"{url} does not accept the key ({status}); set MMIDD_API_KEY")
    if status == 404:
        return UsageError(f"{url} has no such model or address ({message}); it should end with /v1")
    if "context" in message.lower() and "length" in message.lower():
        return DataError("context_overflow", message)
    return DataError("refused", f"{status} {message}")


def _message(content: bytes) -> str:
    """The server's own words, in one short line."""
    text = content.decode(errors="replace")
    try:
        body = json.loads(text)
        text = (body.get("error") or {}).get("message") or body.get("message") or body.get("detail") or text
    except (ValueError, AttributeError):
        pass
    return " ".join(str(text).split())[:200]


def _wait(attempt: int, headers: Mapping[str, str]) -> float:
    """Seconds before the next try: what the server asks for, else exponential with full jitter."""
    asked = headers.get("Retry-After", "")
    if asked.replace(".", "", 1).isdigit():
        return min(float(asked), _LONGEST_WAIT) * random.uniform(1.0, 1.2)
    return random.uniform(0.05, min(_LONGEST_WAIT, 0.5 * 2**attempt))


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")[:160]
