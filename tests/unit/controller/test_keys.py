"""Who may read which Secret of API keys, and what is said of it."""

from base64 import b64encode
from typing import Any

import pytest

from hearth.api.key import ServiceKey
from hearth.api.labels import MANAGED_BY
from hearth.controller.keys import (
    ACCESS,
    KeyAccess,
    KeysUse,
    KeyUsers,
    access_seed,
    counted,
    differs,
    keys_verdict,
    with_keys,
)
from hearth.controller.ownership import made_here
from hearth.controller.verdict import Verdict
from tests.builders import llmservice_manifest

QWEN, LLAMA = ServiceKey("ai", "qwen"), ServiceKey("ai", "llama")
ACCOUNT = KeyAccess(("hearth-system", "hearth-activator"))
USE = KeysUse("uid-qwen", "hearth-api-keys", "keys")
KEYS = "spec.endpoint.authentication={secretRef: {name: hearth-api-keys}}"


def service(*assignments: str, name: str = "qwen", **metadata: Any) -> dict[str, Any]:
    item = llmservice_manifest(name, "ai", *assignments)
    item["metadata"] |= {"uid": f"uid-{name}", **metadata}
    return item


def secret(**entries: str) -> dict[str, Any]:
    data = {name: b64encode(text.encode()).decode() for name, text in entries.items()}
    return {"metadata": {"name": "hearth-api-keys", "namespace": "ai"}, "data": data}


def verdict(found: dict[str, Any] | None, use: KeysUse = USE, **more: Any) -> Verdict:
    seen = counted(found) if found is not None else None
    return keys_verdict("ai", use, ACCOUNT, seen, **{"looked": True, "refused": None, **more})


class TestUsers:
    def test_those_that_have_keys(self) -> None:
        users = KeyUsers()
        users.put(QWEN, service(KEYS))
        users.put(LLAMA, service(name="llama"))
        assert users.of("ai") == {"qwen": USE}
        assert (users.use(QWEN), users.use(LLAMA)) == (USE, None)
        users.put(LLAMA, service(KEYS.replace("}}", ", key: mine}}"), name="llama"))
        assert users.use(LLAMA) == KeysUse("uid-llama", "hearth-api-keys", "mine")

    @pytest.mark.parametrize(
        "gone", [None, service(), service(KEYS, deletionTimestamp="2026-01-01T00:00:00Z"), {"spec": {"endpoint": 7}}]
    )
    def test_until_they_have_none(self, gone: Any) -> None:
        users = KeyUsers()
        users.put(QWEN, service(KEYS))
        users.put(QWEN, gone)
        assert users.of("ai") == {}


