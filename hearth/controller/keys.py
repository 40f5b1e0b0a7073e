"""Who may read which Secret of API keys, and what is said of one: pure.

Activators have no right on Secrets but what a Role in a namespace gives them, by name: it is there while an LLMService
of that namespace needs it. Who grants a right must have it (https://kubernetes.io/docs/reference/access-authn-authz/rbac/,
privilege escalation prevention), so that the controller has it too, for a few names that the admin has given it, and
for no other Secret. Of a Secret the controller keeps how many keys it has, and no key.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from hearth.api.key import ServiceKey
from hearth.api.keys import DEFAULT_KEYS_ENTRY, DEFAULT_KEYS_SECRET, MIN_KEY_BYTES, read_value
from hearth.api.labels import MANAGED_BY
from hearth.api.reasons import ReasonName, place
from hearth.controller.verdict import Verdict
from hearth.kube.kinds import LLMSERVICE, ROLE, ROLE_BINDING
from hearth.kube.objects import (
    KubeObject,
    is_leaving,
    key_of,
    labels_of,
    mapping,
    number,
    owners_of,
    text,
    texts,
    uid_of,
)

ACCESS = "hearth-api-keys"
"""The name of the Role and of the RoleBinding in each namespace that needs them."""

_MOST_OWNERS = 50
"""They go when all of their owners are gone; the controller puts others in the place of those that go."""
_NAMED = 3  # lines, or entries, that a message names


class KeysUse(NamedTuple):
    """An LLMService's uid, and where its keys are: a Secret of its namespace and an entry of it."""

    uid: str
    secret: str
    entry: str


class KeyUsers:
    """Which LLMServices of a namespace have keys, so that a look at one needs no walk through all."""

    def __init__(self) -> None:
        self._uses: defaultdict[str, dict[str, KeysUse]] = defaultdict(dict)

    def put(self, service: ServiceKey, item: KubeObject | None) -> None:
        """Take an LLMService as it is now; None: it is gone."""
        reference = mapping(item, "spec", "endpoint", "authentication", "secretRef")
        if item is None or is_leaving(item) or not (secret := text(reference, "name")):
            self._uses[service.namespace].pop(service.name, None)
            if not self._uses[service.namespace]:
                del self._uses[service.namespace]
            return
        use = KeysUse(uid_of(item), secret, text(reference, "key") or DEFAULT_KEYS_ENTRY)
        self._uses[service.namespace][service.name] = use

    def of(self, namespace: str) -> Mapping[str, KeysUse]:
        """By the LLMServices' names."""
        return self._uses.get(namespace, {})

    def use(self, service: ServiceKey) -> KeysUse | None:
        """That of one LLMService; None where it has no keys."""
        return self.of(service.namespace).get(service.name)


@dataclass(frozen=True, slots=True)
class KeyAccess:
    """Whom to let read what: the activators' account (namespace, name), and the names of Secrets that may be read."""

    account: tuple[str, str]
    secrets: tuple[str, ...] = (DEFAULT_KEYS_SECRET,)

    def objects(self, namespace: str, uses: Mapping[str, KeysUse]) -> tuple[KubeObject, KubeObject] | None:
        """The Role and the RoleBinding of a namespace; None where it needs none."""
        allowed = {name: use for name, use in sorted(uses.items()) if use.secret in self.secrets}
        if not allowed:
            return None
        owners = [
            {**LLMSERVICE.names, "name": name, "uid": use.uid} for name, use in list(allowed.items())[:_MOST_OWNERS]
        ]
        about = {"name": ACCESS, "namespace": namespace, "labels": dict(MANAGED_BY), "ownerReferences": owners}
        rule = {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": sorted({use.secret for use in allowed.values()}),
            "verbs": ["list", "watch"],
        }
        account_namespace, account_name = self.account
        role = {**ROLE.names, "metadata": about, "rules": [rule]}
        binding = {
            **ROLE_BINDING.names,
            "metadata": about,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCESS},
            "subjects": [{"kind": "ServiceAccount", "name": account_name, "namespace": account_namespace}],
        }
        return role, binding


