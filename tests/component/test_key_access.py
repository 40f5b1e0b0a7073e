"""Keys on the local API server with the rights of deploy/: what the controller lets activators read, and what they then
read, with the rule that nobody gives a right which he has not."""

import asyncio
import contextlib
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from hearth.activator.errors import ApiError
from hearth.activator.keyring import Keyring, KeySource
from hearth.activator.keywatch import KeyWatch
from hearth.api.key import ServiceKey
from hearth.controller.keys import ACCESS
from hearth.emulators.writes import DeleteOptions, Target
from hearth.kube.client import KubeClient
from hearth.kube.errors import Forbidden
from tests.component.cluster import NAME, NAMESPACE, PATIENCE, World, world

KEYS = "spec.endpoint.authentication={secretRef: {name: hearth-api-keys}}"
SECRET = f"/api/v1/namespaces/{NAMESPACE}/secrets"
BY_NAME = "metadata.name=hearth-api-keys"


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


def put_secret(one: World, keys: str, name: str = "hearth-api-keys") -> None:
    about = {"name": name, "namespace": NAMESPACE}
    data = {"keys": b64encode(keys.encode()).decode()}
    one.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": about, "data": data})


def delete(one: World, resource: str, name: str) -> None:
    one.cluster.writes.delete(Target(one.cluster.kinds.named(resource), NAMESPACE, name), DeleteOptions())


async def told(one: World, reason: str, name: str = NAME) -> Any:
    return await one.until(lambda: (c := one.condition("KeysReady", name)).get("reason") == reason and c, reason)


@contextlib.asynccontextmanager
async def account(one: World, role: str) -> AsyncIterator[KubeClient]:
    kube = await KubeClient.connect(one.cluster.kubeconfig(role))
    try:
        yield kube
    finally:
        await kube.close()


async def opened(ring: Keyring, key: str, expected: int) -> None:
    """Wait until a key is answered so."""
    async with asyncio.timeout(PATIENCE):
        while (found := _status(ring, key)) != expected:
            await asyncio.sleep(0.02)  # a Secret's way through a watch tells nobody here of its end
        assert found == expected


def _status(ring: Keyring, key: str) -> int:
    try:
        ring.admit(ServiceKey(NAMESPACE, NAME), {b"x-api-key": key.encode()})
    except ApiError as error:
        return error.status
    return 200


