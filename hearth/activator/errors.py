"""Errors as the client's API writes them.

OpenAI's: {"error": {"message", "type", "param", "code"}}, https://platform.openai.com/docs/guides/error-codes
Anthropic's, on /v1/messages: {"type": "error", "error": {"type", "message"}}, https://docs.anthropic.com/en/api/errors
"""

import json
import math
from dataclasses import dataclass
from typing import Any

import msgspec

from hearth.activator.paths import Dialect
from hearth.http1.message import Refusal

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


MAX_RETRY_AFTER_SECONDS = 60
"""No answer says more. openai 3.x gives up at once where it is told to wait for more than 120 s."""


def error_event(body: bytes, dialect: Dialect) -> bytes:
    """An error's document, on one line, as an event of the stream. Raises ValueError where it is none that
    /v1/responses can be told."""
    match dialect:
        case "anthropic":
            return b"event: error\ndata: " + body + b"\n\n"
        case "responses":
            return b"event: response.failed\ndata: " + _failed_response(body) + b"\n\n"
        case "openai":
            return b"data: " + body + b"\n\n"


def error_document(body: bytes) -> bytes | None:
    """An engine's error as a document with `error`, on one line; None where it is none.

    SGLang says OpenAI's error without it: https://github.com/sgl-project/sglang, entrypoints/openai/protocol.py,
    ErrorResponse.
    """
    try:
        said = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return None
    match said:
        case {"error": _}:
            return b" ".join(body.splitlines())  # a lone \r ends a line, too
        case {"object": "error", "message": str()}:
            return msgspec.json.encode({"error": {name: said[name] for name in said if name != "object"}})
    return None


class _Said(msgspec.Struct):
    error: dict[str, Any] | str


def _failed_response(body: bytes) -> bytes:
    """https://platform.openai.com/docs/api-reference/responses-streaming/response/failed

    The error stands in it twice: some clients know an event by its type alone, others raise on `error`. (The event
    `error`, which is OpenAI's too, has no client that reads it everywhere: docs/clients.md.)
    """
    try:
        said = msgspec.json.decode(body, type=_Said).error
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from error
    message = said if isinstance(said, str) else str(said.get("message", ""))
    response = {
        "id": "",
        "object": "response",
        "created_at": 0,
        "status": "failed",
        "error": {"message": message, "code": "server_error"},
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "",
        "output": [],
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
    }
    return msgspec.json.encode({"type": "response.failed", "sequence_number": 0, "response": response, "error": said})


@dataclass(slots=True, eq=False)  # not frozen: raising writes __traceback__ and __cause__
class ApiError(Exception):
    """An answer that is an error. `retry_after` in seconds becomes a Retry-After header (RFC 9110, 10.2.3)."""

    status: int
    message: str
    type: str
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None
    allow: tuple[str, ...] = ()
    more: tuple[tuple[bytes, bytes], ...] = ()
    """Header fields of this answer alone."""
    limit: bool = False
    """Whether it is a limit that says exactly when there is room: sooner it would be asked for nothing."""

    def body(self, dialect: Dialect = "openai") -> bytes:
        if dialect == "anthropic":
            other = "invalid_request_error" if self.status < 500 else "api_error"
            kind = _ANTHROPIC_TYPES.get(self.status, other)
            document: dict[str, object] = {"type": "error", "error": {"type": kind, "message": self.message}}
        else:
            document = {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}
        return json.dumps(document, ensure_ascii=False).encode()

    def event(self, dialect: Dialect = "openai") -> bytes:
        """The error as a server-sent event; the SDKs raise on it."""
        return error_event(self.body(dialect), dialect)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        headers = [(b"content-type", b"application/json"), *self.more]
        if self.allow:
            headers.append((b"allow", ", ".join(self.allow).encode()))  # RFC 9110, 15.5.6
        if self.status == 401:
            headers.append((b"www-authenticate", b'Bearer realm="hearth"'))  # RFC 9110, 15.5.2; RFC 6750, 3
        if self.status == 415:
            headers.append((b"accept-encoding", b"gzip, deflate, zstd"))  # RFC 9110, 15.5.16
        if self.retry_after is not None:
            seconds = max(1, math.ceil(self.retry_after))
            if seconds > MAX_RETRY_AFTER_SECONDS and self.limit:
                headers.append((b"x-should-retry", b"false"))  # OpenAI's and Anthropic's SDKs raise at once
            elif seconds > MAX_RETRY_AFTER_SECONDS:
                seconds = MAX_RETRY_AFTER_SECONDS
            headers.append((b"retry-after", b"%d" % seconds))
        return headers


