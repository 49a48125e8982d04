"""Captions by a model in this process: vLLM's offline engine, or `transformers`."""

from __future__ import annotations

import base64
import hashlib
import time
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from mmidd.captioning.backends.base import Answer, Request, Sampling
from mmidd.captioning.catalogue import Checkpoint
from mmidd.captioning.prompt import INSTRUCTION, MAX_TOKENS, messages, schema
from mmidd.errors import MissingExtra, UsageError


def revision(checkpoint: Checkpoint) -> str | None:
    """What was loaded: the hub's commit, or a hash of a local folder's names, sizes and configuration."""
    folder = Path(checkpoint.id)
    if folder.is_dir():
        digest = hashlib.sha256((folder / "config.json").read_bytes())
        for path in sorted(p for p in folder.iterdir() if p.is_file()):
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        return f"local-{digest.hexdigest()[:12]}"
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(checkpoint.id, "config.json")
    return Path(cached).parent.name if isinstance(cached, str) else None


class VllmModel:
    """vLLM in this process: continuous batching, cached prefixes, decoding guided by the schema.

    Args:
        checkpoint: the model.
        memory: share of the GPU's memory that it may take, 0 to 1.
        context: longest sequence in tokens.

    Raises:
        MissingExtra: vLLM is not installed.
        UsageError: there is no GPU, or the model cannot be loaded.
    """

    def __init__(self, checkpoint: Checkpoint, memory: float = 0.9, context: int = 4096) -> None:
        try:
            from vllm import LLM
        except ImportError as error:
            raise MissingExtra(
                f"captioning with {checkpoint.name} needs vLLM; run `pip install 'mmidd[vllm]'`, or name a "
                "server with --endpoint URL, or give --engine transformers"
            ) from error
        try:
            self._engine: Any = LLM(
                checkpoint.id,
                trust_remote_code=checkpoint.trust_remote_code,
                max_model_len=context,
                gpu_memory_utilization=memory,
                enable_prefix_caching=True,
                limit_mm_per_prompt={"image": 1},
                structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise UsageError(_cannot_load(checkpoint, error)) from error
        self.revision = revision(checkpoint)

    def answer(self, requests: list[Request]) -> list[Answer]:
        """The answers, in the order of the requests."""
        if not requests:
            return []
        started = time.monotonic()
        chats = [messages(_data_url(request.image)) for request in requests]
        parameters = [self._parameters(request.sampling) for request in requests]
        outputs = self._engine.chat(chats, parameters, use_tqdm=False)
        share = (time.monotonic() - started) / len(requests)
        return [
            Answer(
                output.outputs[0].text,
                output.outputs[0].finish_reason,
                len(output.prompt_token_ids),
                len(output.outputs[0].token_ids),
                share,
            )
            for output in outputs
        ]

    def _parameters(self, sampling: Sampling) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        return SamplingParams(
            max_tokens=MAX_TOKENS,
            temperature=sampling.temperature,
            seed=sampling.seed,
            structured_outputs=StructuredOutputsParams(json=schema()),
        )


class TransformersModel:
    """`transformers` in this process, for one small GPU or the processor; decoding is not guided.

    Args:
        checkpoint: the model.

    Raises:
        UsageError: the model cannot be loaded.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        load: Any = AutoProcessor.from_pretrained
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if self._device == "cuda" else torch.float32
        remote = {"trust_remote_code": checkpoint.trust_remote_code}
        try:
            self._processor: Any = load(checkpoint.id, **remote)
            model: Any = AutoModelForImageTextToText.from_pretrained(checkpoint.id, dtype=dtype, **remote)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise UsageError(_cannot_load(checkpoint, error)) from error
        self._model = model.to(self._device).eval()
        self._processor.tokenizer.padding_side = "left"
        chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": INSTRUCTION}]}]
        self._prompt = self._processor.apply_chat_template(chat, add_generation_prompt=True)
        self.revision = revision(checkpoint)

    def answer(self, requests: list[Request]) -> list[Answer]:
        """The answers, in the order of the requests; those of equal sampling are generated together."""
        answers: dict[int, Answer] = {}
        for sampling in dict.fromkeys(request.sampling for request in requests):
            chosen = [k for k, request in enumerate(requests) if request.sampling == sampling]
            answers |= zip(chosen, self._generate([requests[k].image for k in chosen], sampling), strict=True)
        return [answers[k] for k in range(len(requests))]

    def _generate(self, files: list[bytes], sampling: Sampling) -> list[Answer]:
        import torch

        started = time.monotonic()
        given = self._processor(
            text=[self._prompt] * len(files),
            images=[Image.open(BytesIO(file)).convert("RGB") for file in files],
            padding=True,
            return_tensors="pt",
        ).to(self._device)
        torch.manual_seed(sampling.seed)
        drawn: dict[str, Any] = {"do_sample": False}
        if sampling.temperature > 0:
            drawn = {"do_sample": True, "temperature": sampling.temperature}
        with torch.inference_mode():
            tokens = self._model.generate(**given, max_new_tokens=MAX_TOKENS, **drawn)
        written = tokens[:, given["input_ids"].shape[1] :]
        share = (time.monotonic() - started) / len(files)
        prompts = given["attention_mask"].sum(1).tolist()
        return [self._read(row, int(count), share) for row, count in zip(written, prompts, strict=True)]

    def _read(self, tokens: Any, prompt_tokens: int, seconds: float) -> Answer:
        tokenizer = self._processor.tokenizer
        ends = {tokenizer.eos_token_id, tokenizer.pad_token_id}
        count = next((k for k, token in enumerate(tokens.tolist()) if token in ends), len(tokens))
        finish = "length" if count == len(tokens) and count >= MAX_TOKENS else "stop"
        text = tokenizer.decode(tokens[:count], skip_special_tokens=True)
        return Answer(text, finish, prompt_tokens, count, seconds)


def _data_url(image: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"


def _cannot_load(checkpoint: Checkpoint, error: Exception) -> str:
    reason = str(error).strip().splitlines()[-1][:200] if str(error).strip() else type(error).__name__
    return f"{checkpoint.id} cannot be loaded ({reason}); check the name, the memory and the GPU"
