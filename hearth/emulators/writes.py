"""What a write does to the local API server's objects: create, replace, patch, apply, scale, delete.

The rules of the real one, without HTTP: what a client may not write is left as it was, versions and preconditions are
looked at, managedFields are kept, subresources change their own part alone. Left out: strategic merge and JSON
patches, updates that create and foreground deletion (it is done in the background). What an object and its status may
be is checked by the admission that is handed in.

https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hearth.emulators.fields import Manager, applied, conflicts, managed_fields, owners_of, readable, updated
from hearth.emulators.kinds import Kind, KindTable, KubeObject
from hearth.emulators.refusals import Refusal, already_exists, bad_request, conflict, invalid, not_found, stale
from hearth.emulators.store import ObjectStore, copied, timestamp

Admission = Callable[[Kind, KubeObject], KubeObject]
"""The object with its defaults filled in. Raises Refusal where it may not be stored."""

_SERVER_FIELDS = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")
_DELETION = ("deletionTimestamp", "deletionGracePeriodSeconds")
_SCALE_VERSION = "autoscaling/v1"


def admit_everything(kind: Kind, item: KubeObject) -> KubeObject:
    """No schema at all."""
    return item


@dataclass(frozen=True, slots=True)
class Target:
    """What a request's path names."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How it is written: the field manager's name, force of an apply, and whether it is only tried (dryRun=All).
    `may_create` is asked before an apply creates."""

    manager: str
    force: bool = False
    dry_run: bool = False
    may_create: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """metav1.DeleteOptions. `uid` and `version` are preconditions; no `grace` means the object's own."""

    uid: str | None = None
    version: str | None = None
    grace: int | None = None
    orphan: bool = False

    @classmethod
    def of(cls, body: KubeObject) -> "DeleteOptions":
        """Of the body of a request. Raises Refusal."""
        preconditions = body.get("preconditions") or {}
        grace, policy = body.get("gracePeriodSeconds"), body.get("propagationPolicy")
        if policy not in {None, "Background", "Foreground", "Orphan"}:
            raise bad_request(f"propagationPolicy: found {policy!r}; allowed: Orphan, Background, Foreground")
        if grace is not None and (not isinstance(grace, int) or grace < 0):
            raise bad_request(f"gracePeriodSeconds: found {grace!r}; expected a number of seconds")
        return cls(preconditions.get("uid"), preconditions.get("resourceVersion"), grace, policy == "Orphan")


