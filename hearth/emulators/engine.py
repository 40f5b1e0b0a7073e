"""The simulated engine: vLLM 0.32's HTTP face, in a process of its own, without a model.

It starts like vLLM (its port is taken at once and opens when the model is loaded), has slots, speaks at a given rate,
ends as vLLM does at SIGTERM, and can be told to fail (engine_faults.py). What it says is words of its own; it is here
to be waited for, streamed from and killed. What stands behind `--` is the command of the engine that it stands for.
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from hearth.emulators.engine_answers import plain, prompt_of, request_id, stream, whole
from hearth.emulators.engine_command import told_by
from hearth.emulators.engine_completions import Completion, embeddings
from hearth.emulators.engine_core import MODEL_LEN, EngineConfig, EngineCore, EngineDead, Prompt
from hearth.emulators.engine_faults import FAULTS, POISON, fault_protocol
from hearth.emulators.engine_llamacpp import LoadingGate, figures, metrics
from hearth.emulators.engine_messages import AnthropicMessage
from hearth.emulators.engine_options import prompts, rate, seconds, slots
from hearth.emulators.engine_requests import (
    ChatRequest,
    CompletionRequest,
    CountTokensRequest,
    DetokenizeRequest,
    EmbeddingRequest,
    MessagesRequest,
    Refused,
    ResponsesRequest,
    TokenizeRequest,
    accept,
    choices,
    dead,
    not_unicode,
    openai_error,
    room,
)
from hearth.emulators.engine_responses import ModelResponse
from hearth.emulators.engine_speech import detokenize, speech, tokenize
from hearth.operations import EmbeddedServer

VERSION = "0.32.0"

Endpoint = Callable[[Request], Awaitable[Response]]


class Engine:
    """The endpoints over a core."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.core = EngineCore(config)
        self.listens = asyncio.Event()
        self._llamacpp = figures(self.core)

    @property
    def registry(self) -> CollectorRegistry:
        return self.core.metrics.registry

    def app(self) -> ASGIApp:
        get: dict[str, Endpoint] = {
            "/health": self._health,
            "/ping": self._health,
            "/metrics": self._metrics,
            "/version": self._version,
            "/v1/models": self._models,
        }
        post: dict[str, Endpoint] = {
            "/v1/chat/completions": self._chat,
            "/v1/completions": self._completions,
            "/v1/embeddings": self._embeddings,
            "/v1/responses": self._responses,
            "/v1/messages": self._messages,
            "/v1/messages/count_tokens": self._count_tokens,
            "/tokenize": self._tokenize,
            "/detokenize": self._detokenize,
        }
        routes = [Route(path, endpoint, methods=["GET"]) for path, endpoint in get.items()]
        for route in routes:
            assert route.methods is not None
            route.methods.discard("HEAD")  # FastAPI answers HEAD with 405
        routes += [Route(path, endpoint, methods=["POST"]) for path, endpoint in post.items()]
        handlers = {Refused: openai_error, EngineDead: _died, UnicodeEncodeError: not_unicode, HTTPException: _detail}
        app = Starlette(routes=routes, exception_handlers=handlers)
        return LoadingGate(app, self.core) if self.config.family == "llamacpp" else app

    async def load(self) -> None:
        """Pretend to load weights, saying how far it is; `listens` when the port is to open."""
        faults = self.config.active_faults()
        seconds = self.config.load_seconds * (10 if "slow-start" in faults else 1)
        if self.config.family == "llamacpp" and "refuse" not in faults:
            self.listens.set()
        for tenth in range(1, 11):
            await asyncio.sleep(seconds / 10)  # the loading that is simulated
            print(f"loading weights {tenth * 10}%", flush=True)
            if tenth == 5 and "crash-while-loading" in faults:
                print("crash while loading, as told", flush=True)
                os._exit(1)
        self.core.loaded.set()
        if "refuse" in faults:
            print("loaded and never listening, as told", flush=True)
        else:
            self.listens.set()

    async def _health(self, request: Request) -> Response:
        return Response(status_code=503 if self.core.dead.is_set() else 200)

    async def _metrics(self, request: Request) -> Response:
        if self.config.family == "llamacpp":
            return metrics(self._llamacpp, self.config.has_metrics, request)
        return Response(generate_latest(self.registry), media_type="text/plain; version=0.0.4")

    async def _version(self, request: Request) -> Response:
        return JSONResponse({"version": VERSION})

    async def _models(self, request: Request) -> Response:
        card = {"object": "model", "created": int(time.time()), "owned_by": "vllm", "root": self.config.model}
        card |= {"parent": None, "max_model_len": self.config.max_model_len, "permission": []}
        names = (self.config.model, *self.config.aliases)
        return JSONResponse({"object": "list", "data": [{"id": name, **card} for name in names]})

    async def _chat(self, request: Request) -> Response:
        faults = await self._faults(request)
        asked = await accept(request, ChatRequest, self.config.names)
        prompt = prompt_of(plain(asked.messages[:2]), plain(asked.messages))
        speeches = [speech(self._room(prompt, asked.limit), asked.stops)] * choices(asked.n)
        name = request_id(request, "chatcmpl")
        return await self._complete(request, asked, Completion.begun(name, True, self._model, prompt, speeches), faults)

    async def _completions(self, request: Request) -> Response:
        faults = await self._faults(request)
        asked = await accept(request, CompletionRequest, self.config.names)
        prompt = prompt_of(asked.prompts[0], "".join(asked.prompts))
        spoken = speech(self._room(prompt, asked.max_tokens), asked.stops)
        speeches = [spoken] * (choices(asked.n) * len(asked.prompts))
        name = request_id(request, "cmpl")
        return await self._complete(
            request, asked, Completion.begun(name, False, self._model, prompt, speeches), faults
        )

    async def _complete(
        self, request: Request, asked: ChatRequest | CompletionRequest, made: Completion, faults: frozenset[str]
    ) -> Response:
        if asked.stream:
            return stream(made.events(self.core, faults, usage=asked.include_usage))
        return await whole(request, made.whole(self.core, faults))

    async def _responses(self, request: Request) -> Response:
        faults = await self._faults(request)
        asked = await accept(request, ResponsesRequest, self.config.names)
        given = [{"role": "user", "content": asked.input}] if isinstance(asked.input, str) else asked.input
        prompt = prompt_of(plain(given[:2]), plain(given))
        made = ModelResponse(asked, self._model, prompt, speech(self._room(prompt, asked.max_output_tokens)))
        if asked.stream:
            return stream(made.events(self.core, faults))
        return await whole(request, made.whole(self.core, faults))

    async def _messages(self, request: Request) -> Response:
        faults = await self._faults(request)
        try:
            asked = await accept(request, MessagesRequest, self.config.names)
            prompt = prompt_of(*(plain(part, asked.system) for part in (asked.messages[:2], asked.messages)))
            spoken = speech(self._room(prompt, asked.max_tokens), asked.stop_sequences or ())
            made = AnthropicMessage(request_id(request, "chatcmpl"), self._model, prompt, spoken)
            if asked.stream:
                return stream(made.events(self.core, faults))
            return await whole(request, made.whole(self.core, faults))
        except Refused as refused:
            return _anthropic(refused)

    async def _count_tokens(self, request: Request) -> Response:
        try:
            asked = await accept(request, CountTokensRequest, self.config.names)
        except Refused as refused:
            return _anthropic(refused)
        return JSONResponse({"input_tokens": len(tokenize(plain(asked.messages, asked.system)))})

    async def _embeddings(self, request: Request) -> Response:
        await self._faults(request)
        asked = await accept(request, EmbeddingRequest, self.config.names)
        return JSONResponse(embeddings(asked, request_id(request, "embd"), self._model))

    async def _tokenize(self, request: Request) -> Response:
        asked = await accept(request, TokenizeRequest, self.config.names)
        text = asked.prompt if asked.prompt is not None else plain(asked.messages or [])
        tokens = tokenize(text)
        strings = [detokenize([token]) for token in tokens] if asked.return_token_strs else None
        body = {"count": len(tokens), "max_model_len": self.config.max_model_len, "tokens": tokens}
        return JSONResponse({**body, "token_strs": strings})

    async def _detokenize(self, request: Request) -> Response:
        asked = await accept(request, DetokenizeRequest, self.config.names)
        return JSONResponse({"prompt": detokenize(asked.tokens)})

    @property
    def _model(self) -> str:
        return self.config.model

    def _room(self, prompt: Prompt, limit: int | None) -> int | None:
        return room(prompt.tokens, limit, self.config.max_model_len)

    async def _faults(self, request: Request) -> frozenset[str]:
        """The faults of a request that has arrived whole; those that are no answer happen here."""
        faults = self.config.active_faults() | frozenset(request.headers.get("x-sim-fault", "").split())
        body = await request.body()
        if "crash-on-request" in faults or ("crash-on-prompt" in faults and POISON.encode() in body):
            print("crash on a request, as told", flush=True)
            os._exit(1)
        if "hang" in faults:
            await asyncio.Event().wait()
        if "error-500" in faults:
            raise Refused(500, "InternalServerError", "Internal server error, as told")
        if self.core.dead.is_set():
            raise EngineDead
        return faults


