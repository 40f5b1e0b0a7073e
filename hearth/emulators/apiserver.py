"""The local API server: Kubernetes' HTTP API over the store, so that roles run against it exactly as in a cluster.

It serves list, watch, get, create, replace, JSON merge patch, server-side apply and delete of the kinds in kinds.py,
their status and scale subresources, and the external metrics that KEDA's adapter would. With accounts, each request is
authenticated by its bearer token and authorized by RBAC. Left out: discovery and OpenAPI, chunked lists, protobuf,
strategic merge and JSON patches, deletion of collections, exec, logs and proxies.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import yaml
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from hearth import yamljson
from hearth.emulators.events import to_core, to_events_v1
from hearth.emulators.kinds import EVENTS_V1, RBAC, Kind, KindTable, KubeObject
from hearth.emulators.rbac import Accounts, Attributes
from hearth.emulators.refusals import Refusal, bad_request, escalation, expired, forbidden, not_found
from hearth.emulators.selectors import BadSelector, Predicate, field_selector, label_selector
from hearth.emulators.store import Event, Gone, ObjectStore, timestamp
from hearth.emulators.version import LOCAL_VERSION
from hearth.emulators.writes import Admission, DeleteOptions, Target, WriteOptions, Writes, admit_everything, scale_of

BOOKMARK_SECONDS = 60.0
WATCH_SECONDS = 300.0
EXTERNAL_METRICS = "external.metrics.k8s.io"

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NAMES = ("apiVersion", "kind")
_APPLY, _MERGE = "application/apply-patch+yaml", "application/merge-patch+json"

ExternalMetrics = Callable[[str, str, Predicate], Awaitable[list[KubeObject]]]
"""(namespace, metric, selector of what bears the metric's labels) → ExternalMetricValues. Raises Refusal."""


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


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """How the API server is set up: what exists, what is admitted, who may do what (None: everybody everything), and
    who answers for external metrics (None: no such API)."""

    kinds: KindTable = KindTable()  # noqa: RUF009 — it is never changed
    admit: Admission = admit_everything
    accounts: Accounts | None = None
    external_metrics: ExternalMetrics | None = None
    bookmark_seconds: float = BOOKMARK_SECONDS


@dataclass(frozen=True, slots=True)
class Place:
    """What a path names: a collection, an object, or a subresource of one."""

    api_version: str
    resource: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]


def place_of(path: str) -> Place | None:
    """Of /api/v1/… and /apis/GROUP/VERSION/…; None for any other path."""
    parts = path.strip("/").split("/")
    match parts:
        case ["api", version, *rest]:
            api_version = version
        case ["apis", group, version, *rest]:
            api_version = f"{group}/{version}"
        case _:
            return None
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and rest[2] not in {"status", "finalize"}:
        namespace, rest = rest[1], rest[2:]
    if not 1 <= len(rest) <= 3 or not all(rest):
        return None
    return Place(api_version, rest[0], namespace, *rest[1:])


def create_api(store: ObjectStore, watches: Watches, options: ApiOptions | None = None) -> Starlette:
    """The application."""
    server = _Server(store, watches, options or ApiOptions())
    return Starlette(routes=[Route("/{path:path}", server.answer, methods=_METHODS)])


