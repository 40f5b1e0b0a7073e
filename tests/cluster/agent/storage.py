"""A StorageClass and who provides for it: a folder for each claim, on the node that the scheduler chose.

As local provisioners do it (https://kubernetes.io/docs/concepts/storage/storage-classes/#local): the volume is bound
to its node, so that what the scheduler may do with a claim is what it may do in a cluster.
"""

import asyncio
from pathlib import Path

from hearth.kube.client import KubeClient, KubeObject
from hearth.kube.informer import Informer, ObjectKey

PROVISIONER = "tests.hearth.dev/folder"
CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": PROVISIONER,
    "volumeBindingMode": "WaitForFirstConsumer",
    "reclaimPolicy": "Delete",
}


class Storage:
    """Makes volumes for claims, and takes away those whose claim is gone."""

    def __init__(self, kube: KubeClient, folder: Path) -> None:
        self._kube = kube
        self._folder = folder
        self._work: asyncio.Queue[tuple[str, KubeObject]] = asyncio.Queue()
        claims, volumes = "/api/v1/persistentvolumeclaims", "/api/v1/persistentvolumes"
        self._informers = [Informer(kube, claims, self._claim_changed), Informer(kube, volumes, self._volume_changed)]

    async def run(self) -> None:
        """Serve until cancelled. Raises KubeError."""
        await self._kube.apply_object("/apis/storage.k8s.io/v1/storageclasses/standard", CLASS, "hearth-tests")
        async with asyncio.TaskGroup() as group:
            for informer in self._informers:
                group.create_task(informer.run())
            while True:
                path, item = await self._work.get()
                if item["kind"] == "PersistentVolume":
                    await self._kube.apply_object(path, item, "hearth-tests")
                else:
                    await self._kube.delete_object(path, item["uid"])

    def _claim_changed(self, key: ObjectKey, item: KubeObject | None) -> None:
        if item is None or item["spec"].get("volumeName"):
            return
        annotations = item["metadata"].get("annotations") or {}
        node = annotations.get("volume.kubernetes.io/selected-node")
        if node is None or annotations.get("volume.kubernetes.io/storage-provisioner") != PROVISIONER:
            return
        uid = item["metadata"]["uid"]
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"pvc-{uid}", "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
            "spec": {
                "capacity": item["spec"]["resources"]["requests"],
                "accessModes": item["spec"]["accessModes"],
                "storageClassName": "standard",
                "persistentVolumeReclaimPolicy": "Delete",
                "local": {"path": str(self._folder / f"pvc-{uid}")},
                "claimRef": {"namespace": key[0], "name": key[1], "uid": uid},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [_on(node)]}]}},
            },
        }
        self._work.put_nowait((f"/api/v1/persistentvolumes/pvc-{uid}", volume))

    def _volume_changed(self, key: ObjectKey, item: KubeObject | None) -> None:
        if item is not None and (item.get("status") or {}).get("phase") == "Released":
            gone = {"kind": "gone", "uid": item["metadata"]["uid"]}
            self._work.put_nowait((f"/api/v1/persistentvolumes/{key[1]}", gone))


def _on(node: str) -> KubeObject:
    return {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