def access_seed(wanted: KubeObject) -> KubeObject:
    """What to create for a Role or a RoleBinding: who creates it owns that for ever, so that nothing is in it which may
    go again."""
    names = {name: wanted["metadata"][name] for name in ("name", "namespace", "labels")}
    made: KubeObject = {"apiVersion": wanted["apiVersion"], "kind": wanted["kind"], "metadata": names}
    return made | {name: wanted[name] for name in ("roleRef",) if name in wanted}


def differs(found: KubeObject, wanted: KubeObject) -> bool:
    """Whether somebody has to write it."""
    parts = ("rules", "roleRef", "subjects")
    owners = {owner.get("uid") for owner in owners_of(found) if owner.get("kind") == LLMSERVICE.name}
    return (
        any(found.get(part) != wanted.get(part) for part in parts if part in wanted)
        or owners != {owner["uid"] for owner in wanted["metadata"]["ownerReferences"]}
        or not MANAGED_BY.items() <= labels_of(found).items()
    )


def counted(secret: KubeObject) -> KubeObject:
    """What stays here of a Secret: of each entry how many keys it has, and what is wrong with its lines."""
    key = key_of(secret)
    entries = {}
    for name, value in mapping(secret, "data").items():
        read = read_value(value)
        entries[name] = {"keys": len(read.keys), "problems": list(read.problems)}
    return {"metadata": {"namespace": key.namespace, "name": key.name}, "entries": entries}


def keys_verdict(
    namespace: str, use: KeysUse, access: KeyAccess, found: KubeObject | None, *, looked: bool, refused: str | None
) -> Verdict:
    """The condition KeysReady. `found` is the Secret, `counted`; `looked`: it has been looked for; `refused`: why
    activators could not be let read it."""
    where = f"Secret {namespace}/{use.secret}"
    if use.secret not in access.secrets:
        return _closed(
            "KeysNotAllowed",
            f"{where}: activators may be let read {', '.join(access.secrets)} alone, so that no request is let in: "
            "give the Secret such a name, or have the admin add this one (docs/how-to/api-keys.md)",
        )
    if refused is not None:
        return _closed("KeysNotAllowed", f"{where}: activators could not be let read it: {refused}")
    if not looked:
        return _closed("KeysNotSeen", f"{where} has not been looked for yet")
    if found is None:
        return _closed(
            "KeysNotFound",
            f"{where} is not there, so that no request is let in: kubectl create secret generic {use.secret} "
            f"-n {namespace} --from-file={use.entry}=FILE, with one key a line, of {MIN_KEY_BYTES} bytes or more",
        )
    entries = mapping(found, "entries")
    if use.entry not in entries:
        there = ", ".join(sorted(entries)[:_NAMED]) or "none"
        return _closed(
            "KeysNotFound", f"{where} has no entry {use.entry}, so that no request is let in; entries: {there}"
        )
    keys, problems = number(entries, use.entry, "keys"), texts(entries, use.entry, "problems")
    told = "; ".join(problems[:_NAMED]) + (f" and {len(problems) - _NAMED} more" if len(problems) > _NAMED else "")
    if not keys:
        return _closed(
            "KeysNotFound", f"{where}, entry {use.entry}, has no key, so that no request is let in; {told}".rstrip("; ")
        )
    if problems:
        return Verdict("KeysReady", False, "KeysUnreadable", f"{where}, entry {use.entry}: {keys} keys; {told}")
    return Verdict("KeysReady", True, "KeysFound", f"{where}, entry {use.entry}: {keys} key{'s' * (keys != 1)}")


def _closed(reason: ReasonName, message: str) -> Verdict:
    return Verdict("KeysReady", False, reason, message)


def with_keys(found: Collection[Verdict], keys: Verdict | None) -> list[Verdict]:
    """The conditions with that of the keys; Ready is false where it lets nobody in, and says so unless what it says is
    worse."""
    if keys is None:
        return list(found)
    closed = not keys.status and keys.reason != "KeysUnreadable"
    return [
        *(
            Verdict("Ready", False, keys.reason, keys.message)
            if closed and verdict.type == "Ready" and (verdict.status or place(keys.reason) < place(verdict.reason))
            else verdict
            for verdict in found
        ),
        keys,
    ]