def _anthropic(refused: Refused) -> Response:
    """Errors of a body that does not validate come from before Anthropic's routes, in OpenAI's shape."""
    return JSONResponse(refused.body if refused.kind == "Bad Request" else refused.anthropic_body, refused.status)


def _died(request: Request, error: Exception) -> Response:
    refused = dead(error)
    return JSONResponse(refused.body, refused.status)


def _detail(request: Request, error: Exception) -> Response:
    """FastAPI's own words for a path or a method that there is not."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


def _taken(config: EngineConfig) -> socket.socket:
    """Its address, bound and not listening: taken for others, and refused to who connects. vLLM does so, too."""
    address = config.host or "0.0.0.0"
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, config.port))
    return made


async def _start(engine: Engine) -> None:
    await asyncio.sleep(engine.config.start_seconds)  # the start of the process that is simulated
    await engine.load()


async def serve(config: EngineConfig) -> None:
    """Run until SIGTERM: before the model is loaded it ends the process, after that what is being answered, too."""
    loop = asyncio.get_running_loop()
    terminated = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, terminated.set)
    with _taken(config) as listening:
        engine = Engine(config)
        async with asyncio.TaskGroup() as group:  # a start that fails ends the process
            starting = group.create_task(_start(engine))
            opening = group.create_task(engine.listens.wait())
            stopping = group.create_task(terminated.wait())
            await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                await _answer(engine, listening, stopping)
            for task in (starting, opening, stopping):
                task.cancel()


async def _answer(engine: Engine, listening: socket.socket, stopping: "asyncio.Task[bool]") -> None:
    """Serve until SIGTERM, and end as vLLM does: the core first, then the connections."""
    own = "{}:{}".format(*listening.getsockname()[:2])
    settings = uvicorn.Config(
        engine.app(),
        http=fault_protocol(engine.config.active_faults, own),
        log_level="warning",
        lifespan="off",
        timeout_keep_alive=5,  # VLLM_HTTP_TIMEOUT_KEEP_ALIVE
    )
    server = EmbeddedServer(settings)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        await engine.core.drain(engine.config.shutdown_seconds)
    server.should_exit = True
    await serving


def config_of(arguments: Sequence[str]) -> EngineConfig:
    """The configuration that a command line asks for; an option of our own goes before what stands behind `--`."""
    own, engine = list(arguments), []
    if "--" in own:
        at = own.index("--")
        own, engine = own[:at], own[at + 1 :]
    told = told_by(engine) if engine else None
    parser = argparse.ArgumentParser(prog="python -m hearth.emulators.engine", description=__doc__)
    parser.add_argument("--model", help="the name it is served under, where the engine's own command gives none")
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int)
    parser.add_argument("--pod-address", help="the address that stands for all of them, where the command means all")
    parser.add_argument("--start-seconds", type=seconds, default=1.0, help="until it begins to load")
    parser.add_argument("--load-seconds", type=seconds, default=5.0, help="from then until its port opens")
    parser.add_argument("--tokens-per-second", type=rate, default=50.0, help="of each choice")
    parser.add_argument("--slots", type=slots, default=16, help="choices generated at a time")
    parser.add_argument("--cached-prompts", type=prompts, default=64, help="beginnings of prompts in the prefix cache")
    parser.add_argument("--prefill-seconds", type=seconds, default=0.0, help="before an unknown prompt's first token")
    parser.add_argument("--shutdown-seconds", type=seconds, help="for what is answered at SIGTERM: --shutdown-timeout")
    parser.add_argument("--fault", action="append", default=[], choices=FAULTS)
    parser.add_argument("--fault-file", type=Path)
    given = parser.parse_args(own)
    names = (told.names if told else ()) or ((given.model,) if given.model else ())
    if not names:
        parser.error("--model: found none, and no command of an engine that names one")
    host = given.host or (told.host if told else "127.0.0.1")
    if host in ("", "0.0.0.0", "::") and given.pod_address:
        host = given.pod_address
    port = int(os.environ.get("HEARTH_ENGINE_PORT", "8000")) if told is None else told.port
    return EngineConfig(
        model=names[0],
        host=host,
        port=port if given.port is None else given.port,
        start_seconds=given.start_seconds,
        load_seconds=given.load_seconds,
        tokens_per_second=given.tokens_per_second,
        slots=given.slots,
        faults=frozenset(given.fault),
        fault_file=given.fault_file,
        cached_prompts=given.cached_prompts,
        prefill_seconds=given.prefill_seconds,
        shutdown_seconds=(
            given.shutdown_seconds if given.shutdown_seconds is not None else told.shutdown_seconds if told else 0.0
        ),
        max_model_len=told.max_model_len if told else MODEL_LEN,
        aliases=names[1:],
        family=told.family if told else "vllm",
        has_metrics=told.has_metrics if told else True,
    )


def main() -> None:
    """Run one simulated engine until it is told to stop."""
    asyncio.run(serve(config_of(sys.argv[1:])))


if __name__ == "__main__":
    main()
