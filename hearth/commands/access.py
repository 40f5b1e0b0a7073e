"""The way to a cluster as kubectl finds it, and reads that take "there is none" for an answer."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hearth.kube.client import KubeClient
from hearth.kube.errors import NotFound, Unanswered
from hearth.kube.objects import KubeObject, mapping, mappings, text


@dataclass(frozen=True, slots=True)
class Access:
    """A kubeconfig (None: the pod's service account), the namespace that is meant where none is given, and the
    kubeconfig's context that is (None: its current one)."""

    kubeconfig: Path | None
    namespace: str
    context: str | None = None

    @classmethod
    def find(cls, kubeconfig: Path | None, namespace: str | None, context: str | None = None) -> "Access":
        """--kubeconfig, $KUBECONFIG, ~/.kube/config, the pod's account: the first that there is.

        https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/ Raises KubeError
        where a file can't be read.
        """
        if kubeconfig is None and (named := os.environ.get("KUBECONFIG")):
            kubeconfig = Path(named.split(os.pathsep)[0])
        if kubeconfig is None and (usual := Path.home() / ".kube" / "config").exists():
            kubeconfig = usual
        if namespace is None and kubeconfig is not None:
            namespace = _namespace_of(kubeconfig, context)
        if context is not None and kubeconfig is None:
            raise Unanswered(f"context {context}: there is no kubeconfig that could have it")
        return cls(kubeconfig, namespace or "default", context)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[KubeClient]:
        """A client, closed when the context is left. Raises KubeError without a way to the API server."""
        client = await KubeClient.connect(self.kubeconfig, self.context)
        try:
            yield client
        finally:
            await client.close()


def _namespace_of(kubeconfig: Path, wanted: str | None) -> str | None:
    try:
        document: Any = yaml.safe_load(kubeconfig.read_text()) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Unanswered(f"kubeconfig {kubeconfig} cannot be read: {error}") from error
    current = wanted or text(document, "current-context")
    context = next((mapping(c, "context") for c in mappings(document, "contexts") if c.get("name") == current), {})
    return text(context, "namespace") or None


async def listed(kube: KubeClient, path: str, label_selector: str = "") -> list[KubeObject]:
    """A collection; empty where the API server does not know its kind. Raises KubeError."""
    try:
        return (await kube.list_objects(path, label_selector)).items
    except NotFound:
        return []
