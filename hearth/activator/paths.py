"""Which paths of an engine a client may ask: those of inference, and nothing that manages an engine. Pure.

An engine has more: /sleep, /collective_rpc, /v1/load_lora_adapter, /metrics are for who runs it, not for who asks it.
https://platform.openai.com/docs/api-reference ; https://docs.anthropic.com/en/api ; vLLM's own: rerank, score,
classify, pooling, tokenize (https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html).
"""

import re
from difflib import get_close_matches
from typing import Final, Literal, NamedTuple

Dialect = Literal["openai", "responses", "anthropic"]
"""Whose errors and events; of OpenAI's APIs, that of responses has events of its own."""

POST: Final = ("POST",)
GET: Final = ("GET", "HEAD")


class Path(NamedTuple):
    """`document`: a whole successful answer is one JSON document, so that white space may come before it. `needs`: a
    body without any of these fields asks nothing; `form`: the body may be a form; `tokens`: a model reads or writes for
    it, so that it counts for a key's tokens a minute; `wakes`: a POST may wake a sleeping model; `streams`: its answer
    is an event stream where the body says `stream`, which elsewhere is a word like any other."""

    methods: tuple[str, ...] = POST
    document: bool = True
    needs: tuple[str, ...] = ()
    form: bool = False
    dialect: Dialect = "openai"
    tokens: bool = True
    wakes: bool = True
    streams: bool = False


_RERANK: Final = Path(needs=("query", "documents"))
_SCORE: Final = Path(needs=("text_1", "queries", "query", "data_1"))
_POOL: Final = Path(needs=("input", "messages"))
_AUDIO: Final = Path(document=False, form=True, needs=("file",), streams=True)
_IMAGE: Final = Path(document=False, form=True, needs=("image", "image[]"))
_LOOK: Final = Path(methods=GET, document=False, tokens=False)

PATHS: Final[dict[str, Path]] = {
    "/v1/chat/completions": Path(needs=("messages",), streams=True),
    "/v1/completions": Path(needs=("prompt", "prompt_embeds"), streams=True),
    "/v1/responses": Path(needs=("input", "prompt"), dialect="responses", streams=True),
    "/v1/responses/input_tokens": Path(needs=("input",), tokens=False),
    "/v1/responses/compact": Path(needs=("input",)),
    "/v1/embeddings": _POOL,
    "/v1/moderations": Path(needs=("input",)),
    "/v1/messages": Path(needs=("messages",), dialect="anthropic", streams=True),
    "/v1/messages/count_tokens": Path(needs=("messages",), dialect="anthropic", tokens=False),
    "/v1/audio/speech": Path(document=False, needs=("input",)),
    "/v1/audio/transcriptions": _AUDIO,
    "/v1/audio/translations": _AUDIO,
    "/v1/images/generations": Path(document=False, needs=("prompt",)),
    "/v1/images/edits": _IMAGE,
    "/v1/images/variations": _IMAGE,
    "/rerank": _RERANK,
    "/v1/rerank": _RERANK,
    "/v2/rerank": _RERANK,
    "/score": _SCORE,
    "/v1/score": _SCORE,
    "/classify": _POOL,
    "/v1/classify": _POOL,
    "/pooling": _POOL,
    "/v1/pooling": _POOL,
    "/tokenize": Path(needs=("prompt", "messages"), tokens=False),
    "/detokenize": Path(needs=("tokens",), tokens=False),
    "/health": _LOOK,
    "/ping": _LOOK,
    "/version": _LOOK,
}

_LONGEST: Final = max(map(len, PATHS))

# A stored response: retrieve, cancel, delete. No dots, no percent signs: nothing that leads elsewhere. An engine that
# was not there has stored none.
_RESPONSES: Final = re.compile(r"/v1/responses/[A-Za-z0-9_-]{1,256}(/cancel|/input_items)?")
_RESPONSE: Final = Path(methods=(*GET, *POST, "DELETE"), tokens=False, wakes=False)

RESERVED: Final = frozenset(("v1", "v2", "hearth", "healthz", "readyz", "metrics"))
"""First segments of paths that are the API's own, whatever a namespace is called."""


def path_of(path: str, *, more: bool = False) -> Path | None:
    """What is known of a path; None: it is not served. `more`: an InferenceRuntime adds it."""
    known = PATHS.get(path)
    if known is not None:
        return known
    if _RESPONSES.fullmatch(path):
        return _RESPONSE
    return Path(document=False, streams=True) if more else None


def route_of(path: str, prefix: str) -> str:
    """The path as a pattern: of all that ask the same thing the same one. `prefix` is what stands before the engine's
    path."""
    found = _RESPONSES.fullmatch(path)
    route = f"/v1/responses/{{response_id}}{found[1] or ''}" if found is not None else path
    return f"/{{namespace}}/{{name}}{route}" if prefix else route


_OPERATIONS: Final = {
    "/v1/chat/completions": "chat",
    "/v1/messages": "chat",
    "/v1/responses": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}


def operation_of(path: str) -> str | None:
    """What a path asks of a model, by OpenTelemetry's names; None where they have none.

    https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
    """
    return _OPERATIONS.get(path)


def likely(path: str) -> str | None:
    """The path that somebody meant who wrote this one: a forgotten or doubled /v1, a slash too many, a slip."""
    bare = "/" + path.strip("/")
    while bare.startswith("/v1/v1/"):
        bare = bare[3:]
    for candidate in (bare, f"/v1{bare}", bare.removeprefix("/v1")):
        if candidate != path and (candidate in PATHS or candidate == _MODELS):
            return candidate
    # Of a path of any length only what a slip can be: the search grows with the square.
    return next(iter(get_close_matches(bare, PATHS, n=1, cutoff=0.85)), None) if len(bare) <= _LONGEST + 2 else None


def unknown_service(path: str) -> str | None:
    """NAMESPACE/NAME of a path /NAMESPACE/NAME/… whose rest is served."""
    parts = path.split("/", 3)
    return "/".join(parts[1:3]) if len(parts) == 4 and path_of(f"/{parts[3]}") is not None else None


def addressed_service(path: str) -> str | None:
    """NAMESPACE/NAME of a path that begins as an LLMService's do, whatever follows."""
    parts = path.split("/", 3)
    return "/".join(parts[1:3]) if len(parts) == 4 and parts[1] not in RESERVED else None


def dialect_of(path: str) -> Dialect:
    """Whose API a path speaks, however it ends."""
    if "/v1/messages" in path:
        return "anthropic"
    return "responses" if path.endswith("/v1/responses") else "openai"


PROBES: Final = frozenset(("/healthz", "/readyz"))
"""For who looks whether it is well, which needs no key."""
_MODELS: Final = "/v1/models"
_OWN: Final = frozenset((*PROBES, "*", _MODELS, f"{_MODELS}/"))


def is_own(path: str) -> bool:
    """Whether the API itself answers at this path, and no engine."""
    return path in _OWN or path.startswith(("/v1/models/", "/hearth/"))
