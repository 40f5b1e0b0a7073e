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
    """Kubeconfigs, of which the first that says something counts (none: the pod's service account), the namespace that
    is meant where none is given, and the context (None: the pod's account)."""

    kubeconfigs: tuple[Path, ...]
    namespace: str
    context: str | None = None

    @classmethod
    def find(cls, kubeconfig: Path | None, namespace: str | None, context: str | None = None) -> "Access":
        """--kubeconfig, the files of $KUBECONFIG, ~/.kube/config, the pod's account: the first that there is.

        https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/#merging-kubeconfig-files:
        files that are not there are skipped where there are several; of two that say the same thing the first counts.
        Raises KubeError where a file can't be read, or none of them has the context.
        """
        if kubeconfig is not None:
            files = [kubeconfig]
        elif named := [Path(word).expanduser() for word in os.environ.get("KUBECONFIG", "").split(os.pathsep) if word]:
            files = [file for file in named if file.exists()] or named[:1]
        else:
            files = [usual] if (usual := Path.home() / ".kube" / "config").exists() else []
        if not files:
            if context is not None:
                raise Unanswered(f"context {context}: there is no kubeconfig that could have it")
            return cls((), namespace or "default")
        # One that says nothing, such as /dev/null, is no obstacle; the client library stumbles over it.
        read = {file: _read(file) for file in files}
        files = [file for file, document in read.items() if document] or files
        documents = [*read.values()]
        wanted = context or next(filter(None, (text(document, "current-context") for document in documents)), "")
        contexts = [each for document in documents for each in mappings(document, "contexts")]
        found = next((mapping(each, "context") for each in contexts if each.get("name") == wanted), None)
        if found is None:
            there = ", ".join(sorted({text(each, "name") for each in contexts})) or "none"
            where = ", ".join(map(str, files))
            what = f"context {wanted!r} is not there" if wanted else "there is no current-context"
            raise Unanswered(f"kubeconfig {where}: {what}; its contexts: {there}")
        return cls(tuple(files), namespace or text(found, "namespace") or "default", wanted)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[KubeClient]:
        """A client, closed when the context is left. Raises KubeError without a way to the API server."""
        client = await KubeClient.connect(self.kubeconfigs or None, self.context)
        try:
            yield client
        finally:
            await client.close()


def _read(kubeconfig: Path) -> KubeObject:
    try:
        document: Any = yaml.safe_load(kubeconfig.read_text()) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Unanswered(f"kubeconfig {kubeconfig} cannot be read: {error}") from error
    return mapping(document)


async def listed(kube: KubeClient, path: str, label_selector: str = "") -> list[KubeObject]:
    """A collection; empty where the API server does not know its kind. Raises KubeError."""
    try:
        return (await kube.list_objects(path, label_selector)).items
    except NotFound:
        return []
