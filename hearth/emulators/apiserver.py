"""The local API server: list, watch and get of what is in the store, as Kubernetes' API does them.

It serves the paths that the roles read, so that they run against it exactly as in a cluster. Nothing is written
through it.
"""

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from hearth.emulators.store import Event, Gone, ObjectStore, matches

RESOURCES = {
    "llmservices": ("serving.hearth.dev/v1alpha1", "LLMService"),
    "endpointslices": ("discovery.k8s.io/v1", "EndpointSlice"),
    "deployments": ("apps/v1", "Deployment"),
    "services": ("v1", "Service"),
    "scaledobjects": ("keda.sh/v1alpha1", "ScaledObject"),
    "persistentvolumeclaims": ("v1", "PersistentVolumeClaim"),
    "jobs": ("batch/v1", "Job"),
}
_BOOKMARK_SECONDS = 30.0


class Watches:
    """The open watches, so that a server that stops can end them."""

    def __init__(self) -> None:
        self.queues: set[asyncio.Queue[Event | None]] = set()
        self.closed = False

    def close(self) -> None:
        """End every watch, as the API server does when it shuts down."""
        self.closed = True
        for queue in self.queues:
            queue.put_nowait(None)


def create_api(store: ObjectStore, watches: Watches) -> Starlette:
    """The application. Collections in all namespaces or one, and single objects."""

    async def collection(request: Request) -> Response:
        resource = request.path_params["resource"]
        if not _served(request):
            return _status(404, "the server could not find the requested resource")
        selector = request.query_params.get("labelSelector", "")
        namespace = request.path_params.get("namespace")
        if request.query_params.get("watch") not in ("true", "1"):
            version, kind = RESOURCES[resource]
            return JSONResponse(
                {
                    "apiVersion": version,
                    "kind": f"{kind}List",
                    "metadata": {"resourceVersion": str(store.version)},
                    "items": store.find(resource, namespace, selector),
                }
            )
        try:
            since = int(request.query_params.get("resourceVersion") or store.version)
            seconds = float(request.query_params.get("timeoutSeconds") or 300)
        except ValueError as error:
            return _status(400, str(error))
        events = _watch(store, watches, resource, namespace, selector, since, seconds)
        return StreamingResponse(events, media_type="application/json")

    async def single(request: Request) -> Response:
        resource, namespace, name = (request.path_params[part] for part in ("resource", "namespace", "name"))
        item = store.get(resource, namespace, name) if _served(request) else None
        return JSONResponse(item) if item is not None else _status(404, f"{resource} {namespace}/{name} not found")

    routes = []
    for prefix in ("/apis/{group}/{version}", "/api/{version}"):
        routes += [
            Route(f"{prefix}/{{resource}}", collection),
            Route(f"{prefix}/namespaces/{{namespace}}/{{resource}}", collection),
            Route(f"{prefix}/namespaces/{{namespace}}/{{resource}}/{{name}}", single),
        ]
    return Starlette(routes=routes)


async def _watch(
    store: ObjectStore,
    watches: Watches,
    resource: str,
    namespace: str | None,
    selector: str,
    since: int,
    seconds: float,
) -> AsyncIterator[bytes]:
    queue: asyncio.Queue[Event | None] = asyncio.Queue()
    try:
        for event in store.since(resource, since):
            queue.put_nowait(event)
    except Gone:
        yield _line("ERROR", _status_object(410, "too old resource version"))
        return
    stop = store.listen(queue.put_nowait)  # in the same turn of the event loop: nothing falls between
    watches.queues.add(queue)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    version, kind = RESOURCES[resource]
    try:
        while not watches.closed and (left := deadline - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(left, _BOOKMARK_SECONDS)):
                    news = await queue.get()
            except TimeoutError:
                metadata = {"resourceVersion": str(store.version)}
                yield _line("BOOKMARK", {"apiVersion": version, "kind": kind, "metadata": metadata})
                continue
            if news is None:
                return
            item = news.object
            if (
                news.resource == resource
                and namespace in (None, item["metadata"].get("namespace"))
                and matches(selector, item)
            ):
                yield _line(news.type, item)
    finally:
        stop()
        watches.queues.discard(queue)


def _served(request: Request) -> bool:
    known = RESOURCES.get(request.path_params["resource"])
    group = request.path_params.get("group")
    version = request.path_params["version"]
    return known is not None and known[0] == (f"{group}/{version}" if group else version)


def _line(kind: str, item: object) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def _status_object(code: int, message: str) -> dict[str, object]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}


def _status(code: int, message: str) -> Response:
    return JSONResponse(_status_object(code, message), status_code=code)
