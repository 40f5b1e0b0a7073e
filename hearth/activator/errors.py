"""Errors as the client's API writes them.

OpenAI's: {"error": {"message", "type", "param", "code"}}, https://platform.openai.com/docs/guides/error-codes
Anthropic's, on /v1/messages: {"type": "error", "error": {"type", "message"}}, https://docs.anthropic.com/en/api/errors
"""

import json
import math
from dataclasses import dataclass
from typing import Literal

Dialect = Literal["openai", "anthropic"]

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


MAX_RETRY_AFTER_SECONDS = 60
"""No answer says more. openai 3.x gives up at once where it is told to wait for more than 120 s."""


def error_event(body: bytes, dialect: Dialect) -> bytes:
    """An error's document, on one line, as an event of the stream."""
    return (b"event: error\ndata: " if dialect == "anthropic" else b"data: ") + body + b"\n\n"


@dataclass(slots=True, eq=False)  # not frozen: raising writes __traceback__ and __cause__
class ApiError(Exception):
    """An answer that is an error. `retry_after` in seconds becomes a Retry-After header (RFC 9110, 10.2.3)."""

    status: int
    message: str
    type: str
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None

    def body(self, dialect: Dialect = "openai") -> bytes:
        if dialect == "anthropic":
            kind = _ANTHROPIC_TYPES.get(self.status, "api_error")
            document: dict[str, object] = {"type": "error", "error": {"type": kind, "message": self.message}}
        else:
            document = {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}
        return json.dumps(document, ensure_ascii=False).encode()

    def event(self, dialect: Dialect = "openai") -> bytes:
        """The error as a server-sent event; the SDKs raise on it."""
        return error_event(self.body(dialect), dialect)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        headers = [(b"content-type", b"application/json")]
        if self.status == 405:
            headers.append((b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))  # RFC 9110, 15.5.6
        if self.retry_after is not None:
            headers.append((b"retry-after", b"%d" % min(max(1, math.ceil(self.retry_after)), MAX_RETRY_AFTER_SECONDS)))
        return headers


def model_not_found(model: str, hint: str = "") -> ApiError:
    return ApiError(
        404,
        f"The model {model!r} does not exist{hint or '; GET /v1/models lists those that do'}.",
        "invalid_request_error",
        "model_not_found",
        "model",
    )


def no_model() -> ApiError:
    return ApiError(
        400,
        "No model was named: give `model` in a JSON body, or use the address of one LLMService "
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


def no_websocket() -> ApiError:
    return ApiError(
        400,
        "WebSocket is not supported here; use HTTP, with `stream: true` for tokens as they come.",
        "invalid_request_error",
        "websocket_not_supported",
    )


def bad_request(message: str) -> ApiError:
    return ApiError(400, message, "invalid_request_error", "bad_request")


def method_not_allowed(method: str) -> ApiError:
    return ApiError(405, f"{method} requests are not served here.", "invalid_request_error", "method_not_allowed")


def http_version_not_supported(version: str) -> ApiError:
    return ApiError(
        505, f"HTTP/{version} is not spoken here; use HTTP/1.1.", "invalid_request_error", "http_version_not_supported"
    )


def body_too_large(limit: int) -> ApiError:
    return ApiError(413, f"The request's body is over {limit} bytes.", "invalid_request_error", "request_too_large")


def queue_full(service: str, limit: int, retry_after: float) -> ApiError:
    return ApiError(
        429,
        f"LLMService {service} has {limit} requests waiting or in flight (endpoint.maxQueue); try again later.",
        "rate_limit_error",
        "queue_full",
        retry_after=retry_after,
    )


def activation_timed_out(service: str, seconds: float, retry_after: float) -> ApiError:
    return ApiError(
        503,
        f"LLMService {service} had no replica for this request within {seconds:g} s (scaling.activationTimeout); "
        "it is still starting, try again.",
        "server_error",
        "activation_timeout",
        retry_after=retry_after,
    )


def starting(service: str, retry_after: float) -> ApiError:
    return ApiError(
        503,
        f"LLMService {service} is starting (endpoint.coldStart.mode is reject); try again.",
        "server_error",
        "model_starting",
        retry_after=retry_after,
    )


def asleep(service: str, method: str) -> ApiError:
    return ApiError(
        503,
        f"LLMService {service} has no ready replica, and a {method} request does not start one; a POST does.",
        "server_error",
        "model_asleep",
    )


def service_deleted(service: str) -> ApiError:
    return ApiError(503, f"LLMService {service} was deleted.", "server_error", "model_deleted")


def engine_died(service: str) -> ApiError:
    return ApiError(
        502,
        f"The replica of LLMService {service} that was answering died; what it had sent is incomplete.",
        "server_error",
        "engine_died",
    )


def not_an_event_stream(service: str, content_type: str) -> ApiError:
    return ApiError(
        502,
        f"The engine of LLMService {service} answered a streaming request with {content_type or 'no content type'}.",
        "server_error",
        "not_an_event_stream",
    )
