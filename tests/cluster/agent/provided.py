"""What a container is given from outside its image: environment and volumes, read from the API server.

The messages are the kubelet's, since users read them in conditions.
"""

import base64
from pathlib import Path
from typing import Any

from hearth.emulators.container import expand
from hearth.kube.client import KubeClient, KubeObject
from tests.cluster.agent.sandbox import Mount


class NotProvided(Exception):
    """Something that the container needs is not there; `reason` is the kubelet's word for it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Provider:
    """Of one node: `root` stands for its file system, `volumes` is where persistent volumes lie."""

    def __init__(self, kube: KubeClient, root: Path) -> None:
        self._kube = kube
        self._root = root

    async def environment(self, pod: KubeObject, container: KubeObject) -> dict[str, str]:
        """The container's variables. Raises NotProvided, KubeError."""
        namespace = pod["metadata"]["namespace"]
        made: dict[str, str] = {}
        for source in container.get("envFrom", []):
            for kind in ("secret", "configMap"):
                if reference := source.get(f"{kind}Ref"):
                    made |= await self._data(kind, namespace, reference)
        for variable in container.get("env", []):
            source = variable.get("valueFrom", {})
            for kind in ("secret", "configMap"):
                if reference := source.get(f"{kind}KeyRef"):
                    data = await self._data(kind, namespace, reference)
                    if reference["key"] not in data:
                        name = f"{namespace}/{reference['name']}"
                        raise _config_error(f"couldn't find key {reference['key']} in {kind.capitalize()} {name}")
                    made[variable["name"]] = data[reference["key"]]
            if "fieldRef" in source:
                made[variable["name"]] = _field(pod, source["fieldRef"]["fieldPath"])
            if not source:
                made[variable["name"]] = expand(variable.get("value", ""), made)
        return made

    async def mounts(self, pod: KubeObject, container: KubeObject, folder: Path) -> list[Mount]:
        """The container's mounts; what lives as long as the pod lies in `folder`. Raises NotProvided, KubeError."""
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
        made = []
        for mount in container.get("volumeMounts", []):
            source = await self._volume(pod, volumes[mount["name"]], folder / mount["name"])
            if "subPath" in mount:
                source /= mount["subPath"]
                source.mkdir(parents=True, exist_ok=True)
            made.append(Mount(source, mount["mountPath"], mount.get("readOnly", False)))
        return made

    async def _volume(self, pod: KubeObject, volume: KubeObject, folder: Path) -> Path:
        match volume:
            case {"emptyDir": _}:
                return _writable(folder)
            case {"hostPath": {"path": path, **rest}}:
                source = self._root / path.lstrip("/")
                if rest.get("type") == "File" and not source.is_file():
                    raise NotProvided("ContainerCreating", f"hostPath type check failed: {path} is not a file")
                return source if source.is_file() else _writable(source)
            case {"persistentVolumeClaim": {"claimName": claim}}:
                return await self._persistent(pod["metadata"]["namespace"], claim)
            case {"secret": {"secretName": name}}:  # as it is when the pod starts: what changes later is not brought
                try:
                    return _written(folder, await self._data("secret", pod["metadata"]["namespace"], {"name": name}))
                except NotProvided as error:
                    words = f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}'
                    raise NotProvided("ContainerCreating", words) from error
            case {"projected": {"sources": sources}}:
                files: dict[str, str] = {}
                for projected in sources:
                    files |= await self._projected(pod, projected)
                return _written(folder, files)
            case _:
                raise NotProvided("ContainerCreating", f"volume {volume['name']}: of a kind that this node lacks")

    async def _persistent(self, namespace: str, claim: str) -> Path:
        found = await self._kube.get_object(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}")
        name = ((found or {}).get("spec") or {}).get("volumeName")
        volume = await self._kube.get_object(f"/api/v1/persistentvolumes/{name}") if name else None
        if volume is None:
            raise NotProvided("ContainerCreating", f'persistentvolumeclaim "{claim}" not bound')
        return _writable(Path(volume["spec"]["local"]["path"]))

    async def _projected(self, pod: KubeObject, source: KubeObject) -> dict[str, str]:
        metadata = pod["metadata"]
        match source:
            case {"serviceAccountToken": token}:
                account = pod["spec"]["serviceAccountName"]
                request = {
                    "apiVersion": "authentication.k8s.io/v1",
                    "kind": "TokenRequest",
                    "spec": {
                        "expirationSeconds": token.get("expirationSeconds", 3600),
                        "boundObjectRef": {
                            "apiVersion": "v1",
                            "kind": "Pod",
                            "name": metadata["name"],
                            "uid": metadata["uid"],
                        },
                    },
                }
                path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
                made = await self._kube.create_object(path, request)
                return {token["path"]: made["status"]["token"]}
            case {"configMap": reference}:
                data = await self._data("configMap", metadata["namespace"], reference)
                return {item["path"]: data[item["key"]] for item in reference["items"]}
            case {"downwardAPI": {"items": items}}:
                return {item["path"]: _field(pod, item["fieldRef"]["fieldPath"]) for item in items}
            case _:
                raise NotProvided("ContainerCreating", f"projected source {', '.join(source)}: not known to this node")

    async def _data(self, kind: str, namespace: str, reference: KubeObject) -> dict[str, str]:
        name = reference["name"]
        found = await self._kube.get_object(f"/api/v1/namespaces/{namespace}/{kind.lower()}s/{name}")
        if found is None:
            if reference.get("optional"):
                return {}
            raise _config_error(f'{kind.lower()} "{name}" not found')
        data: dict[str, str] = found.get("data") or {}
        if kind == "configMap":
            return data
        return {key: base64.b64decode(value).decode() for key, value in data.items()}


def _config_error(message: str) -> NotProvided:
    return NotProvided("CreateContainerConfigError", message)


def _writable(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    return folder


def _written(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def _field(pod: KubeObject, path: str) -> str:
    found: Any = pod
    for part in path.split("."):
        found = found[part]
    return str(found)