class TestAccess:
    def test_a_role_by_name_for_the_activators(self) -> None:
        made = ACCOUNT.objects("ai", {"qwen": USE, "llama": USE._replace(uid="uid-llama")})
        assert made is not None
        role, binding = made
        assert role["rules"] == [
            {
                "apiGroups": [""],
                "resources": ["secrets"],
                "resourceNames": ["hearth-api-keys"],
                "verbs": ["list", "watch"],
            }
        ]
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": "hearth-activator", "namespace": "hearth-system"}
        ]
        assert binding["roleRef"]["name"] == role["metadata"]["name"] == ACCESS
        assert [owner["uid"] for owner in role["metadata"]["ownerReferences"]] == ["uid-llama", "uid-qwen"]
        assert not any(owner.get("controller") for owner in role["metadata"]["ownerReferences"])

    def test_of_no_secret_that_the_controller_may_not_read_itself(self) -> None:
        assert ACCOUNT.objects("ai", {"qwen": USE._replace(secret="database")}) is None
        assert ACCOUNT.objects("ai", {}) is None
        made = ACCOUNT.objects("ai", {"qwen": USE, "llama": USE._replace(secret="database", uid="uid-llama")})
        assert made is not None
        assert made[0]["rules"][0]["resourceNames"] == ["hearth-api-keys"]
        assert [owner["name"] for owner in made[0]["metadata"]["ownerReferences"]] == ["qwen"]

    def test_a_thousand_services_are_no_thousand_owners(self) -> None:
        made = ACCOUNT.objects("ai", {f"qwen-{n}": USE._replace(uid=f"uid-{n}") for n in range(1000)})
        assert made is not None
        assert len(made[0]["metadata"]["ownerReferences"]) == 50

    def test_a_seed_has_nothing_that_may_go(self) -> None:
        made = ACCOUNT.objects("ai", {"qwen": USE})
        assert made is not None
        role, binding = map(access_seed, made)
        assert set(role) == {"apiVersion", "kind", "metadata"}
        assert set(binding) == {"apiVersion", "kind", "metadata", "roleRef"}
        assert set(role["metadata"]) == {"name", "namespace", "labels"}

    @pytest.mark.parametrize(
        "edit",
        [
            {"rules": []},
            {"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]}]},
            {"metadata": {"ownerReferences": []}},
            {"metadata": {"labels": {}}},
        ],
    )
    def test_what_somebody_edits_differs(self, edit: dict[str, Any]) -> None:
        made = ACCOUNT.objects("ai", {"qwen": USE})
        assert made is not None
        role, _ = made
        assert not differs(role, role)
        assert differs({**role, **edit, "metadata": {**role["metadata"], **edit.get("metadata", {})}}, role)

    def test_a_copy_with_our_label_is_not_ours(self) -> None:
        labels = {"app.kubernetes.io/managed-by": "hearth"}
        entry = {"manager": "hearth-controller", "operation": "Apply"}
        assert made_here({"metadata": {"labels": labels, "managedFields": [entry]}}, MANAGED_BY)
        assert not made_here({"metadata": {"labels": labels, "managedFields": [{"manager": "kubectl"}]}}, MANAGED_BY)
        assert not made_here({"metadata": {"managedFields": [entry]}}, MANAGED_BY)


class TestWhatIsSaid:
    @pytest.mark.parametrize(
        ("found", "reason", "says"),
        [
            (None, "KeysNotFound", "kubectl create secret generic hearth-api-keys -n ai --from-file=keys=FILE"),
            (
                secret(other="key-of-alice"),
                "KeysNotFound",
                "has no entry keys, so that no request is let in; entries: other",
            ),
            (secret(), "KeysNotFound", "entries: none"),
            (secret(keys="# none"), "KeysNotFound", "has no key"),
            (secret(keys="short"), "KeysNotFound", "line 1: a key of 5 bytes"),
            (secret(keys="key-of-alice\nshort"), "KeysUnreadable", "1 keys; line 2: a key of 5 bytes"),
            (secret(keys="key-of-alice\n" + "x\n" * 9), "KeysUnreadable", "and 6 more"),
            (secret(keys="a=key-of-alice\nb=key-of-bob"), "KeysFound", "2 keys"),
            ({"metadata": {"name": "x"}, "data": {"keys": "ä"}}, "KeysNotFound", "has no key"),
            ({"metadata": {"name": "x"}, "data": {"keys": 7}}, "KeysNotFound", "has no key"),
        ],
    )
    def test_of_a_secret(self, found: Any, reason: str, says: str) -> None:
        told = verdict(found)
        assert told.reason == reason
        assert says in told.message
        assert told.status is (reason == "KeysFound")
        assert "key-of" not in told.message

    def test_of_one_that_may_not_be_read(self) -> None:
        told = verdict(None, USE._replace(secret="database"))
        assert (told.reason, told.status) == ("KeysNotAllowed", False)
        assert "hearth-api-keys alone" in told.message
        assert verdict(None, refused="403: no").reason == "KeysNotAllowed"
        assert verdict(None, looked=False).reason == "KeysNotSeen"

    def test_what_stays_of_a_secret_has_no_key(self) -> None:
        kept = counted(secret(keys="alice=key-of-alice\nshort"))
        assert "key-of-alice" not in repr(kept)
        assert kept["entries"]["keys"]["keys"] == 1

    def test_ready_is_false_where_nobody_is_let_in(self) -> None:
        ready = Verdict("Ready", True, "ScaledToZero", "the first request starts a replica")
        found = with_keys([ready], verdict(None))
        assert [(each.type, each.status, each.reason) for each in found] == [
            ("Ready", False, "KeysNotFound"),
            ("KeysReady", False, "KeysNotFound"),
        ]
        found = with_keys([ready], verdict(secret(keys="key-of-alice\nshort")))
        assert found[0] is ready
        assert with_keys([ready], None) == [ready]
        unseen = Verdict("Ready", False, "NotSeen", "KEDA has not looked yet")
        assert with_keys([unseen], verdict(None))[0].reason == "KeysNotFound"
        refused = Verdict("Ready", False, "Refused", "no")
        assert with_keys([refused], verdict(None))[0] is refused
