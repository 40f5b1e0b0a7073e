"""Whose an object is that has a name which we derived, and what of ours is needed no more. Pure.

A name is ours because we made the object, not because we would have chosen it. An object is this LLMService's where
an owner reference has its uid. One that was orphaned (kubectl delete --cascade=orphan) has our labels with the
LLMService's name, was written by this controller, and nobody controls it: a label alone is in any copy of a manifest.
What the operator of Hearth v0.3, written in Go, made of the same LLMService is not ours yet: docs/migrate-from-go.md.
Everything else is somebody's, and is not touched.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal

from hearth.api.key import ServiceKey
from hearth.api.labels import LLMSERVICE_LABEL, MANAGED_BY
from hearth.crd_translator.storage import ACCESS_MODES
from hearth.group import API_VERSION
from hearth.kube.objects import (
    KubeObject,
    finalizers_of,
    instant,
    is_leaving,
    is_owned,
    key_of,
    labels_of,
    mappings,
    metadata,
    name_of,
    owners_of,
    texts,
)

MANAGER = "hearth-controller"
# Owns spec.replicas = 0 of a new Deployment until KEDA writes it: without an owner the API server would say 1.
CREATOR = "hearth-creator"
_PREDECESSOR = "hearth-operator"
"""The field manager of Hearth v0.3's operator."""

Standing = Literal["free", "ours", "orphan", "leaving", "foreign", "unconverted"]
"""free: there is nothing; leaving: it belonged to an earlier LLMService of this name, and is about to go; unconverted:
Hearth v0.3 made it of this LLMService."""

ObjectName = tuple[str, str]
"""(kind, name) within a namespace."""

_NAMED = 5  # objects that a message names


class NameTaken(Exception):
    """Objects that we would have to make are there, and are not ours. The text names them and says what to do."""


class PredecessorLeaving(Exception):
    """Objects of an earlier LLMService of the same name have not gone yet. `since`: when the first of them was told to,
    `kept`: whose finalizers they wait for."""

    def __init__(self, named: str, since: datetime | None, kept: Sequence[str]) -> None:
        waits = f", waiting for {', '.join(kept)}" if kept else ""
        super().__init__(f"{named} belonged to an earlier LLMService of this name and is still there{waits}")
        self.since, self.kept = since, kept


def standing(found: KubeObject | None, key: ServiceKey, uid: str) -> Standing:
    """What an object under one of our names is to the LLMService with this uid."""
    if found is None:
        return "free"
    owners = owners_of(found)
    if is_owned(found, uid):
        managers = _managers(found)
        return "unconverted" if _PREDECESSOR in managers and MANAGER not in managers else "ours"
    controller = next((owner for owner in owners if owner.get("controller")), None)
    if controller is not None:
        same = (controller.get("apiVersion"), controller.get("kind"), controller.get("name"))
        return "leaving" if same == (API_VERSION, "LLMService", key.name) else "foreign"
    if made_here(found, {LLMSERVICE_LABEL: key.name, **MANAGED_BY}):
        return "leaving" if is_leaving(found) else "orphan"
    return "foreign"


def made_here(found: KubeObject, labels: Mapping[str, str]) -> bool:
    """Whether it has these labels and this controller has written it: a label alone is in any copy of a manifest."""
    return labels.items() <= labels_of(found).items() and not _managers(found).isdisjoint((MANAGER, CREATOR))


def is_seed(found: KubeObject | None) -> bool:
    """Whether nothing but the seed of an object has been written (hearth/controller/seed.py), or not even that."""
    return found is None or MANAGER not in _managers(found)


def _managers(found: KubeObject) -> set[str]:
    """Who has written it, as the API server keeps it."""
    return {str(entry.get("manager")) for entry in mappings(metadata(found), "managedFields")}


def check_names(found: Mapping[ObjectName, KubeObject | None], key: ServiceKey, uid: str) -> None:
    """Raise NameTaken or PredecessorLeaving unless every object is ours, an orphan of ours, or not there."""
    standings = {name: standing(item, key, uid) for name, item in found.items()}
    if left := [name for name in standings if standings[name] == "unconverted"]:
        named = _listed([f"{kind} {key.namespace}/{name}" for kind, name in left])
        raise NameTaken(
            f"found {named}, made of this LLMService by the operator of Hearth v0.3; nothing is converted: "
            "docs/migrate-from-go.md says how to hand the LLMService over"
        )
    if foreign := [name for name in standings if standings[name] == "foreign"]:
        raise NameTaken(_taken(foreign, found, key))
    if leaving := [name for name in standings if standings[name] == "leaving"]:
        named = _listed([f"{kind} {key.namespace}/{name}" for kind, name in leaving])
        objects = [item for name in leaving if (item := found[name]) is not None]
        times = [when for item in objects if (when := instant(metadata(item).get("deletionTimestamp"))) is not None]
        kept = sorted({finalizer for item in objects for finalizer in finalizers_of(item)})
        raise PredecessorLeaving(named, min(times, default=None), kept)


def needless(child: KubeObject, wanted: Collection[ObjectName], strategy: str) -> bool:
    """Whether a claim or NetworkPolicy of ours is needed no more. Of Jobs prewarm.py says it.

    Of the other kinds an LLMService always has the same; one more under our owner is not made by us, and hurts nobody.

    A claim holds weights that somebody waited for. It goes with another cache strategy, or with the LLMService; never
    because another runtime, and so another vendor's claim, was chosen: a choice may be taken back in seconds.
    """
    if (child["kind"], name_of(child)) in wanted:
        return False
    if child["kind"] == "NetworkPolicy":
        return True  # whoever installed Hearth lets everybody reach engines again
    if child["kind"] != "PersistentVolumeClaim":
        return False
    return ACCESS_MODES.get(strategy) not in texts(child, "spec", "accessModes")


def _taken(foreign: Sequence[ObjectName], found: Mapping[ObjectName, KubeObject | None], key: ServiceKey) -> str:
    names = []
    for kind, name in foreign:
        owner = next((owner for owner in owners_of(found[kind, name]) if owner.get("controller")), None)
        whose = f" (of {owner.get('kind')} {owner.get('name')})" if owner is not None else ""
        names.append(f"{kind} {key.namespace}/{name}{whose}")
    return (
        f"found {_listed(names)}, not of this LLMService; nothing is written until the name is free: give the "
        "LLMService another name, or delete what is there if nobody needs it"
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def object_name(item: KubeObject) -> ObjectName:
    return item["kind"], key_of(item).name
