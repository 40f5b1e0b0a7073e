"""The activator as a Starlette application: what uvicorn serves, and what any other ASGI server can.

Under our own connections a request that names an LLMService takes the lane before it comes here; under others, and in
Starlette's test client, the inference route runs the same exchange.
"""

import asyncio
from collections.abc import Callable

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hearth.activator import errors
from hearth.activator.directory import Entry
from hearth.activator.errors import ApiError
from hearth.activator.lane.door import Door
from hearth.activator.lane.gate import OF_EVENTS
from hearth.activator.lane.inference import ID_NAMES, id_fields, new_id
from hearth.activator.origins import EXPOSED
from hearth.activator.paths import dialect_of
from hearth.activator.web.inference import InferenceRoute
from hearth.activator.web.models import model, model_list
from hearth.activator.web.services import service_events, service_list
from hearth.api.key import ServiceKey
from hearth.http1.asgi import header_fields, request_of
from hearth.http1.message import body_too_large


def create_app(door: Door, ready: Callable[[], bool]) -> Starlette:
    """`ready` says whether the directory is complete and requests are welcome."""

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        return PlainTextResponse("ok\n") if ready() else PlainTextResponse("not ready\n", 503)

    async def models(request: Request) -> Response:
        return _json(await model_list(door.directory, _addressed(door, request), _seen(door, request)))

    async def one_model(request: Request) -> Response:
        wanted = request.path_params["model"].rstrip("/")
        found = model(door.directory, _addressed(door, request), _seen(door, request), wanted)
        return _json(msgspec.json.encode(found))

    async def services(request: Request) -> Response:
        door.check_started()
        seen = _seen(door, request)
        return _json(await service_list(door, filter(seen, door.gates), asyncio.get_running_loop().time()))

    async def events(request: Request) -> Response:
        door.check_started()
        if door.feed.full:
            raise errors.too_many_listeners()
        _seen(door, request)  # who sees nothing is told so
        headers = {name.decode(): value.decode() for name, value in OF_EVENTS}
        fields = header_fields(request.scope)
        if request.method == "HEAD":
            return Response(headers=headers, media_type="text/event-stream")
        told = service_events(door, lambda: door.keyring.view(fields), asyncio.get_running_loop().time)
        return StreamingResponse(told, media_type="text/event-stream", headers=headers)

    async def api_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return _answer(door, error, request.url.path)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        allowed = tuple((error.headers or {}).get("Allow", "").split(", "))
        if error.status_code == 405:
            return await api_error(request, errors.method_not_allowed(request.method, allowed))
        return await api_error(request, errors.unknown_path(request.url.path, None))

    below = ("", "/{namespace}/{name}")
    inference = InferenceRoute(door)
    app = Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            *(Route(f"{prefix}{path}", models) for prefix in below for path in ("/v1/models", "/v1/models/")),
            *(Route(f"{prefix}/v1/models/{{model:path}}", one_model) for prefix in below),
            Route("/hearth/v1/services", services),
            Route("/hearth/v1/services/events", events),
            Route("/{path:path}", inference),
        ],
        exception_handlers={ApiError: api_error, HTTPException: http_error},
        middleware=[Middleware(WithRequestId), *_cross_origin(door), Middleware(ByHead, door)],
    )
    app.router.redirect_slashes = False
    app.router.default = inference  # for a target that is no path: OPTIONS *
    return app


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")


def _addressed(door: Door, request: Request) -> Entry | None:
    door.check_started()
    return door.addressed(request.scope["path"], request.headers.get("host", ""))[0]


def _seen(door: Door, request: Request) -> Callable[[ServiceKey], bool]:
    """Raises ApiError where there is nothing that who asks may know of."""
    return door.keyring.sees(header_fields(request.scope))


def _answer(door: Door, error: ApiError, path: str) -> Response:
    door.count_unrouted(error)
    headers = {name.decode(): value.decode() for name, value in error.headers}
    return Response(error.body(dialect_of(path)), error.status, headers)


class ByHead:
    """What a request's head alone decides is decided before its body is read, under any server."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = request_of(scope)
            length, limit = request.fields.get(b"content-length", b""), self._door.body_limit(request)
            try:
                if length.isdigit() and int(length) > limit:
                    raise errors.of_refusal(body_too_large(limit))
                self._door.check_head(request)
            except ApiError as error:
                answer = _answer(self._door, error, scope["path"])
                if error.status == 413 and scope.get("http_version", "1.1").startswith("1."):
                    answer.headers["connection"] = "close"  # nobody reads what follows (RFC 9110, 15.5.14)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _cross_origin(door: Door) -> list[Middleware]:
    allowed = door.origins.allowed
    if not allowed:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=allowed,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=EXPOSED,
            allow_private_network=True,  # older Chromiums ask, of a page that is let in by name
        )
    ]


class WithRequestId:
    """Every answer has an x-request-id: the client's own, as it was, or a new one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.setdefault("headers", [])
                there = {name: value for name, value in headers if name in ID_NAMES}
                given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
                named = there.get(b"x-request-id") or given or new_id().encode()
                headers += [field for field in id_fields(named, dialect_of(scope["path"])) if field[0] not in there]
            await send(message)

        await self._app(scope, receive, send_with_id)