class _Server:
    def __init__(self, store: ObjectStore, watches: Watches, options: ApiOptions) -> None:
        self._store = store
        self._watches = watches
        self._options = options
        self._writes = Writes(store, options.kinds, options.admit)

    async def answer(self, request: Request) -> Response:
        try:
            return await self._answer(request)
        except Refusal as refusal:
            return _json(refusal.status(), refusal.code)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it

    async def _answer(self, request: Request) -> Response:
        place = place_of(request.url.path)
        user = self._user(request)
        if request.url.path == "/version" and request.method == "GET":
            return _json({"gitVersion": LOCAL_VERSION})
        if place is None:
            return _page_not_found()
        if place.group == EXTERNAL_METRICS and request.method == "GET":
            return await self._external(place, request, user)
        kind = self._options.kinds.served(place.api_version, place.resource)
        if kind is None or not _has_subresource(kind, place.subresource):
            return _page_not_found()
        if kind.namespaced is not bool(place.namespace) and (place.name or request.method == "POST"):
            return _page_not_found()
        self._authorize(user, _named(request, place), self._verb(request, place))
        if request.method == "GET":
            return self._read(request, place, kind)
        return await self._write(request, place, kind, user)

    def _user(self, request: Request) -> str | None:
        """Who asks; None where nobody is told apart. Raises Refusal."""
        if self._options.accounts is None:
            return None
        user = self._options.accounts.user(request.headers.get("authorization"))
        if user is None:
            raise Refusal(401, "Unauthorized", "Unauthorized")
        return user

    def _verb(self, request: Request, place: Place) -> str:
        if request.method != "GET":
            return _VERBS[request.method]
        if place.name:
            return "get"
        return "watch" if _flag(request, "watch") else "list"

    def _authorize(self, user: str | None, place: Place, verb: str) -> None:
        accounts = self._options.accounts
        if accounts is None or user is None:
            return
        resource = f"{place.resource}/{place.subresource}" if place.subresource else place.resource
        asked = Attributes(verb, place.group, resource, place.namespace, place.name)
        if not accounts.rbac.allows(user, asked):
            where = f'in the namespace "{place.namespace}"' if place.namespace else "at the cluster scope"
            raise forbidden(user, verb, resource, place.group, where, place.name)

    def _read(self, request: Request, place: Place, kind: Kind) -> Response:
        if place.name:
            item = self._store.get(kind.resource, place.namespace, place.name)
            if item is None:
                raise not_found(kind, place.name)
            return _json(scale_of(kind, item) if place.subresource == "scale" else _out(place, item))
        selected = _selected(request, kind)
        if _flag(request, "watch"):
            return StreamingResponse(
                self._watch(place, kind, selected, *_since(request), _flag(request, "allowWatchBookmarks")),
                media_type="application/json",
            )
        items = self._store.find(kind.resource, place.namespace or None, selected)
        items = [_out(place, item) for item in items]
        if not kind.custom:  # a list of a built-in kind says what its items are, and they do not
            items = [{name: value for name, value in item.items() if name not in _NAMES} for item in items]
        return _json(
            {
                "apiVersion": place.api_version,
                "kind": f"{kind.name}List",
                "metadata": {"resourceVersion": str(self._store.version)},
                "items": items,
            }
        )

    async def _write(self, request: Request, place: Place, kind: Kind, user: str | None) -> Response:
        body = await _body(request)
        target = Target(kind, place.namespace, place.name, place.subresource)
        options = WriteOptions(
            request.query_params.get("fieldManager") or _agent(request),
            _flag(request, "force"),
            request.query_params.get("dryRun") == "All",
            lambda: self._authorize(user, place, "create"),
        )
        if kind.api_version == RBAC and request.method != "DELETE" and isinstance(body, dict):
            self._held(user, place, kind, body)
        if place.api_version == EVENTS_V1 and isinstance(body, dict) and request.method != "DELETE":
            body = to_core(body)
        match request.method, bool(place.name):
            case "POST", False:
                made = self._writes.create(target, self._owned(user, body), options)
                return _json(_out(place, made), 201)
            case "PUT", True:
                return _json(_out(place, self._writes.replace(target, self._owned(user, body), options)))
            case "PATCH", True:
                return self._patch(request, place, target, self._owned(user, body), options)
            case "DELETE", True if not place.subresource:
                asked = body if isinstance(body, dict) else {}
                ends = self._writes.delete(
                    target, DeleteOptions.of(_delete_query(request) | asked), dry_run=options.dry_run
                )
                return _json(_out(place, ends) if ends is not None else _deleted(kind, place.name))
            case _:
                raise Refusal(
                    405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
                )

    def _patch(
        self, request: Request, place: Place, target: Target, body: KubeObject, options: WriteOptions
    ) -> Response:
        match request.headers.get("content-type", "").partition(";")[0].strip():
            case "application/apply-patch+yaml" if place.subresource != "scale":
                existed = self._store.get(target.kind.resource, target.namespace, target.name) is not None
                named = WriteOptions(
                    request.query_params.get("fieldManager", ""), options.force, options.dry_run, options.may_create
                )
                return _json(_out(place, self._writes.apply(target, body, named)), 200 if existed else 201)
            case "application/merge-patch+json":
                return _json(_out(place, self._writes.merge(target, body, options)))
            case _:
                accepted = f"{_MERGE}, {_APPLY}"
                message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
                raise Refusal(415, "UnsupportedMediaType", message)

    def _owned(self, user: str | None, body: Any) -> Any:
        """The body, whose writer may block the deletion of the owners that it names: the admission plugin
        OwnerReferencesPermissionEnforcement, which many clusters have. Raises Refusal."""
        metadata = body.get("metadata") if isinstance(body, dict) else None
        references = metadata.get("ownerReferences") if isinstance(metadata, dict) else None
        for reference in references or []:
            if reference.get("blockOwnerDeletion"):
                owner = self._options.kinds.of(reference)
                namespace = (metadata or {}).get("namespace", "") if owner.namespaced else ""
                place = Place(owner.api_version, owner.resource, namespace, reference["name"], "finalizers")
                self._authorize(user, place, "update")
        return body

    def _held(self, user: str | None, place: Place, kind: Kind, body: KubeObject) -> None:
        """Who gives rights has them himself. Raises Refusal."""
        accounts = self._options.accounts
        if accounts is None or user is None:
            return
        name = place.name or (body.get("metadata") or {}).get("name", "")
        stored = self._store.get(kind.resource, place.namespace, name) or {}
        if kind.name == "Role":
            rules = body.get("rules") or []
        else:
            rules = accounts.rbac.rules_of(body.get("roleRef") or stored.get("roleRef") or {}, place.namespace)
        if missing := accounts.rbac.not_held(user, rules, place.namespace):
            raise escalation(kind, name, user, missing)

    async def _external(self, place: Place, request: Request, user: str | None) -> Response:
        if self._options.external_metrics is None or not place.namespace or place.name:
            return _page_not_found()
        self._authorize(user, place, "list")
        selected = _parsed(lambda: label_selector(request.query_params.get("labelSelector", "")))
        items = await self._options.external_metrics(place.namespace, place.resource, selected)
        return _json(
            {"kind": "ExternalMetricValueList", "apiVersion": place.api_version, "metadata": {}, "items": items}
        )

    async def _watch(
        self, place: Place, kind: Kind, selected: Predicate, since: int | None, seconds: float, bookmarks: bool
    ) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        if since is None:  # what there is now comes as if it had just been made
            for item in self._store.find(kind.resource, place.namespace or None, selected):
                yield _line("ADDED", _out(place, item))
            since = self._store.version
        try:
            for event in self._store.since(kind.resource, since):
                queue.put_nowait(event)
        except Gone as gone:
            yield _line("ERROR", expired(since, gone.oldest).status())
            return

        def hear(event: Event) -> None:
            if event.resource == kind.resource:  # nobody is woken for what is not watched
                queue.put_nowait(event)

        stop = self._store.listen(hear)  # in the same turn of the event loop: nothing falls between
        self._watches.queues.add(queue)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        try:
            while not self._watches.closed and (left := deadline - loop.time()) > 0:
                try:
                    async with asyncio.timeout(min(left, self._options.bookmark_seconds)):
                        news = await queue.get()
                except TimeoutError:
                    if bookmarks:
                        names = {"apiVersion": place.api_version, "kind": kind.name}
                        yield _line("BOOKMARK", {**names, "metadata": {"resourceVersion": str(self._store.version)}})
                    continue
                if news is None:
                    return
                if (told := _told(news, place.namespace, selected)) is not None:
                    yield _line(told[0], _out(place, told[1]))
        finally:
            stop()
            self._watches.queues.discard(queue)