EVERY_METHOD = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")

_KEYS_SECONDS = 5.0  # how often a Secret that can't be read is asked for
_SHOWN = 200  # characters of a client's own words that an error says back


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def of_refusal(refusal: Refusal) -> ApiError:
    """What HTTP itself refuses, as an API's error."""
    status = refusal.status
    kind = "invalid_request_error" if status < 500 or status == 505 else "server_error"
    return ApiError(
        *(status, refusal.text, kind, refusal.code),
        retry_after=_KEYS_SECONDS if refusal.code == "keys_unreadable" else 1.0 if status == 503 else None,
        allow=EVERY_METHOD if status == 405 else (),
    )


def model_not_found(model: str, hint: str = "") -> ApiError:
    return ApiError(
        404,
        f"The model {_shown(model)} does not exist{hint or '; GET /v1/models lists those that do'}.",
        "invalid_request_error",
        "model_not_found",
        "model",
    )


def unauthorized(given: bool) -> ApiError:
    """`given`: the request had a key."""
    said = "Incorrect API key provided" if given else "No API key was provided"
    return ApiError(
        401,
        f"{said}: send one that is for this model, as `Authorization: Bearer KEY` or `x-api-key: KEY`.",
        "invalid_request_error",
        "invalid_api_key",
    )


def limited(limit: str, wait: float, more: tuple[tuple[bytes, bytes], ...] = ()) -> ApiError:
    """A key's own limit. `wait`: seconds until there is room; `more`: what OpenAI's clients read of it."""
    return ApiError(
        429,
        f"Rate limit reached for this API key: {limit}; try again in {math.ceil(wait)} s.",
        "rate_limit_error",
        "rate_limit_exceeded",
        retry_after=wait,
        limit=True,
        more=more,
    )


def starts_limited(service: str, limit: int, whose: str, wait: float) -> ApiError:
    """`whose`: of whom there may be no more cold starts an hour."""
    return ApiError(
        429,
        f"LLMService {service} has no replica, and a cold start for this request would be one more than the {limit} an "
        f"hour {whose}; try again in {math.ceil(wait)} s.",
        "rate_limit_error",
        "cold_starts_limited",
        retry_after=wait,
        limit=True,
    )


def origin_not_allowed() -> ApiError:
    return ApiError(
        403,
        "A web page of another origin may not ask here: let it in by --cors-origin, and send JSON as application/json.",
        "invalid_request_error",
        "origin_not_allowed",
    )


def keys_unreadable() -> ApiError:
    return ApiError(
        503,
        "The API keys can't be read just now, so that nobody is let in; the LLMService's condition KeysReady, or the "
        "activator's log, says why. Try again.",
        "server_error",
        "keys_unreadable",
        retry_after=_KEYS_SECONDS,
    )


def no_model(found: str) -> ApiError:
    """`found`: what the body has where its name should be."""
    wrong = f"`model` must be a string of at most 1,024 bytes, found {found}" if found else "No model was named"
    return ApiError(
        400,
        f"{wrong}: give `model` in a JSON body, or use the address of one LLMService "
        "(http://NAME.NAMESPACE.svc/v1 or /NAMESPACE/NAME/v1).",
        "invalid_request_error",
        "model_required",
        "model",
    )


def stopping(service: str) -> ApiError:
    return ApiError(
        503,
        f"LLMService {service}: the activator that had this request is being replaced; try again.",
        "server_error",
        "activator_stopping",
        retry_after=1.0,
    )


def activator_starting() -> ApiError:
    return ApiError(
        503,
        "This activator has just started, and waits for the API server to tell it the LLMServices; try again.",
        "server_error",
        "activator_starting",
        retry_after=1.0,
    )


def no_websocket() -> ApiError:
    """codex asks for responses by WebSocket first. It goes on by HTTP where this is the status (RFC 9110, 15.5.22), and
    gives up where it is another."""
    return ApiError(
        426,
        "WebSocket is not supported here; use HTTP, with `stream: true` for tokens as they come.",
        "invalid_request_error",
        "websocket_not_supported",
        more=((b"upgrade", b"HTTP/1.1"),),
    )


def bad_request(message: str) -> ApiError:
    return ApiError(400, message, "invalid_request_error", "bad_request")


def method_not_allowed(method: str, allowed: tuple[str, ...]) -> ApiError:
    return ApiError(
        405,
        f"{method[:32]} requests are not served at this path; allowed: {', '.join(allowed)}.",
        "invalid_request_error",
        "method_not_allowed",
        allow=allowed,
    )


