"""Plain requests to an API server: objects as data; lists, watches and server-side apply as the API documents them.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import contextlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from aiohttp import ClientError, ClientTimeout
from aiohttp.http_exceptions import HttpProcessingError
from kubernetes.aio import client, config
from yaml import YAMLError

from hearth.kube.decode import decode
from hearth.kube.errors import Conflict, KubeError, NotFound, Unanswered, Unavailable, error_of
from hearth.kube.objects import KubeObject, mapping, mappings, number, text
from hearth.kube.proxy import proxy_for

__all__ = ["KubeClient", "KubeObject", "Listed"]

SILENCE_SECONDS = 90.0
"""How long a watch may say nothing: the API server sends a bookmark each minute. Nothing else notices a connection that
died without a word."""
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Listed:
    """A list and the resourceVersion from which a watch goes on."""

    items: list[KubeObject]
    resource_version: str


class _Complaints(logging.Filter):
    """What the loader of kubeconfigs logs as errors while the context lasts: it goes on without what went wrong, such
    as the credentials of a plugin that could not be run."""

    def __init__(self) -> None:
        super().__init__()
        self._texts: list[str] = []
        self._logger = logging.getLogger("kubernetes.aio.config.kube_config")

    def __enter__(self) -> "_Complaints":
        self._logger.addFilter(self)
        return self

    def __exit__(self, *error: object) -> None:
        self._logger.removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            self._texts.append(record.getMessage())
        return record.levelno < logging.ERROR

    def tell(self) -> None:
        """Raises ConfigException."""
        if self._texts:
            raise config.ConfigException(f"kubeconfig, users[].user.exec: {'; '.join(self._texts)}")


class KubeClient:
    """Lists, watches, writes. `path` is a collection such as /apis/serving.hearth.dev/v1alpha1/llmservices."""

    def __init__(self, api: client.ApiClient, proxy: str | None = None) -> None:
        self._api = api
        self._way = f", by the proxy {urlsplit(proxy).hostname}" if proxy else ""  # the rest of it may be a secret

    @classmethod
    async def connect(cls, kubeconfig: Path | Sequence[Path] | None = None, context: str | None = None) -> "KubeClient":
        """Use a kubeconfig file, or several of which the first that says something counts, and one of their contexts
        (None: the current one), or the pod's service account.

        Raises Unanswered where there is neither.
        """
        configuration = client.Configuration()
        # As the kubelet and kubectl look at them: Python 3.13 refuses authorities without key identifiers or usages, as
        # older clusters of EKS, GKE and MicroK8s have. See https://github.com/kubernetes-client/python/issues/2394
        configuration.disable_strict_ssl_verification = True
        # Every watch is a connection: with the client's limit of 100 a hundred of them leave none for anything else.
        configuration.connection_pool_maxsize = 0
        try:
            if kubeconfig is not None:
                files = [kubeconfig] if isinstance(kubeconfig, Path) else kubeconfig
                names = os.pathsep.join(map(str, files))
                with _Complaints() as complaints:
                    await config.load_kube_config(names, context, client_configuration=configuration)  # type: ignore[no-untyped-call]
                complaints.tell()
            else:
                config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        # An empty file, or one of another shape, is met by the loader as whatever it stumbles over.
        except (config.ConfigException, OSError, TypeError, AttributeError, ValueError, YAMLError) as error:
            raise Unanswered(f"no way to the API server: {error}") from error
        # aiohttp looks for the environment's proxies and a .netrc at each request, in a thread: half of what a request
        # costs (0.66 of 1.2 ms, measured).
        configuration.client_session_kwargs = {"trust_env": False}
        configuration.proxy = configuration.proxy or proxy_for(configuration.host, os.environ)
        return cls(client.ApiClient(configuration), configuration.proxy)

    async def close(self) -> None:
        await self._api.close()  # type: ignore[no-untyped-call]

    async def list_objects(self, path: str, label_selector: str = "", field_selector: str = "") -> Listed:
        """The whole collection, or what the selectors leave of it. Raises KubeError."""
        query = [("fieldSelector", field_selector)] if field_selector else []
        request = self._request(path, label_selector, query, _within(60))
        body = await self._read(path, request)
        data = decode(body)
        return Listed(mappings(data, "items"), text(data, "metadata", "resourceVersion"))

    async def watch_objects(
        self,
        path: str,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int = 300,
    ) -> AsyncIterator[tuple[str, KubeObject]]:
        """(type, object) of each change after `resource_version`, bookmarks too, until the server ends the watch.

        Raises Expired, KubeError; Unanswered where nothing comes for `SILENCE_SECONDS`.
        """
        query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", resource_version),
            ("timeoutSeconds", str(timeout_seconds)),
            *([("fieldSelector", field_selector)] if field_selector else []),
        ]
        timeout = ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        try:
            response = await self._request(path, label_selector, query, timeout)
            async with response:
                if response.status != 200:
                    _check(response.status, await response.read())
                async for line in response.content:
                    event = mapping(decode(line))
                    item = mapping(event, "object")
                    if text(event, "type") == "ERROR":
                        _check(number(item, "code", default=500), msgspec.json.encode(item))
                    yield text(event, "type"), item
        except (HttpProcessingError, ValueError) as error:
            # aiohttp reads lines of 4 MiB at most. The object can be listed, not watched: the watch is of no more use.
            raise Unavailable(f"{path}: found a change that can't be read: {type(error).__name__}") from error
        except (ClientError, TimeoutError, OSError) as error:
            raise Unanswered(f"{path}: {str(error) or type(error).__name__}{self._way}") from error

    async def apply_object(self, path: str, item: KubeObject, manager: str) -> KubeObject:
        """Server-side apply of one object at its own path; what others own and we now say is taken over.

        With metadata.uid in it, only the object that has this uid is written. With metadata.resourceVersion too, only
        where it has not changed since: else Conflict or Refused, and nothing is made either.
        https://kubernetes.io/docs/reference/using-api/server-side-apply/ Raises KubeError.
        """
        query = [("fieldManager", manager), ("force", "true")]
        return await self._exchange("PATCH", path, query, item, "application/apply-patch+yaml")

    async def try_object(self, path: str, item: KubeObject, manager: str) -> None:
        """Ask what `apply_object` would be answered, by the API server and its webhooks; nothing is written.

        https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run Raises KubeError.
        """
        query = [("fieldManager", manager), ("force", "true"), ("dryRun", "All")]
        await self._exchange("PATCH", path, query, item, "application/apply-patch+yaml")

    async def merge_object(self, path: str, patch: KubeObject, manager: str) -> KubeObject:
        """JSON merge patch (RFC 7396) of one object: null removes a field, whoever owns it.

        With metadata.uid in it, only the object that has this uid is written: else Conflict. Raises KubeError.
        """
        return await self._exchange("PATCH", path, [("fieldManager", manager)], patch, "application/merge-patch+json")

    async def create_object(self, collection: str, item: KubeObject, manager: str = "") -> KubeObject:
        """Create an object. Raises AlreadyExists where there is one of this name, KubeError."""
        query = [("fieldManager", manager)] if manager else []
        return await self._exchange("POST", collection, query, item, "application/json")

    async def replace_object(self, path: str, item: KubeObject, manager: str = "") -> KubeObject:
        """Write an object that was read before. Raises Conflict where it has changed since, KubeError."""
        query = [("fieldManager", manager)] if manager else []
        return await self._exchange("PUT", path, query, item, "application/json")

    async def delete_object(
        self, path: str, uid: str, grace_seconds: int | None = None, *, foreground: bool = False
    ) -> None:
        """Delete the object that has this uid, and what it owns: in the background, or before it (`foreground`). One
        that is gone is gone.

        Raises KubeError.
        """
        policy = "Foreground" if foreground else "Background"
        options: KubeObject = {"propagationPolicy": policy, "preconditions": {"uid": uid}}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        with contextlib.suppress(NotFound, Conflict):  # Conflict: another object has the name by now
            await self._exchange("DELETE", path, [], options, "application/json")

    async def get_text(self, path: str, query: Sequence[tuple[str, str]] = ()) -> str:
        """What a path answers that is no object, such as a pod's log, or its port by its proxy. Raises KubeError."""
        return (await self._read(path, self._request(path, "", list(query), _within(10)))).decode(errors="replace")

    async def get_object(self, path: str, label_selector: str = "") -> KubeObject | None:
        """One object as it is now; None where there is none. Raises KubeError."""
        query = [("labelSelector", label_selector)] if label_selector else []
        try:
            return await self._exchange("GET", path, query, None, "application/json")
        except NotFound:
            return None

    async def _exchange(
        self, method: str, path: str, query: list[tuple[str, str]], item: KubeObject | None, content_type: str
    ) -> KubeObject:
        request = self._request(path, "", query, _within(30), method, item, content_type)
        return mapping(decode(await self._read(path, request)))

    async def _read(self, path: str, request: Awaitable[Any]) -> bytes:
        """The whole body of what `_request` is answered, where it is no error. Raises KubeError."""
        try:
            response = await request
            async with response:
                body: bytes = await response.read()
                _check(response.status, body)
        except (ClientError, TimeoutError, OSError) as error:
            raise Unanswered(f"{path}: {str(error) or type(error).__name__}{self._way}") from error
        return body

    async def _request(
        self,
        path: str,
        label_selector: str,
        query: list[tuple[str, str]],
        timeout: ClientTimeout,
        method: str = "GET",
        item: KubeObject | None = None,
        content_type: str = "application/json",
    ) -> Any:
        selector = [("labelSelector", label_selector)] if label_selector else []
        method, url, headers, body, _ = await self._api.param_serialize(
            method,
            path,
            query_params=[*query, *selector],
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=item,
            auth_settings=["BearerToken"],
        )
        response = await self._api.call_api(method, url, headers, body, _request_timeout=timeout)
        return response.response


def _within(seconds: float) -> ClientTimeout:
    return ClientTimeout(total=seconds, sock_connect=_CONNECT_SECONDS)


def _check(status: int, body: bytes) -> None:
    if status < 400:
        return
    try:
        said = mapping(decode(body))
    except KubeError:
        said = {"message": body[:200].decode(errors="replace").strip()}
    raise error_of(status, text(said, "message"), reason=text(said, "reason"), about=text(said, "details", "name"))