def _told(event: Event, namespace: str, selected: Predicate) -> tuple[str, KubeObject] | None:
    """What a watch with a selector says of a change: what no longer is selected is DELETED, as it was before."""

    def fits(item: KubeObject | None) -> bool:
        return item is not None and namespace in {"", item["metadata"].get("namespace", "")} and selected(item)

    was = fits(event.before)
    if event.type != "DELETED" and fits(event.object):
        return ("MODIFIED" if was else "ADDED"), event.object
    if event.before is not None and was:
        metadata = {**event.before["metadata"], "resourceVersion": str(event.version)}
        return "DELETED", {**event.before, "metadata": metadata}
    return None


def _has_subresource(kind: Kind, subresource: str) -> bool:
    match subresource:
        case "":
            return True
        case "status":
            return kind.status
        case "scale":
            return kind.scale is not None
        case _:
            return False


def _out(place: Place, item: KubeObject) -> KubeObject:
    """An object as the version that was asked for has it."""
    return to_events_v1(item) if place.api_version == EVENTS_V1 else item


def _selected(request: Request, kind: Kind) -> Predicate:
    labels = _parsed(lambda: label_selector(request.query_params.get("labelSelector", "")))
    fields = _parsed(lambda: field_selector(request.query_params.get("fieldSelector", ""), kind.field_labels))
    return lambda item: labels(item) and fields(item)