def unknown_path(path: str, meant: str | None) -> ApiError:
    hint = f"did you mean {meant}?" if meant else "the paths of inference are served, such as /v1/chat/completions."
    return ApiError(404, f"The path {_shown(path)} is not served: {hint}", "invalid_request_error", "unknown_path")


def asks_nothing(needs: tuple[str, ...]) -> ApiError:
    """`needs`: the fields of which one would do; none where any body would."""
    lacks = f"its body has no {' or '.join(needs)}" if needs else "it has no body"
    return ApiError(
        400,
        f"The request asks nothing: {lacks}.",
        "invalid_request_error",
        "missing_required_parameter",
        needs[0] if needs else None,
    )


def too_many_listeners() -> ApiError:
    return ApiError(
        503, "Too many listen to the feed of changes already.", "server_error", "overloaded", retry_after=10.0
    )


def too_many_fields(name: str) -> ApiError:
    return ApiError(
        413,
        f"The request's body has too many fields for its `model` to be changed here; write {_shown(name)}, or use the "
        "address of the LLMService.",
        "invalid_request_error",
        "request_too_large",
        "model",
    )


def unsupported_encoding(coding: str) -> ApiError:
    return ApiError(
        415,
        f"The content-encoding {_shown(coding)} is not read here: send the body as it is, in gzip, deflate or zstd.",
        "invalid_request_error",
        "unsupported_content_encoding",
    )


def queue_full(service: str, limit: int, retry_after: float) -> ApiError:
    return ApiError(
        429,
        f"LLMService {service} has {limit} requests waiting or in flight (endpoint.maxQueue); try again later.",
        "rate_limit_error",
        "queue_full",
        retry_after=retry_after,
    )


def activation_timed_out(service: str, seconds: float, retry_after: float, why: str) -> ApiError:
    """`why`: what its replicas are doing."""
    return ApiError(
        503,
        f"LLMService {service} had no replica for this request within {seconds:g} s (scaling.activationTimeout): "
        f"{why}; try again.",
        "server_error",
        "activation_timeout",
        retry_after=retry_after,
    )


def starting(service: str, retry_after: float, trouble: str | None = None) -> ApiError:
    """`trouble`: why it does not start."""
    said = f"can't start: {trouble}" if trouble is not None else "is starting"
    return ApiError(
        503,
        f"LLMService {service} {said} (endpoint.coldStart.mode is reject); try again.",
        "server_error",
        "model_starting",
        retry_after=retry_after,
    )


def asleep(service: str, what: str) -> ApiError:
    """`what` the request is, in words."""
    return ApiError(
        503,
        f"LLMService {service} has no ready replica, and {what} does not start one; a request for inference does.",
        "server_error",
        "model_asleep",
    )


def service_deleted(service: str) -> ApiError:
    return ApiError(503, f"LLMService {service} was deleted.", "server_error", "model_deleted")


def engine_failed(service: str, reason: str) -> ApiError:
    return ApiError(
        502,
        f"No replica of LLMService {service} answered this request: {reason}.",
        "server_error",
        "engine_failed",
    )


def engine_silent(service: str, field: str, seconds: float) -> ApiError:
    """`field` of endpoint.timeouts."""
    return ApiError(
        504,
        f"LLMService {service}: nothing of an answer came for {seconds:g} s (endpoint.timeouts.{field}).",
        "server_error",
        "engine_timeout",
    )


def exhausted(service: str) -> ApiError:
    return ApiError(
        503,
        f"LLMService {service}: this activator can open no more connections just now; try again.",
        "server_error",
        "overloaded",
        retry_after=1.0,
    )


def over_share(service: str) -> ApiError:
    return ApiError(
        429,
        f"The requests that wait for LLMService {service} hold all the memory that is its share; try again later.",
        "rate_limit_error",
        "queue_full",
        retry_after=1.0,
    )


def internal(service: str) -> ApiError:
    return ApiError(500, f"LLMService {service}: a fault of the activator's.", "server_error", "internal_error")


def engine_died(service: str) -> ApiError:
    return ApiError(
        502,
        f"The replica of LLMService {service} that was answering died; what it had sent is incomplete.",
        "server_error",
        "engine_died",
    )


def not_an_event_stream(service: str, answer: str) -> ApiError:
    """`answer`: what came instead."""
    return ApiError(
        502,
        f"The engine of LLMService {service} answered a streaming request with {answer}.",
        "server_error",
        "not_an_event_stream",
    )
