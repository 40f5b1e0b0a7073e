"""The simulated engine: OpenAI's and vLLM's HTTP face, in a process of its own, without a model.

It starts like an engine (first no port, then /health answers 503, then 200), has slots, speaks at a given rate, and
can be told to fail. What it says is made of words of its own; it is here to be waited for, streamed from and killed.

Faults: `--fault NAME` or a file given with --fault-file, which holds NAMEs and is read again at every start and
request, or the header X-Sim-Fault for one request. slow-start (startup takes 10 times as long), crash-while-loading,
crash-mid-stream, error-500, hang.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import os
import struct
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

FAULTS = ("slow-start", "crash-while-loading", "crash-mid-stream", "error-500", "hang")
_SPEECH = (
    "Nobody asked for a while, so the accelerator was off and cost nothing. You asked, a replica came up, "
    "and these words are streamed to you as it makes them. When it gets quiet again it will go back to zero."
)
_WORDS = _SPEECH.split()
_EMBEDDING_SIZE = 64

M = TypeVar("M", Gauge, Histogram, Counter)


@dataclass(frozen=True, slots=True)
class EngineConfig:
    model: str
    host: str
    port: int
    start_seconds: float
    load_seconds: float
    tokens_per_second: float
    slots: int
    faults: frozenset[str] = frozenset()
    fault_file: Path | None = None
    cached_prompts: int = 64
    prefill_seconds: float = 0.0

    def active_faults(self) -> frozenset[str]:
        """The faults of now: those given at the start and those in the file."""
        if self.fault_file is None or not self.fault_file.exists():
            return self.faults
        return self.faults | frozenset(self.fault_file.read_text().split())


class Engine:
    """The simulated engine's state and endpoints."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._loaded = False
        self._slots = asyncio.Semaphore(config.slots)
        self.registry = CollectorRegistry()
        model = config.model

        def metric(kind: type[M], name: str, text: str) -> M:
            return kind(name, text, ("model_name",), registry=self.registry).labels(model)

        # vLLM's names: https://docs.vllm.ai/en/stable/usage/metrics/
        self._running = metric(Gauge, "vllm:num_requests_running", "Requests being answered")
        self._waiting = metric(Gauge, "vllm:num_requests_waiting", "Requests waiting for a slot")
        self._kv_cache = metric(Gauge, "vllm:kv_cache_usage_perc", "Share of the KV cache in use")
        self._ttft = metric(Histogram, "vllm:time_to_first_token_seconds", "Time to the first token")
        self._tokens = metric(Counter, "vllm:generation_tokens", "Tokens generated")
        self._prefix_queries = metric(Counter, "vllm:prefix_cache_queries", "Prompt tokens looked up")
        self._prefix_hits = metric(Counter, "vllm:prefix_cache_hits", "Prompt tokens found in the prefix cache")
        self._prompts: OrderedDict[str, int] = OrderedDict()

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/health", self._health),
                Route("/metrics", self._metrics),
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/completions", self._completions, methods=["POST"]),
                Route("/v1/embeddings", self._embeddings, methods=["POST"]),
            ]
        )

    async def load(self) -> None:
        """Pretend to load weights, saying how far it is."""
        faults = self._config.active_faults()
        seconds = self._config.load_seconds * (10 if "slow-start" in faults else 1)
        for tenth in range(1, 11):
            await asyncio.sleep(seconds / 10)  # the loading that is simulated
            print(f"loading weights {tenth * 10}%", flush=True)
            if tenth == 5 and "crash-while-loading" in faults:
                print("crash while loading, as told", flush=True)
                os._exit(1)
        self._loaded = True

    async def _health(self, request: Request) -> Response:
        return Response(status_code=200 if self._loaded else 503)

    async def _metrics(self, request: Request) -> Response:
        return Response(generate_latest(self.registry), media_type="text/plain; version=0.0.4")

    async def _models(self, request: Request) -> Response:
        model = {"id": self._config.model, "object": "model", "created": int(time.time()), "owned_by": "hearth-sim"}
        return JSONResponse({"object": "list", "data": [model]})

    async def _chat(self, request: Request) -> Response:
        return await self._generate(request, chat=True)

    async def _completions(self, request: Request) -> Response:
        return await self._generate(request, chat=False)

    async def _generate(self, request: Request, *, chat: bool) -> Response:
        body, failure = await self._accept(request)
        if failure is not None:
            return failure
        prompt = body.get("messages") if chat else body.get("prompt")
        if not prompt:
            return _error(400, f"{'messages' if chat else 'prompt'}: required, and not given")
        count = int(body.get("max_completion_tokens") or body.get("max_tokens") or 32)
        prompt_tokens = len(json.dumps(prompt).split())
        await self._prefill(prompt, prompt_tokens)
        faults = self._faults(request)
        answer = _Answer(chat, self._config.model, prompt_tokens, count)
        if body.get("stream"):
            usage = bool((body.get("stream_options") or {}).get("include_usage"))
            return StreamingResponse(self._stream(answer, faults, usage), media_type="text/event-stream")
        words = [word async for word in self._speak(count, faults)]
        return JSONResponse(answer.whole("".join(words)))

    async def _prefill(self, prompt: Any, tokens: int) -> None:
        """What the prefix cache knows of the prompt costs nothing; it knows the latest ones, by their beginning."""
        beginning = json.dumps(prompt[:2]) if isinstance(prompt, list) else str(prompt)
        hits = min(self._prompts.pop(beginning, 0), tokens)
        self._prompts[beginning] = tokens
        if len(self._prompts) > self._config.cached_prompts:
            self._prompts.popitem(last=False)
        self._prefix_queries.inc(tokens)
        self._prefix_hits.inc(hits)
        await asyncio.sleep(self._config.prefill_seconds * (tokens - hits) / tokens)  # the prefill that is simulated

    async def _stream(self, answer: "_Answer", faults: frozenset[str], usage: bool) -> AsyncIterator[bytes]:
        async for word in self._speak(answer.count, faults):
            yield _event(answer.chunk(word, None))
        yield _event(answer.chunk("", "stop" if answer.count < len(_WORDS) else "length"))
        if usage:
            yield _event({**answer.envelope("chunk"), "choices": [], "usage": answer.usage()})
        yield b"data: [DONE]\n\n"

    async def _speak(self, count: int, faults: frozenset[str]) -> AsyncIterator[str]:
        """`count` words at the configured rate, in a slot of its own."""
        asked = time.monotonic()
        self._waiting.inc()
        async with self._slots:
            self._waiting.dec()
            self._running.inc()
            self._kv_cache.set(1 - self._slots._value / self._config.slots)
            try:
                for number in range(count):
                    await asyncio.sleep(1 / self._config.tokens_per_second)  # the generation that is simulated
                    if number == 0:
                        self._ttft.observe(time.monotonic() - asked)
                    if number == count // 2 and "crash-mid-stream" in faults:
                        print("crash in the middle of a stream, as told", flush=True)
                        os._exit(1)
                    self._tokens.inc()
                    yield _WORDS[number % len(_WORDS)] + " "
            finally:
                self._running.dec()
                self._kv_cache.set(max(0.0, 1 - (self._slots._value + 1) / self._config.slots))

    async def _embeddings(self, request: Request) -> Response:
        body, failure = await self._accept(request)
        if failure is not None:
            return failure
        given = body.get("input")
        texts = given if isinstance(given, list) else [given]
        if not texts or texts == [None]:
            return _error(400, "input: required, and not given")
        data = []
        for index, text in enumerate(texts):
            vector = _embedding(str(text))
            encoded: object = vector
            if body.get("encoding_format") == "base64":  # what the OpenAI SDKs ask for
                encoded = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
            data.append({"object": "embedding", "index": index, "embedding": encoded})
        tokens = sum(len(str(text).split()) for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "data": data, "model": self._config.model, "usage": usage})

    async def _accept(self, request: Request) -> tuple[dict[str, Any], Response | None]:
        faults = self._faults(request)
        if "hang" in faults:
            await asyncio.Event().wait()
        if "error-500" in faults:
            return {}, _error(500, "internal error, as told", "internal_server_error")
        if not self._loaded:
            return {}, _error(503, "the model is loading", "service_unavailable")
        try:
            body = await request.json()
        except ValueError:
            return {}, _error(400, "the body is not JSON")
        if not isinstance(body, dict):
            return {}, _error(400, "the body is not a JSON object")
        model = body.get("model")
        if model != self._config.model:
            return {}, _error(404, f"The model {model!r} does not exist.", "NotFoundError")
        return body, None

    def _faults(self, request: Request) -> frozenset[str]:
        return self._config.active_faults() | frozenset(request.headers.get("x-sim-fault", "").split())


