"""What the simulated engine takes for a request, and how it refuses what is none: vLLM 0.32's fields and error bodies.

From vllm/entrypoints: unknown fields are ignored, types are pydantic's lax ones (`"stream": "true"` is true), a body
that does not validate is told by field in a "Bad Request", and a model that is not served is a "NotFoundError".
"""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

_MOST_ERRORS = 10
_MOST_CHOICES = 16384  # VLLM_MAX_N_SEQUENCES


class Refused(Exception):
    """A request is answered with an error; `kind` is vLLM's word for it."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.param = status, kind, param

    @property
    def body(self) -> dict[str, Any]:
        return {"error": {"message": str(self), "type": self.kind, "param": self.param, "code": self.status}}

    @property
    def anthropic_body(self) -> dict[str, Any]:
        return {"type": "error", "error": {"type": self.kind, "message": str(self)}}


class Asked(BaseModel):
    """What all requests share."""

    model_config = ConfigDict(extra="allow")

    model: str | None = None


class StreamOptions(BaseModel):
    include_usage: bool | None = False
    continuous_usage_stats: bool | None = False


class Generation(Asked):
    """What chat and text completions share."""

    max_tokens: int | None = None
    n: int | None = 1
    stop: str | list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _stream_options(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("Stream options can only be defined when `stream=True`.")
        return self

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatRequest(Generation):
    messages: list[dict[str, Any]]
    max_completion_tokens: int | None = None

    @property
    def limit(self) -> int | None:
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens


class CompletionRequest(Generation):
    prompt: str | list[int] | list[str] | list[list[int]]
    max_tokens: int | None = 16

    @property
    def prompts(self) -> list[str]:
        """One for each list of choices; token ids are as good as any words here."""
        match self.prompt:
            case str(text):
                return [text]
            case [str(), *_] | [list(), *_] as many:
                return [text if isinstance(text, str) else json.dumps(text) for text in many]
            case tokens:
                return [json.dumps(tokens)]


class EmbeddingRequest(Asked):
    input: str | list[int] | list[str] | list[list[int]]
    encoding_format: str | None = "float"


class ResponsesRequest(Asked):
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    max_output_tokens: int | None = None
    stream: bool | None = False


class MessagesRequest(Asked):
    model: str
    messages: list[dict[str, Any]]
    max_tokens: int
    stop_sequences: list[str] | None = None
    stream: bool | None = False
    system: str | list[dict[str, Any]] | None = None


class CountTokensRequest(Asked):
    model: str
    messages: list[dict[str, Any]]
    system: str | list[dict[str, Any]] | None = None


class TokenizeRequest(Asked):
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    return_token_strs: bool | None = False

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.prompt is None and self.messages is None:
            raise ValueError("prompt or messages must be given")
        return self


class DetokenizeRequest(Asked):
    tokens: list[Annotated[int, Field(ge=0, le=2**63 - 1)]]


R = TypeVar("R", bound=Asked)


async def accept(request: Request, kind: type[R], served: Sequence[str] | None) -> R:
    """The body of a request for the model that is served. Raises Refused."""
    raw = await request.body()
    try:
        body = json.loads(raw) if raw else None
    except json.JSONDecodeError as error:
        found = {"type": "json_invalid", "loc": f"body.{error.pos}", "msg": "JSON decode error", "input": {}}
        raise _bad([str({**found, "ctx": {"error": error.msg}})], f"body.{error.pos}") from error
    except (ValueError, RecursionError) as error:  # no Unicode, a number without end, brackets without end
        raise Refused(400, HTTPStatus.BAD_REQUEST.phrase, "There was an error parsing the body") from error
    if request.headers.get("content-type", "").lower().split(";")[0] != "application/json":
        raise _bad(["Unsupported Media Type: Only 'application/json' is allowed"], None)
    try:
        if body is None:
            raise _bad([str({"type": "missing", "loc": "body", "msg": "Field required", "input": None})], "body")
        made = kind.model_validate(body)
    except ValidationError as error:
        raise _invalid(error) from error
    check_model(made.model, served)
    return made


def check_model(model: str | None, served: Sequence[str] | None) -> None:
    """Raises Refused where another model is named; none at all is the one that is served. None: any name is."""
    if model and served is not None and model not in served:
        message = f"The model `{model}` does not exist. Valid aliases: {', '.join(served)}."
        raise Refused(404, "NotFoundError", message, "model")


def choices(n: int | None) -> int:
    """How many choices are asked for. Raises Refused."""
    found = 1 if n is None else n
    if found < 1:
        raise Refused(400, "BadRequestError", f"n must be at least 1, got {found}.")
    if found > _MOST_CHOICES:
        message = f"n must be at most {_MOST_CHOICES}, got {found}. To increase this limit, set the "
        raise Refused(400, "BadRequestError", message + "VLLM_MAX_N_SEQUENCES environment variable.")
    return found


def room(prompt_tokens: int, limit: int | None, model_len: int) -> int | None:
    """How many tokens an answer may have: what was asked for, cut to what the context leaves. Raises Refused."""
    if prompt_tokens > model_len:
        message = (
            f"This model's maximum context length is {model_len} tokens. However, your prompt contains {prompt_tokens} "
            "input tokens, which exceeds this limit even without any output tokens. Please reduce the length of the "
            "input prompt."
        )
        raise Refused(400, "BadRequestError", message, "input_tokens")
    found = None if limit is None else min(limit, model_len - prompt_tokens)
    if found is not None and found < 1:
        raise Refused(400, "BadRequestError", f"max_tokens must be at least 1, got {found}.", "max_tokens")
    return found


def not_unicode(request: Request, error: Exception) -> Response:
    """A text that can't be encoded, such as half a surrogate pair, is found by the tokenizer."""
    return openai_error(request, Refused(400, "BadRequestError", str(error)))


def dead(error: Exception) -> Refused:
    """What a request gets whose engine died under it."""
    return Refused(500, "InternalServerError", str(error))


def openai_error(request: Request, refused: Exception) -> Response:
    """The exception handler of every path but Anthropic's."""
    assert isinstance(refused, Refused)
    return JSONResponse(refused.body, refused.status)


def _invalid(error: ValidationError) -> Refused:
    found = []
    first: str | None = None
    for one in error.errors(include_url=False):
        # A union's branches are spelled in pydantic's own names; a client knows the field.
        loc = ".".join(["body", *(str(part) for part in one["loc"] if not _internal(str(part)))])
        first = first or loc
        given = one["input"]
        shown = f"<{type(given).__name__} of {len(given)} items>" if isinstance(given, dict | list) else given
        told: dict[str, Any] = {"type": one["type"], "loc": loc, "msg": one["msg"], "input": shown}
        found.append(str({**told, **({"ctx": one["ctx"]} if "ctx" in one else {})}))
    return _bad(found, first)


def _internal(part: str) -> bool:
    return part in ("str", "int", "float", "bool", "list", "dict", "nullable") or any(mark in part for mark in "[](){}")


def _bad(errors: list[str], param: str | None) -> Refused:
    label = "error" if len(errors) == 1 else "errors"
    lines = [f"{len(errors)} validation {label}:", *(f"  {error}" for error in errors[:_MOST_ERRORS])]
    if len(errors) > _MOST_ERRORS:
        lines.append(f"  ...and {len(errors) - _MOST_ERRORS} more {label}")
    return Refused(400, HTTPStatus.BAD_REQUEST.phrase, "\n".join(lines), param)