class Writes:
    """Writes to a store as clients may do them. Every method raises Refusal."""

    def __init__(self, store: ObjectStore, kinds: KindTable, admit: Admission = admit_everything) -> None:
        self._store = store
        self._kinds = kinds
        self._admit = admit

    def create(self, target: Target, body: KubeObject, options: WriteOptions) -> KubeObject:
        """POST: 409 where the name is taken, 404 where the namespace is missing."""
        kind, namespace = target.kind, target.namespace
        item = self._read(target, body)
        metadata = item["metadata"]
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        if not metadata.get("name"):
            if not metadata.get("generateName"):
                required = "Required value: name or generateName is required"
                raise invalid(kind, "", [("FieldValueRequired", required, "metadata.name")])
            metadata["name"] = f"{metadata['generateName']}{secrets.token_hex(3)[:5]}"
        if kind.namespaced and self._store.get("namespaces", "", namespace) is None:
            raise not_found(self._kinds.named("namespaces"), namespace)
        if self._store.get(kind.resource, namespace, metadata["name"]) is not None:
            raise already_exists(kind, metadata["name"])
        for field in (*_SERVER_FIELDS, *_DELETION):
            metadata.pop(field, None)
        if kind.status:
            item.pop("status", None)
        owners = updated({}, Manager(options.manager, "Update"), {"metadata": {}}, item)
        return self._commit(kind, None, item, owners, options)

    def replace(self, target: Target, body: KubeObject, options: WriteOptions) -> KubeObject:
        """PUT: 409 where another version stands than the one that was read."""
        kind = target.kind
        live = self._live(target)
        if target.subresource == "scale":
            return self._rescale(target, live, body, options)
        item = self._read(target, body)
        self._same(target, live, item)
        if not item["metadata"].get("resourceVersion") and not kind.unconditional_update:
            cause = (
                "FieldValueInvalid",
                "Invalid value: 0x0: must be specified for an update",
                "metadata.resourceVersion",
            )
            raise invalid(kind, target.name, [cause])
        return self._update(target, live, item, options)

    def merge(self, target: Target, patch: KubeObject, options: WriteOptions) -> KubeObject:
        """PATCH with a JSON merge patch (RFC 7396)."""
        live = self._live(target)
        if target.subresource == "scale":
            return self._rescale(target, live, _merge_patched(scale_of(target.kind, live), patch), options)
        item = self._read(target, _merge_patched(live, patch))
        self._same(target, live, item)
        return self._update(target, live, item, options)

    def apply(self, target: Target, body: KubeObject, options: WriteOptions) -> KubeObject:
        """PATCH as server-side apply: 409 with every conflict where fields are others' and nothing is forced."""
        kind = target.kind
        if not options.manager:
            cause = ("FieldValueRequired", "Required value: is required for apply patch", "fieldManager")
            raise Refusal(
                422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {cause[2]}: {cause[1]}', causes=[cause]
            )
        wanted = self._read(target, body)
        if wanted["metadata"].get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        live = self._store.get(kind.resource, target.namespace, target.name)
        if live is None:
            if target.subresource:
                raise not_found(kind, target.name)
            if wanted["metadata"].get("uid") or wanted["metadata"].get("resourceVersion"):
                raise conflict(kind, target.name, "StorageError: the object does not exist, and the apply names one")
            options.may_create()
            if kind.namespaced and self._store.get("namespaces", "", target.namespace) is None:
                raise not_found(self._kinds.named("namespaces"), target.namespace)
        else:
            self._same(target, live, wanted)
        wanted = _part(kind, wanted, target.subresource)
        for field in (*_SERVER_FIELDS, *_DELETION):
            wanted["metadata"].pop(field, None)
        names = {"name": target.name} | ({"namespace": target.namespace} if kind.namespaced else {})
        base: KubeObject = live or {"apiVersion": kind.api_version, "kind": kind.name, "metadata": names}
        manager = Manager(options.manager, "Apply", target.subresource)
        owners = owners_of(base)
        if (found := conflicts(owners, manager, base, wanted)) and not options.force:
            raise _apply_failed(kind, target.name, base, found)
        item, owners = applied(owners, manager, base, wanted)
        return self._commit(kind, live, item, owners, options, status_only=target.subresource == "status")

    def delete(self, target: Target, options: DeleteOptions, *, dry_run: bool = False) -> KubeObject | None:
        """DELETE: the object where it ends only later (its grace period, its finalizers), None where it is gone."""
        kind = target.kind
        live = self._live(target)
        metadata = live["metadata"]
        if options.uid is not None and options.uid != metadata["uid"]:
            raise conflict(
                kind,
                target.name,
                f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {metadata['uid']}",
            )
        if options.version is not None and options.version != metadata["resourceVersion"]:
            raise conflict(
                kind,
                target.name,
                f"Precondition failed: ResourceVersion in precondition: {options.version}, ResourceVersion in object "
                f"meta: {metadata['resourceVersion']}",
            )
        if dry_run:
            return live
        if options.orphan:
            self._orphan(metadata["uid"])
        grace = _grace(kind, live, options.grace)
        if grace == 0 and not metadata.get("finalizers"):
            self._store.delete(kind.resource, target.namespace, target.name)
            return None
        if "deletionTimestamp" not in metadata or grace < metadata.get("deletionGracePeriodSeconds", 0):
            end = datetime.now(UTC) + timedelta(seconds=grace)
            metadata["deletionTimestamp"] = end.strftime("%Y-%m-%dT%H:%M:%SZ")
            metadata["deletionGracePeriodSeconds"] = grace
            live = self._store.put(kind.resource, live, generation=kind.generation)
        return live

    def _read(self, target: Target, body: object) -> KubeObject:
        """A body that is about what the path names, as a copy of our own."""
        kind = target.kind
        if not isinstance(body, dict) or not isinstance(body.get("metadata", {}), dict):
            raise bad_request("the body of the request is no object of the API")
        item: KubeObject = {"metadata": {}, **copied(body)}
        for field, expected in (("apiVersion", kind.api_version), ("kind", kind.name)):
            if item.get(field) != expected:
                raise bad_request(f"{field}: found {item.get(field)!r}; the path is that of {expected!r}")
        metadata = item["metadata"]
        if kind.namespaced and metadata.setdefault("namespace", target.namespace) != target.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        if not kind.namespaced:
            metadata.pop("namespace", None)
        if target.name and metadata.setdefault("name", target.name) != target.name:
            raise bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({target.name})"
            )
        return item

    def _live(self, target: Target) -> KubeObject:
        found = self._store.get(target.kind.resource, target.namespace, target.name)
        if found is None:
            raise not_found(target.kind, target.name)
        return found

    def _same(self, target: Target, live: KubeObject, item: KubeObject) -> None:
        """The object that was read is the one that stands, as far as the writer says which it was."""
        said, stands = item["metadata"], live["metadata"]
        if said.get("uid", stands["uid"]) != stands["uid"]:
            why = f"Precondition failed: UID in precondition: {said['uid']}, UID in object meta: {stands['uid']}"
            raise conflict(target.kind, target.name, why)
        if said.get("resourceVersion") and said["resourceVersion"] != stands["resourceVersion"]:
            raise stale(target.kind, target.name)

    def _update(self, target: Target, live: KubeObject, item: KubeObject, options: WriteOptions) -> KubeObject:
        """Write what an Update may change."""
        kind = target.kind
        if target.subresource == "status":
            new = {**live, "status": item.get("status") or {}}
        else:
            new = {**item, "status": live["status"]} if kind.status and "status" in live else item
            if kind.status and "status" not in live:
                new.pop("status", None)
            stands = live["metadata"]
            for field in (*_SERVER_FIELDS, *_DELETION):
                new["metadata"].pop(field, None)
                if field in stands:
                    new["metadata"][field] = stands[field]
        owners = updated(owners_of(live), Manager(options.manager, "Update", target.subresource), live, new)
        return self._commit(kind, live, new, owners, options, status_only=target.subresource == "status")

    def _rescale(self, target: Target, live: KubeObject, scale: KubeObject, options: WriteOptions) -> KubeObject:
        """Write through the scale subresource: the replicas, and nothing else."""
        kind = target.kind
        assert kind.scale is not None
        replicas = (scale.get("spec") or {}).get("replicas", 0)
        if not isinstance(replicas, int) or replicas < 0:
            cause = (
                "FieldValueInvalid",
                f"Invalid value: {replicas!r}: must be greater than or equal to 0",
                "spec.replicas",
            )
            raise invalid(kind, target.name, [cause])
        said = (scale.get("metadata") or {}).get("resourceVersion")
        if said and said != live["metadata"]["resourceVersion"]:
            raise stale(kind, target.name)
        new = copied(live)
        at = new
        for step in kind.scale[:-1]:
            at = at.setdefault(step, {})
        at[kind.scale[-1]] = replicas
        owners = updated(owners_of(live), Manager(options.manager, "Update", "scale"), live, new)
        return scale_of(kind, self._commit(kind, live, new, owners, options))

    def _commit(
        self,
        kind: Kind,
        live: KubeObject | None,
        item: KubeObject,
        owners: dict[Manager, frozenset[tuple[str, ...]]],
        options: WriteOptions,
        *,
        status_only: bool = False,
    ) -> KubeObject:
        """Check and store; an object that ends and that nobody holds any more goes."""
        if not status_only:
            _default(kind, item)
        item = self._admit(kind, item)
        if live is not None:
            causes = [
                ("FieldValueInvalid", "Invalid value: field is immutable", ".".join(path))
                for path in kind.immutable
                if _at(live, path) != _at(item, path)
            ]
            if causes:
                raise invalid(kind, item["metadata"]["name"], causes)
        metadata = item["metadata"]
        before = (live or item)["metadata"].get("managedFields") or []
        metadata["managedFields"] = managed_fields(owners, before, kind.api_version, timestamp())
        if options.dry_run:
            return item
        stored = self._store.put(kind.resource, item, generation=kind.generation)
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers") and not kind.graceful:
            self._store.delete(kind.resource, metadata.get("namespace", ""), metadata["name"])
        return stored

    def _orphan(self, uid: str) -> None:
        """Let what has this owner live on without it."""
        for kind in self._kinds.kinds:
            for item in self._store.find(kind.resource):
                references = item["metadata"].get("ownerReferences") or []
                kept = [reference for reference in references if reference["uid"] != uid]
                if kept != references:
                    item["metadata"]["ownerReferences"] = kept
                    self._store.put(kind.resource, item, generation=kind.generation)