@dataclass(frozen=True, slots=True)
class _Answer:
    """The envelopes of one answer, as OpenAI's API has them."""

    chat: bool
    model: str
    prompt_tokens: int
    count: int

    def envelope(self, kind: str) -> dict[str, Any]:
        prefix = "chatcmpl" if self.chat else "cmpl"
        name = f"chat.completion{'.chunk' if kind == 'chunk' else ''}" if self.chat else "text_completion"
        return {"id": f"{prefix}-sim", "object": name, "created": int(time.time()), "model": self.model}

    def usage(self) -> dict[str, int]:
        total = self.prompt_tokens + self.count
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.count, "total_tokens": total}

    def chunk(self, text: str, finish: str | None) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
        if self.chat:
            choice["delta"] = {"role": "assistant", "content": text} if text else {}
        else:
            choice["text"] = text
        return {**self.envelope("chunk"), "choices": [choice]}

    def whole(self, text: str) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        if self.chat:
            choice["message"] = {"role": "assistant", "content": text}
        else:
            choice["text"] = text
        envelope = {**self.envelope("whole"), "id": f"{'chatcmpl' if self.chat else 'cmpl'}-{uuid.uuid4().hex}"}
        return {**envelope, "choices": [choice], "usage": self.usage()}


def _embedding(text: str) -> list[float]:
    """A vector of unit length that depends on the text alone."""
    digest = hashlib.shake_256(text.encode()).digest(_EMBEDDING_SIZE)
    vector = [byte - 127.5 for byte in digest]
    length = sum(value * value for value in vector) ** 0.5
    return [value / length for value in vector]


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def _error(status: int, message: str, kind: str = "BadRequestError") -> Response:
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": status}}, status)