class TestTheRight:
    async def test_it_is_there_while_somebody_needs_it(self, one: World) -> None:
        async with account(one, "activator") as kube:
            with pytest.raises(Forbidden):
                await kube.list_objects(SECRET, field_selector=BY_NAME)
            one.apply(KEYS)
            one.apply(KEYS, name="llama")
            await one.until(lambda: len(owners(one, "rolebindings")) == 2, "a RoleBinding of both")
            put_secret(one, "key-of-alice")
            assert len((await kube.list_objects(SECRET, field_selector=BY_NAME)).items) == 1
            for path, by_name in ((SECRET, ""), (SECRET, "metadata.name=database"), ("/api/v1/secrets", BY_NAME)):
                with pytest.raises(Forbidden):
                    await kube.list_objects(path, field_selector=by_name)
            delete(one, "llmservices", "llama")
            await one.until(lambda: len(owners(one, "roles")) == 1, "one owner less")
            one.apply()
            await one.until(lambda: not one.items("roles") and not one.items("rolebindings"), "nobody needs it")
            with pytest.raises(Forbidden):
                await kube.list_objects(SECRET, field_selector=BY_NAME)

    async def test_it_goes_with_the_last_service(self, one: World) -> None:
        one.apply(KEYS)
        await one.until(lambda: one.get("rolebindings", ACCESS), "a RoleBinding")
        delete(one, "llmservices", NAME)
        await one.until(lambda: not one.items("roles") and not one.items("rolebindings"), "both gone")

    async def test_what_somebody_edits_is_put_back(self, one: World) -> None:
        one.apply(KEYS)
        await one.until(lambda: owners(one, "rolebindings"), "a RoleBinding")
        role = one.get("roles", ACCESS)
        rules = role["rules"]
        one.store.put("roles", {**role, "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}]})
        await one.until(lambda: one.get("roles", ACCESS)["rules"] == rules, "the rules put back")
        delete(one, "rolebindings", ACCESS)
        await one.until(lambda: owners(one, "rolebindings"), "another one")

    async def test_a_role_of_somebody_else_is_not_touched(self, one: World) -> None:
        theirs = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": []}
        one.cluster.apply({**theirs, "metadata": {"name": ACCESS, "namespace": NAMESPACE}})
        one.apply(KEYS)
        message = (await told(one, "KeysNotAllowed"))["message"]
        assert f"found Role {NAMESPACE}/{ACCESS}, not of Hearth" in message
        assert one.get("roles", ACCESS)["rules"] == []
        await one.until(lambda: one.get("deployments"), "and the rest is made")

    async def test_the_controller_gives_no_right_that_it_has_not(self, one: World) -> None:
        rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": ACCESS}}
        roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/roles"
        one.apply()
        async with account(one, "controller") as kube:
            for names in ([], ["database"]):
                with pytest.raises(Forbidden, match="attempting to grant RBAC permissions not currently held"):
                    await kube.create_object(roles, {**role, "rules": [{**rule, "resourceNames": names}]})
            for verb in ("get", "*"):
                wanted = {**rule, "verbs": [verb], "resourceNames": ["hearth-api-keys"]}
                with pytest.raises(Forbidden):
                    await kube.create_object(roles, {**role, "rules": [wanted]})


def owners(one: World, resource: str) -> list[Any]:
    return (one.get(resource, ACCESS) or {"metadata": {}})["metadata"].get("ownerReferences") or []


class TestWhatIsTold:
    async def test_a_secret_that_comes_changes_and_goes(self, one: World) -> None:
        one.apply(KEYS)
        message = (await told(one, "KeysNotFound"))["message"]
        assert "kubectl create secret generic hearth-api-keys -n ai --from-file=keys=FILE" in message
        await one.until(lambda: one.condition("Ready").get("reason") == "KeysNotFound", "Ready says so too")
        put_secret(one, "alice=key-of-alice\nbob=key-of-bob")
        assert "2 keys" in (await told(one, "KeysFound"))["message"]
        await one.until(lambda: one.condition("Ready").get("reason") != "KeysNotFound", "and says so no more")
        put_secret(one, "alice=key-of-alice\nshort")
        assert "line 2: a key of 5 bytes" in (await told(one, "KeysUnreadable"))["message"]
        delete(one, "secrets", "hearth-api-keys")
        await told(one, "KeysNotFound")
        one.apply()
        await one.until(lambda: not one.condition("KeysReady"), "without keys there is nothing to say")

    async def test_a_secret_of_another_name_is_not_read(self, one: World) -> None:
        put_secret(one, "key-of-alice", "database")
        one.apply(KEYS.replace("hearth-api-keys", "database"))
        assert "may be let read hearth-api-keys alone" in (await told(one, "KeysNotAllowed"))["message"]
        assert one.items("roles") == []


@contextlib.asynccontextmanager
async def watching(one: World, ring: Keyring) -> AsyncIterator[Callable[[float], Any]]:
    async with account(one, "activator") as kube:
        watch = KeyWatch(kube, ring)
        watch.start()
        try:
            yield watch.settled
        finally:
            await watch.stop()


class TestTheActivator:
    async def test_a_secret_that_is_not_there_is_in_the_log(self, one: World, caplog: pytest.LogCaptureFixture) -> None:
        one.apply(KEYS)
        await one.until(lambda: owners(one, "rolebindings"), "a RoleBinding")
        ring = Keyring(KeySource(NAMESPACE, "hearth-api-keys", "keys"))
        async with watching(one, ring) as settled:
            await settled(PATIENCE)
            put_secret(one, "key-of-alice")
            await opened(ring, "key-of-alice", 200)
        told = [
            (each.levelname, each.message) for each in caplog.records if "Secret of API keys is not" in each.message
        ]
        assert told == [("WARNING", "a Secret of API keys is not there")]
        assert "key-of-alice" not in caplog.text

    async def test_keys_reach_it_and_leave_it_without_a_restart(self, one: World) -> None:
        put_secret(one, "key-of-alice")
        ring = Keyring()
        async with watching(one, ring):
            ring.put_service(ServiceKey(NAMESPACE, NAME), KeySource(NAMESPACE, "hearth-api-keys", "keys"))
            assert _status(ring, "key-of-alice") == 503, "there is no right yet"
            one.apply(KEYS)
            await opened(ring, "key-of-alice", 200)
            put_secret(one, "key-of-bob-2")
            await opened(ring, "key-of-alice", 401)
            assert _status(ring, "key-of-bob-2") == 200
            delete(one, "secrets", "hearth-api-keys")
            await opened(ring, "key-of-bob-2", 503)
            put_secret(one, "key-of-bob-2")
            await opened(ring, "key-of-bob-2", 200)
            ring.remove_service(ServiceKey(NAMESPACE, NAME))
            assert ring.wanted == set()

    async def test_a_hundred_secrets_leave_a_connection_for_others(self, one: World) -> None:
        """Each is a watch, and each watch a connection: the client's pool must not end at a hundred."""
        ring = Keyring()
        for number in range(120):
            ring.put_service(ServiceKey(NAMESPACE, f"qwen-{number}"), KeySource(NAMESPACE, f"keys-{number}", "keys"))
        rights = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "many", "namespace": NAMESPACE}}
        rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]}
        one.cluster.apply({**rights, "kind": "Role", "rules": [rule]})
        subject = {"kind": "ServiceAccount", "name": "hearth-activator", "namespace": "hearth-system"}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "many"}
        one.cluster.apply({**rights, "kind": "RoleBinding", "roleRef": role, "subjects": [subject]})
        async with watching(one, ring) as settled:
            async with asyncio.timeout(PATIENCE):
                await settled(PATIENCE)
            ring.put_service(ServiceKey(NAMESPACE, NAME), KeySource(NAMESPACE, "hearth-api-keys", "keys"))
            put_secret(one, "key-of-alice")
            await opened(ring, "key-of-alice", 200)