def _named(request: Request, place: Place) -> Place:
    """A list of one object by its name is a right on that name (RequestInfoFactory, fieldSelector)."""
    said = re.fullmatch(r"metadata\.name==?([^,=]+)", request.query_params.get("fieldSelector", ""))
    return replace(place, name=said[1]) if said and not place.name else place


def _parsed(parse: Callable[[], Predicate]) -> Predicate:
    try:
        return parse()
    except BadSelector as error:
        raise bad_request(str(error)) from error


def _since(request: Request) -> tuple[int | None, float]:
    """(resourceVersion, None for none or 0; seconds) of a watch."""
    try:
        version = int(request.query_params.get("resourceVersion") or 0)
        seconds = float(request.query_params.get("timeoutSeconds") or WATCH_SECONDS)
    except ValueError as error:
        raise bad_request(str(error)) from error
    return version or None, seconds


async def _body(request: Request) -> Any:
    text = await request.body()
    if not text:
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    try:
        return yamljson.load(text) if kind.endswith("yaml") and not text.startswith(b"{") else json.loads(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise bad_request(f"the body of the request can't be read: {' '.join(str(error).split())[:200]}") from error


def _flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in {"true", "1"}


def _agent(request: Request) -> str:
    """The field manager of who names none, as the API server makes it of the client's name."""
    return request.headers.get("user-agent", "").partition("/")[0] or "unknown"


def _delete_query(request: Request) -> KubeObject:
    found: KubeObject = {}
    if policy := request.query_params.get("propagationPolicy"):
        found["propagationPolicy"] = policy
    if grace := request.query_params.get("gracePeriodSeconds"):
        found["gracePeriodSeconds"] = int(grace) if grace.isdecimal() else grace
    return found


def _deleted(kind: Kind, name: str) -> KubeObject:
    details = {"name": name, "kind": kind.resource} | ({"group": kind.group} if kind.group else {})
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def _page_not_found() -> Response:
    """What the API server answers where no API is at all: no Status, plain words."""
    return PlainTextResponse("404 page not found\n", 404)


def _line(kind: str, item: object) -> bytes:
    return msgspec.json.encode({"type": kind, "object": item}) + b"\n"


def external_metric_value(name: str, labels: dict[str, str], value: float) -> KubeObject:
    """An ExternalMetricValue of now; the value is a quantity, in thousandths."""
    return {"metricName": name, "metricLabels": labels, "timestamp": timestamp(), "value": f"{round(value * 1000)}m"}