async def _serve(config: EngineConfig) -> None:
    await asyncio.sleep(config.start_seconds)  # the start of the process that is simulated: no port yet
    engine = Engine(config)
    settings = uvicorn.Config(
        engine.app(), host=config.host, port=config.port, log_level="warning", timeout_keep_alive=75
    )
    async with asyncio.TaskGroup() as group:
        loading = group.create_task(engine.load())
        await uvicorn.Server(settings).serve()
        loading.cancel()


def main() -> None:
    """Run one simulated engine until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m hearth.emulators.engine", description=__doc__)
    parser.add_argument("--model", required=True, help="the name it is served under")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=int(os.environ.get("HEARTH_ENGINE_PORT", "8000")))
    parser.add_argument("--start-seconds", type=float, default=1.0, help="until it listens on its port")
    parser.add_argument("--load-seconds", type=float, default=5.0, help="from then until it is ready")
    parser.add_argument("--tokens-per-second", type=float, default=50.0)
    parser.add_argument("--slots", type=int, default=16, help="requests answered at a time")
    parser.add_argument(
        "--cached-prompts", type=int, default=64, help="prompts whose beginning stays in the prefix cache"
    )
    parser.add_argument(
        "--prefill-seconds", type=float, default=0.0, help="before the first token of an unknown prompt"
    )
    parser.add_argument("--fault", action="append", default=[], choices=FAULTS)
    parser.add_argument("--fault-file", type=Path)
    given = parser.parse_args()
    config = EngineConfig(
        given.model,
        given.host,
        given.port,
        given.start_seconds,
        given.load_seconds,
        given.tokens_per_second,
        given.slots,
        frozenset(given.fault),
        given.fault_file,
        given.cached_prompts,
        given.prefill_seconds,
    )
    asyncio.run(_serve(config))


if __name__ == "__main__":
    main()
