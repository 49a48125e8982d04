"""The real engine on the tiny checkpoint: it sees pictures, counts tokens and obeys a JSON schema."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmidd.captioning.description import Description
from tests.vllm.server import EXECUTABLE, Server, serving
from tests.vllm.tiny_qwen2vl import MERGE, PATCH, write_checkpoint

pytestmark = pytest.mark.skipif(
    not os.environ.get(EXECUTABLE), reason="needs the engine that `make test-vllm` installs"
)

CELL = PATCH * MERGE


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "qwen2-vl")


@pytest.fixture(scope="module")
def server(checkpoint: Path) -> Iterator[Server]:
    with serving(checkpoint) as running:
        yield running


def picture(side: int, seed: int = 0) -> dict[str, Any]:
    """A picture of coloured noise as a part of a chat message."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": url}}


def ask(server: Server, *parts: dict[str, Any], **options: Any) -> dict[str, Any]:
    content = [*parts, {"type": "text", "text": "Describe the face and the scene."}]
    body = {"model": server.model, "messages": [{"role": "user", "content": content}], **options}
    request = urllib.request.Request(
        f"{server.url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=240) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def scores(answer: dict[str, Any]) -> list[float]:
    return [token["logprob"] for token in answer["choices"][0]["logprobs"]["content"]]


def test_usage_counts_the_cells_of_the_picture(server: Server) -> None:
    plain, small, large = (
        ask(server, *parts, max_tokens=7, ignore_eos=True)["usage"]
        for parts in ((), (picture(2 * CELL),), (picture(5 * CELL),))
    )
    marks = 2  # the start and the end of the picture
    assert small["prompt_tokens"] == plain["prompt_tokens"] + 4 + marks
    assert large["prompt_tokens"] == plain["prompt_tokens"] + 25 + marks
    assert {usage["completion_tokens"] for usage in (plain, small, large)} == {7}


def test_the_answer_depends_on_what_the_picture_shows(server: Server) -> None:
    options = {"max_tokens": 1, "temperature": 0, "logprobs": True}
    first, again, other = (scores(ask(server, picture(4 * CELL, seed), **options)) for seed in (1, 1, 2))
    assert again == pytest.approx(first, abs=1e-3)
    assert other != pytest.approx(first, abs=1e-2)


@pytest.mark.parametrize("seed", range(4))
def test_the_answer_obeys_the_schema_of_a_description(server: Server, seed: int) -> None:
    schema = {"name": "description", "schema": Description.model_json_schema(), "strict": True}
    answer = ask(
        server,
        picture(8 * CELL, seed),
        max_tokens=1500,
        temperature=1,
        seed=seed,
        response_format={"type": "json_schema", "json_schema": schema},
    )
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "stop"
    Description.model_validate_json(choice["message"]["content"])


def test_without_a_schema_the_noise_is_no_description(server: Server) -> None:
    answer = ask(server, picture(4 * CELL), max_tokens=50, seed=0)
    with pytest.raises(ValueError, match="Invalid JSON"):
        Description.model_validate_json(answer["choices"][0]["message"]["content"])


def members(group: int) -> set[int]:
    """The processes of a process group that have not ended."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, leader = entry.read_text().rsplit(")", 1)[1].split()[:3]
            if int(leader) == group and state != "Z":
                found.add(int(entry.parent.name))
    return found


def test_a_killed_engine_leaves_nothing_behind_and_its_port_free(checkpoint: Path) -> None:
    with serving(checkpoint) as engine:
        group = engine.process.pid
        assert len(members(group)) > 1
        engine.kill()
        while members(group):
            time.sleep(0.1)
        with pytest.raises(urllib.error.URLError):
            ask(engine)
        with socket.create_server(("127.0.0.1", engine.port)):
            pass