def scale_of(kind: Kind, item: KubeObject) -> KubeObject:
    """The Scale of an object that has one."""
    assert kind.scale is not None
    metadata, status = item["metadata"], item.get("status") or {}
    labels = ((item.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    selector = status.get("selector") or ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": _SCALE_VERSION,
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": _at(item, kind.scale) or 0},
        "status": {"replicas": status.get("replicas", 0), "selector": selector},
    }


def _part(kind: Kind, wanted: KubeObject, subresource: str) -> KubeObject:
    """What an apply to this subresource, or to the object itself, can say."""
    if subresource == "status":
        names = {field: wanted["metadata"][field] for field in ("name", "namespace") if field in wanted["metadata"]}
        said = {"status": wanted["status"]} if "status" in wanted else {}
        return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": names, **said}
    return {field: value for field, value in wanted.items() if field != "status" or not kind.status}


def _apply_failed(kind: Kind, name: str, base: KubeObject, found: list[Any]) -> Refusal:
    causes = []
    for one in found:
        using = f' with subresource "{one.manager.subresource}"' if one.manager.subresource else ""
        said = f'conflict with "{one.manager.name}"{using} using {base["apiVersion"]}'
        causes.append(("FieldManagerConflict", said, readable(one.path)))
    plural = "conflict" if len(causes) == 1 else "conflicts"
    lines = "; ".join(f"{said}: {path}" for _, said, path in causes)
    return Refusal(409, "Conflict", f"Apply failed with {len(causes)} {plural}: {lines}", kind, name, causes)


def _default(kind: Kind, item: KubeObject) -> None:
    """The defaults of built-in kinds that somebody here looks at."""
    spec = item.setdefault("spec", {}) if kind.resource in {"deployments", "pods"} else None
    if not isinstance(spec, dict):
        return  # admission refuses it
    name, value = ("replicas", 1) if kind.resource == "deployments" else ("terminationGracePeriodSeconds", 30)
    if spec.get(name) is None:
        spec[name] = value
    if kind.resource == "pods":
        item.setdefault("status", {"phase": "Pending"})


def _grace(kind: Kind, live: KubeObject, asked: int | None) -> int:
    """The seconds until an object is gone: pods alone have any, and only those that a node runs."""
    phase = (live.get("status") or {}).get("phase")
    if not kind.graceful or not live["spec"].get("nodeName") or phase in {"Succeeded", "Failed"}:
        return 0
    return int(live["spec"].get("terminationGracePeriodSeconds", 30)) if asked is None else asked


def _merge_patched(value: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for name, change in patch.items():
        if change is None:
            result.pop(name, None)
        else:
            result[name] = _merge_patched(result.get(name), change)
    return result


def _at(item: KubeObject, path: tuple[str, ...]) -> Any:
    value: Any = item
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value
