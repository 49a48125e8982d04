"""What the captioning client costs beside the server: concurrency 64, a server that answers at once.

    python benchmarks/captioning.py --out benchmarks/results/captioning.json

The server runs in a process of its own and sends the same good answer to every request. The client's
processor time per caption is what a server has to share the machine with, and its reciprocal is the
fastest server that one client keeps busy. A bare loop that only sends the same requests and reads the
answers is measured beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import cv2
import numpy as np

from mmidd.captioning.backends.base import Request, Sampling
from mmidd.captioning.backends.endpoint import Endpoint, EndpointOptions, open_session
from mmidd.captioning.catalogue import Checkpoint, Engine
from mmidd.captioning.clip_length import clip_length
from mmidd.captioning.engines import start
from mmidd.captioning.run import Captions
from mmidd.captioning.select import Choice, choose
from mmidd.engine import Blob, EngineOptions, Ledger, Row, run_stage
from mmidd.engine.progress import Silent
from mmidd.schema import SAMPLES
from mmidd.workspace import Workspace

MODEL = Checkpoint("qwen2-vl-2b", "Qwen/Qwen2-VL-2B-Instruct")
CONCURRENCY = 64
ANSWER = json.dumps(
    {
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
)


def serve(ports: Any) -> None:
    """Answer every request at once, until killed."""
    from aiohttp import web

    usage = {"prompt_tokens": 250, "completion_tokens": 150}
    choice = {"message": {"content": ANSWER}, "finish_reason": "stop"}
    body = json.dumps({"choices": [choice], "usage": usage}).encode()

    async def chat(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=body, content_type="application/json")

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": MODEL.id}]})

    async def main() -> None:
        app = web.Application(client_max_size=1 << 26)
        app.add_routes([web.post("/v1/chat/completions", chat), web.get("/v1/models", models)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ports.put(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


def build(root: Path, count: int) -> Workspace:
    """A workspace of face-sized JPEG images, about 12 kB each."""
    workspace = Workspace.open(root, create=True)
    workspace.pin({"frames": 1, "size": 256})
    rng = np.random.default_rng(0)
    ledger = Ledger(root / "samples/own", SAMPLES)
    with ledger.writing():
        units = []
        for k in range(count):
            noise = cv2.resize(rng.integers(0, 256, (48, 48, 3), np.uint8), (256, 256))
            blob = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
            columns = {
                "sample_id": f"{k:032x}",
                "source": "own",
                "label": "real",
                "type": "REAL",
                "split": "train",
            }
            units.append((str(k), 0, [Row(columns, blobs=(Blob(blob, "jpg"),))]))
        ledger.commit(units)
    return workspace


def client(workspace: Workspace, url: str, name: str) -> dict[str, float]:
    """Caption everything; wall and processor seconds."""
    captions = Captions(workspace, name, MODEL, Sampling())
    with captions.log() as log:
        ready = start(captions, log, Engine.VLLM, EndpointOptions(url, concurrency=CONCURRENCY), 1)
        rows = choose(workspace, Choice())
        wall, cpu = time.perf_counter(), time.process_time()
        units = captions.units(rows, ready.revision)
        summary = run_stage(captions.stage(ready.pool), captions.ledger(), units, EngineOptions(), Silent())
        log.clear()
    assert summary.samples == rows.height
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def bare(workspace: Workspace, url: str) -> dict[str, float]:
    """Send the same bodies and read the answers, nothing else."""
    options = EndpointOptions(url, concurrency=CONCURRENCY)
    read = workspace.samples().select("table", "pack", "offset", "length").collect()
    maker = Endpoint(options, MODEL.id)
    images = [workspace.read_blob(*row) for row in read.iter_rows()]
    bodies = iter([maker.body(Request(image, Sampling())) for image in images])

    async def worker(session: aiohttp.ClientSession) -> None:
        for body in bodies:
            async with session.post(f"{url}/chat/completions", data=body) as response:
                await response.read()

    async def main() -> None:
        async with open_session(options) as session:
            await asyncio.gather(*(worker(session) for _ in range(CONCURRENCY)))

    wall, cpu = time.perf_counter(), time.process_time()
    asyncio.run(main())
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def main() -> None:
    """Measure both in turn and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    clip_length("load the vocabulary")
    context = multiprocessing.get_context("spawn")
    ports = context.Queue()
    server = context.Process(target=serve, args=(ports,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ports.get()}/v1"
    with tempfile.TemporaryDirectory() as folder:
        workspace = build(Path(folder), given.samples)
        rounds = [(client(workspace, url, f"r{k}"), bare(workspace, url)) for k in range(given.rounds)]
    server.kill()
    result = {"samples": given.samples, "concurrency": CONCURRENCY, "cores": multiprocessing.cpu_count()}
    for k, name in enumerate(("client", "bare")):
        for what in ("wall", "cpu"):
            median = statistics.median(both[k][what] for both in rounds)
            result[f"{name}_{what}_ms_per_caption"] = round(1000 * median / given.samples, 3)
    result["python"] = platform.python_version()
    result["captions_per_s_at_5_percent"] = round(0.05 * 1000 / result["client_cpu_ms_per_caption"], 1)
    text = json.dumps(result, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
