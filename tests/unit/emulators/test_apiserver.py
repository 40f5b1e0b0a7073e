"""The local API server's contract: what the real one answers, as its documentation and its sources have it.

https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

import json
from collections.abc import Iterator
from typing import Any, Protocol

import pytest
from starlette.testclient import TestClient

from hearth.emulators.apiserver import ApiOptions, Place, Watches, create_api, place_of
from hearth.emulators.kinds import KINDS, Kind, KindTable, KubeObject
from hearth.emulators.rbac import ADMIN, Accounts, Rbac, account
from hearth.emulators.refusals import invalid
from hearth.emulators.store import ObjectStore

APPS = "/apis/apps/v1/namespaces/ai/deployments"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/ai/leases"
SERVICES = "/apis/serving.hearth.dev/v1alpha1/namespaces/ai/llmservices"
APPLY = {"content-type": "application/apply-patch+yaml"}
MERGE = {"content-type": "application/merge-patch+json"}


class Answer(Protocol):
    """What these tests look at of a response."""

    @property
    def status_code(self) -> int: ...
    @property
    def text(self) -> str: ...
    def json(self) -> Any: ...


def deployment(name: str = "d", **spec: Any) -> KubeObject:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "ai", "labels": {"app": "x"}},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, **spec},
    }


def lease(name: str = "l", **spec: Any) -> KubeObject:
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}


def llmservice(name: str = "s", **spec: Any) -> KubeObject:
    return {"apiVersion": "serving.hearth.dev/v1alpha1", "kind": "LLMService", "metadata": {"name": name}, "spec": spec}


def owned_by(owner: KubeObject, kind: str, api_version: str, **more: Any) -> list[KubeObject]:
    named = {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
    return [{"apiVersion": api_version, "kind": kind, **named, **more}]


@pytest.fixture
def store() -> ObjectStore:
    store = ObjectStore()
    for name in ("ai", "lab"):
        store.put("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return store


@pytest.fixture
def api(store: ObjectStore) -> Iterator[TestClient]:
    with TestClient(create_api(store, Watches()), headers={"user-agent": "kubectl/v1.36"}) as client:
        yield client


def refused(answer: Answer, code: int, reason: str) -> str:
    """What a metav1.Status says."""
    body = answer.json()
    assert (answer.status_code, body["kind"], body["apiVersion"]) == (code, "Status", "v1"), answer.text
    assert (body["status"], body["code"], body["reason"]) == ("Failure", code, reason)
    return str(body["message"])


def apply(api: TestClient, item: KubeObject, manager: str, path: str = "", **query: str) -> Answer:
    path = path or f"{APPS}/{item['metadata']['name']}"
    return api.patch(path, content=json.dumps(item), headers=APPLY, params={"fieldManager": manager, **query})


def managers(item: KubeObject, field: str = "f:replicas") -> set[str]:
    """Who owns a field of the spec."""
    entries = item["metadata"]["managedFields"]
    return {entry["manager"] for entry in entries if field in entry["fieldsV1"].get("f:spec", {})}


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "place"),
        [
            ("/api/v1/pods", Place("v1", "pods")),
            ("/api/v1/namespaces/ai/pods/p/status", Place("v1", "pods", "ai", "p", "status")),
            ("/apis/apps/v1/namespaces/ai/deployments/d", Place("apps/v1", "deployments", "ai", "d")),
            ("/api/v1/namespaces/ai", Place("v1", "namespaces", "", "ai")),
            ("/api/v1/namespaces/ai/status", Place("v1", "namespaces", "", "ai", "status")),
            ("/api/v1/nodes/n", Place("v1", "nodes", "", "n")),
            ("/api/v1/pods//status", None),
            ("/version", None),
        ],
    )
    def test_what_a_path_names(self, path: str, place: Place | None) -> None:
        assert place_of(path) == place

    def test_an_api_that_is_not_there_is_a_plain_page_not_found(self, api: TestClient) -> None:
        """How a cluster without a CRD answers: no Status; a client that looks for KEDA reads these words."""
        for path in ("/apis/nothing.dev/v1/namespaces/ai/things", f"{APPS}/d/nothing", "/apis/apps/v2/deployments"):
            answer = api.get(path)
            assert (answer.status_code, answer.text) == (404, "404 page not found\n")

    def test_a_kind_whose_crd_is_missing(self, store: ObjectStore) -> None:
        without = KindTable(kind for kind in KINDS if kind.resource != "scaledobjects")
        with TestClient(create_api(store, Watches(), ApiOptions(kinds=without))) as client:
            assert client.get("/apis/keda.sh/v1alpha1/scaledobjects").text == "404 page not found\n"
            assert client.get("/apis/apps/v1/deployments").status_code == 200

    def test_an_object_that_is_not_there_is_a_status_that_names_it(self, api: TestClient) -> None:
        assert refused(api.get(f"{APPS}/d"), 404, "NotFound") == 'deployments.apps "d" not found'
        assert api.get(f"{APPS}/d").json()["details"] == {"name": "d", "group": "apps", "kind": "deployments"}
        assert refused(api.get("/api/v1/nodes/n"), 404, "NotFound") == 'nodes "n" not found'


class TestCreate:
    def test_the_server_says_who_it_is(self, api: TestClient) -> None:
        sent = deployment(replicas=2)
        sent["metadata"] |= {"uid": "mine", "generation": 9, "creationTimestamp": "2000-01-01T00:00:00Z"}
        answer = api.post(APPS, json={**sent, "status": {"readyReplicas": 7}})
        metadata = answer.json()["metadata"]
        assert answer.status_code == 201
        assert metadata["uid"] != "mine"
        assert metadata["generation"] == 1
        assert metadata["creationTimestamp"] > "2020"
        assert int(metadata["resourceVersion"]) > 0
        assert "status" not in answer.json(), "a status is written through its subresource alone"
        assert managers(answer.json()) == {"kubectl"}, "a client that names no manager is called by its name"

    def test_a_name_that_is_taken(self, api: TestClient) -> None:
        api.post(APPS, json=deployment())
        assert refused(api.post(APPS, json=deployment()), 409, "AlreadyExists") == 'deployments.apps "d" already exists'

    def test_a_namespace_that_is_not_there(self, api: TestClient) -> None:
        item = deployment()
        item["metadata"]["namespace"] = "gone"
        answer = api.post(APPS.replace("ai", "gone"), json=item)
        assert refused(answer, 404, "NotFound") == 'namespaces "gone" not found'
        applied = apply(api, item, "m", f"{APPS.replace('ai', 'gone')}/d")
        assert refused(applied, 404, "NotFound") == 'namespaces "gone" not found'

    def test_a_generated_name(self, api: TestClient) -> None:
        item = deployment()
        item["metadata"] = {"generateName": "d-"}
        name = api.post(APPS, json=item).json()["metadata"]["name"]
        assert name.startswith("d-")
        assert len(name) == 7
        item["metadata"] = {}
        assert "name or generateName is required" in refused(api.post(APPS, json=item), 422, "Invalid")

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"kind": "Pod"}, "kind: found 'Pod'"),
            ({"apiVersion": "v1"}, "apiVersion: found 'v1'"),
            ({"metadata": {"name": "d", "namespace": "lab"}}, "namespace of the provided object does not match"),
            ({"metadata": {"name": "d", "resourceVersion": "3"}}, "resourceVersion should not be set"),
            ({"metadata": 3}, "no object of the API"),
        ],
    )
    def test_a_body_that_is_not_what_the_path_says(self, api: TestClient, change: KubeObject, words: str) -> None:
        assert words in refused(api.post(APPS, json=deployment() | change), 400, "BadRequest")

    def test_a_body_that_cannot_be_read(self, api: TestClient) -> None:
        answer = api.post(APPS, content=b"{", headers={"content-type": "application/json"})
        assert "can't be read" in refused(answer, 400, "BadRequest")

    def test_a_dry_run_stores_nothing(self, api: TestClient) -> None:
        assert api.post(APPS, json=deployment(), params={"dryRun": "All"}).status_code == 201
        assert api.get(f"{APPS}/d").status_code == 404


class TestReplace:
    def test_only_on_top_of_the_version_that_was_read(self, api: TestClient) -> None:
        made = api.post(LEASES, json=lease(holderIdentity="a")).json()
        made["spec"]["holderIdentity"] = "b"
        after = api.put(f"{LEASES}/l", json=made)
        assert after.status_code == 200
        assert after.json()["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
        words = refused(api.put(f"{LEASES}/l", json=made), 409, "Conflict")
        assert words == (
            'Operation cannot be fulfilled on leases.coordination.k8s.io "l": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )

    def test_without_a_version_where_the_kind_allows_it(self, api: TestClient) -> None:
        api.post(LEASES, json=lease())
        words = refused(api.put(f"{LEASES}/l", json=lease(holderIdentity="b")), 422, "Invalid")
        assert "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update" in words
        api.post(APPS, json=deployment())
        assert api.put(f"{APPS}/d", json=deployment(replicas=3)).json()["spec"]["replicas"] == 3

    def test_another_object_of_the_same_name(self, api: TestClient) -> None:
        made = api.post(APPS, json=deployment()).json()
        api.delete(f"{APPS}/d")
        api.post(APPS, json=deployment())
        del made["metadata"]["resourceVersion"]
        assert "Precondition failed: UID" in refused(api.put(f"{APPS}/d", json=made), 409, "Conflict")

    def test_a_changed_spec_alone_is_a_new_generation(self, api: TestClient) -> None:
        made = api.post(APPS, json=deployment()).json()
        made["metadata"]["labels"]["more"] = "1"
        labelled = api.put(f"{APPS}/d", json=made).json()
        assert labelled["metadata"]["generation"] == 1
        labelled["status"] = {"readyReplicas": 1}
        status = api.put(f"{APPS}/d/status", json=labelled).json()
        assert (status["metadata"]["generation"], status["status"]) == (1, {"readyReplicas": 1})
        status["spec"]["replicas"] = 4
        assert api.put(f"{APPS}/d", json=status).json()["metadata"]["generation"] == 2

    def test_what_does_not_change_is_no_new_version(self, api: TestClient) -> None:
        made = api.post(APPS, json=deployment()).json()
        again = api.put(f"{APPS}/d", json=made).json()
        assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]

    def test_the_object_and_its_status_do_not_write_each_other(self, api: TestClient) -> None:
        made = api.post(APPS, json=deployment(replicas=1)).json()
        both = {**made, "spec": {**made["spec"], "replicas": 9}, "status": {"readyReplicas": 1}}
        del both["metadata"]["resourceVersion"]
        status = api.put(f"{APPS}/d/status", json=both).json()
        assert (status["spec"]["replicas"], status["status"]["readyReplicas"]) == (1, 1)
        both["status"]["readyReplicas"] = 5
        item = api.put(f"{APPS}/d", json=both).json()
        assert (item["spec"]["replicas"], item["status"]["readyReplicas"]) == (9, 1)

    def test_an_immutable_field(self, api: TestClient) -> None:
        made = api.post(APPS, json=deployment()).json()
        made["spec"]["selector"] = {"matchLabels": {"app": "y"}}
        words = refused(api.put(f"{APPS}/d", json=made), 422, "Invalid")
        assert words == 'Deployment.apps "d" is invalid: spec.selector: Invalid value: field is immutable'


class TestApply:
    def test_it_creates_and_then_changes_nothing(self, api: TestClient) -> None:
        made = apply(api, deployment(replicas=0), "us")
        assert made.status_code == 201
        again = apply(api, deployment(replicas=0), "us")
        assert again.status_code == 200
        assert again.json() == made.json()

    def test_a_field_that_nobody_says_has_the_default_of_the_server(self, api: TestClient) -> None:
        """The reason why a controller that must not own spec.replicas can't simply leave it out of a create."""
        made = apply(api, deployment(), "us").json()
        assert made["spec"]["replicas"] == 1
        assert managers(made) == set()

    def test_a_field_is_handed_over_and_keeps_its_value(self, api: TestClient) -> None:
        apply(api, deployment(replicas=0), "us")
        apply(api, deployment(replicas=0), "creator")
        after = apply(api, deployment(), "us").json()
        assert (after["spec"]["replicas"], managers(after)) == (0, {"creator"})
        api.put(f"{APPS}/d/scale", json={"spec": {"replicas": 1}}, headers={"user-agent": "keda/2"})
        scaled = apply(api, deployment(), "us").json()
        assert (scaled["spec"]["replicas"], managers(scaled)) == (1, {"keda"})

    def test_a_conflict_names_who_owns_what(self, api: TestClient) -> None:
        apply(api, deployment(replicas=0), "us")
        answer = apply(api, deployment(replicas=2), "them")
        words = refused(answer, 409, "Conflict")
        assert words == 'Apply failed with 1 conflict: conflict with "us" using apps/v1: .spec.replicas'
        (cause,) = answer.json()["details"]["causes"]
        assert (cause["reason"], cause["field"]) == ("FieldManagerConflict", ".spec.replicas")
        forced = apply(api, deployment(replicas=2), "them", force="true").json()
        assert (forced["spec"]["replicas"], managers(forced)) == (2, {"them"})

    def test_without_a_manager(self, api: TestClient) -> None:
        answer = api.patch(f"{APPS}/d", content=json.dumps(deployment()), headers=APPLY)
        assert "fieldManager: Required value: is required for apply patch" in refused(answer, 422, "Invalid")

    def test_yaml_is_taken_as_it_is(self, api: TestClient) -> None:
        text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {replicas: 3}\n"
        made = api.patch(f"{APPS}/d", content=text, headers=APPLY, params={"fieldManager": "m"}).json()
        assert (made["spec"]["replicas"], made["metadata"]["namespace"]) == (3, "ai")

    def test_of_a_status_says_nothing_of_the_spec(self, api: TestClient) -> None:
        apply(api, deployment(replicas=2), "us")
        document = {**deployment(replicas=9), "status": {"readyReplicas": 1}}
        after = apply(api, document, "us", f"{APPS}/d/status").json()
        assert (after["spec"]["replicas"], after["status"]) == (2, {"readyReplicas": 1})
        assert managers(after) == {"us"}
        spec = apply(api, {**deployment(replicas=2), "status": {"readyReplicas": 8}}, "us").json()
        assert spec["status"] == {"readyReplicas": 1}
        assert refused(apply(api, document, "us", f"{APPS}/none/status"), 400, "BadRequest")

    def test_on_top_of_a_version_or_of_an_object_that_is_gone(self, api: TestClient) -> None:
        made = apply(api, deployment(replicas=2), "us").json()
        with_version = deployment(replicas=3)
        with_version["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
        assert apply(api, with_version, "us").status_code == 200
        assert "has been modified" in refused(apply(api, with_version, "us"), 409, "Conflict")
        with_uid = deployment(replicas=3)
        with_uid["metadata"]["uid"] = "another"
        assert "Precondition failed: UID" in refused(apply(api, with_uid, "us"), 409, "Conflict")

    def test_managed_fields_cannot_be_applied(self, api: TestClient) -> None:
        made = apply(api, deployment(), "us").json()
        assert refused(apply(api, made, "us"), 400, "BadRequest") == "metadata.managedFields must be nil"


class TestMergePatch:
    def test_null_takes_a_field_away(self, api: TestClient) -> None:
        api.post(APPS, json=deployment(replicas=1, paused=True))
        patch = {"metadata": {"annotations": {"a": "1"}}, "spec": {"paused": None}}
        after = api.patch(f"{APPS}/d", content=json.dumps(patch), headers=MERGE).json()
        assert "paused" not in after["spec"]
        assert after["metadata"]["annotations"] == {"a": "1"}
        assert after["spec"]["replicas"] == 1

    def test_other_patches_are_refused_in_words(self, api: TestClient) -> None:
        api.post(APPS, json=deployment())
        headers = {"content-type": "application/strategic-merge-patch+json"}
        answer = api.patch(f"{APPS}/d", content=b"{}", headers=headers)
        assert "accepted media types include" in refused(answer, 415, "UnsupportedMediaType")


class TestScale:
    def test_it_is_the_replicas_alone(self, api: TestClient) -> None:
        api.post(APPS, json=deployment(replicas=0))
        scale = api.get(f"{APPS}/d/scale").json()
        assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 0})
        assert scale["status"] == {"replicas": 0, "selector": "app=x"}
        scale["spec"]["replicas"] = 3
        assert api.put(f"{APPS}/d/scale", json=scale).json()["spec"] == {"replicas": 3}
        assert "has been modified" in refused(api.put(f"{APPS}/d/scale", json=scale), 409, "Conflict")
        patch = {"content": json.dumps({"spec": {"replicas": 4}}), "headers": MERGE}
        assert api.patch(f"{APPS}/d/scale", **patch).json()["spec"] == {"replicas": 4}  # type: ignore[arg-type]
        item = api.get(f"{APPS}/d").json()
        assert (item["spec"]["replicas"], item["metadata"]["generation"]) == (4, 3)
        answer = api.put(f"{APPS}/d/scale", json={"spec": {"replicas": -1}})
        assert "must be greater than or equal to 0" in refused(answer, 422, "Invalid")

    def test_of_an_llmservice_it_is_the_minimum(self, api: TestClient) -> None:
        api.post(SERVICES, json=llmservice(scaling={"min": 0}))
        api.put(f"{SERVICES}/s/scale", json={"spec": {"replicas": 2}})
        assert api.get(f"{SERVICES}/s").json()["spec"]["scaling"]["min"] == 2


class TestDelete:
    def test_it_says_what_was_deleted(self, api: TestClient) -> None:
        uid = api.post(APPS, json=deployment()).json()["metadata"]["uid"]
        answer = api.request("DELETE", f"{APPS}/d", json={"preconditions": {"uid": "another"}})
        assert "Precondition failed: UID in precondition: another" in refused(answer, 409, "Conflict")
        answer = api.request("DELETE", f"{APPS}/d", json={"preconditions": {"resourceVersion": "1"}})
        assert "Precondition failed: ResourceVersion" in refused(answer, 409, "Conflict")
        answer = api.request("DELETE", f"{APPS}/d", json={"preconditions": {"uid": uid}})
        assert (answer.status_code, answer.json()["status"]) == (200, "Success")
        assert refused(api.delete(f"{APPS}/d"), 404, "NotFound")

    def test_a_pod_that_runs_ends_after_its_grace(self, api: TestClient, store: ObjectStore) -> None:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "namespace": "ai"},
            "spec": {"nodeName": "n"},
        }
        store.put("pods", {**pod, "spec": {**pod["spec"], "terminationGracePeriodSeconds": 60}})  # type: ignore[dict-item]
        path = "/api/v1/namespaces/ai/pods/p"
        ends = api.delete(path).json()
        assert ends["metadata"]["deletionGracePeriodSeconds"] == 60
        assert ends["metadata"]["deletionTimestamp"]
        shorter = api.delete(path, params={"gracePeriodSeconds": "5"}).json()
        assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
        longer = api.delete(path, params={"gracePeriodSeconds": "50"}).json()
        assert longer["metadata"]["deletionGracePeriodSeconds"] == 5, "a grace period is never made longer"
        assert api.request("DELETE", path, json={"gracePeriodSeconds": 0}).json()["status"] == "Success"

    def test_a_pod_without_a_node_goes_at_once(self, api: TestClient) -> None:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}}
        assert api.post("/api/v1/namespaces/ai/pods", json=pod).json()["status"] == {"phase": "Pending"}
        assert api.delete("/api/v1/namespaces/ai/pods/p").json()["status"] == "Success"

    def test_finalizers_hold_it(self, api: TestClient) -> None:
        item = deployment()
        item["metadata"]["finalizers"] = ["keep.dev/it"]
        api.post(APPS, json=item)
        assert api.delete(f"{APPS}/d").json()["metadata"]["deletionTimestamp"]
        held = api.get(f"{APPS}/d").json()
        held["metadata"]["finalizers"] = []
        api.put(f"{APPS}/d", json=held)
        assert api.get(f"{APPS}/d").status_code == 404

    def test_orphans_lose_their_owner(self, api: TestClient) -> None:
        owner = api.post(SERVICES, json=llmservice()).json()
        item = deployment()
        item["metadata"]["ownerReferences"] = owned_by(owner, "LLMService", "serving.hearth.dev/v1alpha1")
        api.post(APPS, json=item)
        api.request("DELETE", f"{SERVICES}/s", json={"propagationPolicy": "Orphan"})
        assert api.get(f"{APPS}/d").json()["metadata"]["ownerReferences"] == []

    def test_options_that_cannot_be(self, api: TestClient) -> None:
        api.post(APPS, json=deployment())
        answer = api.request("DELETE", f"{APPS}/d", json={"propagationPolicy": "Sideways"})
        assert "allowed: Orphan, Background, Foreground" in refused(answer, 400, "BadRequest")
        answer = api.delete(f"{APPS}/d", params={"gracePeriodSeconds": "soon"})
        assert "gracePeriodSeconds: found 'soon'" in refused(answer, 400, "BadRequest")

    def test_a_collection_is_not_deleted(self, api: TestClient) -> None:
        assert refused(api.delete(APPS), 405, "MethodNotAllowed")


class TestLists:
    def test_they_are_selected_by_namespace_labels_and_fields(self, api: TestClient) -> None:
        for name in ("a", "b"):
            item = deployment(name)
            item["metadata"]["labels"] = {"app": name}
            api.post(APPS, json=item)
        found = api.get("/apis/apps/v1/deployments").json()
        assert (found["kind"], [item["metadata"]["name"] for item in found["items"]]) == ("DeploymentList", ["a", "b"])
        assert "kind" not in found["items"][0], "a list leaves the kind out of its items"
        api.post(SERVICES, json=llmservice())
        assert api.get(SERVICES).json()["items"][0]["kind"] == "LLMService", "but not where the kind has a CRD"
        assert api.get(APPS.replace("ai", "lab")).json()["items"] == []
        (only,) = api.get(APPS, params={"labelSelector": "app in (b)"}).json()["items"]
        assert only["metadata"]["name"] == "b"
        (named,) = api.get(APPS, params={"fieldSelector": "metadata.name=a"}).json()["items"]
        assert named["metadata"]["name"] == "a"

    def test_selectors_that_cannot_be(self, api: TestClient) -> None:
        words = refused(api.get(APPS, params={"fieldSelector": "spec.replicas=1"}), 400, "BadRequest")
        assert words == "field label not supported: spec.replicas"
        assert "unable to parse" in refused(api.get(APPS, params={"labelSelector": "a in b"}), 400, "BadRequest")


def watched(api: TestClient, path: str, **query: str) -> list[tuple[str, KubeObject]]:
    """(type, object) of a watch that ends by itself."""
    answer = api.get(path, params={"watch": "true", "timeoutSeconds": "0.05", **query})
    return [(event["type"], event["object"]) for event in map(json.loads, answer.text.splitlines())]


def told(api: TestClient, path: str, since: str, **query: str) -> list[tuple[str, str]]:
    events = watched(api, path, resourceVersion=since, **query)
    return [(kind, item["metadata"]["name"]) for kind, item in events]


class TestWatches:
    def test_from_a_version_on(self, api: TestClient) -> None:
        since = api.post(APPS, json=deployment("a")).json()["metadata"]["resourceVersion"]
        api.post(APPS, json=deployment("b"))
        api.put(f"{APPS}/b", json=deployment("b", replicas=5))
        api.delete(f"{APPS}/a")
        assert told(api, APPS, since) == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "a")]
        assert told(api, APPS.replace("ai", "lab"), since) == []

    def test_what_loses_its_label_is_deleted_and_what_gains_it_is_added(self, api: TestClient) -> None:
        """https://kubernetes.io/docs/reference/using-api/api-concepts/: a watch with a selector is of what it selects."""
        since = api.post(APPS, json=deployment("d")).json()["metadata"]["resourceVersion"]
        for labels in ({"app": "y"}, {"app": "z"}, {"app": "x"}):
            item = deployment("d")
            item["metadata"]["labels"] = labels
            last = api.put(f"{APPS}/d", json=item).json()
        events = watched(api, APPS, resourceVersion=since, labelSelector="app=x")
        assert [kind for kind, _ in events] == ["DELETED", "ADDED"]
        assert events[0][1]["metadata"]["labels"] == {"app": "x"}, "as it was when it was last selected"
        assert int(events[0][1]["metadata"]["resourceVersion"]) > int(since), "at the version in which it left"
        assert events[1][1] == last
        assert told(api, APPS, since, labelSelector="app=y") == [("ADDED", "d"), ("DELETED", "d")]

    def test_fields_can_be_left_too(self, api: TestClient, store: ObjectStore) -> None:
        pod: KubeObject = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ai"}, "spec": {}}
        since = store.put("pods", {**pod, "status": {"phase": "Pending"}})["metadata"]["resourceVersion"]
        store.put("pods", {**pod, "status": {"phase": "Running"}})
        assert told(api, "/api/v1/pods", since, fieldSelector="status.phase=Pending") == [("DELETED", "p")]

    def test_without_a_version_what_there_is_comes_first(self, api: TestClient) -> None:
        api.post(APPS, json=deployment("a"))
        assert [kind for kind, _ in watched(api, APPS)] == ["ADDED"]
        assert [kind for kind, _ in watched(api, APPS, resourceVersion="0")] == ["ADDED"]

    def test_a_version_that_is_forgotten_is_410(self, api: TestClient, store: ObjectStore) -> None:
        for replicas in range(4100):
            store.put("deployments", deployment(replicas=replicas))
        ((kind, status),) = watched(api, APPS, resourceVersion="2")
        assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
        assert status["message"].startswith("too old resource version: 2 (")

    def test_bookmarks_for_those_who_ask(self, store: ObjectStore) -> None:
        with TestClient(create_api(store, Watches(), ApiOptions(bookmark_seconds=0.01))) as client:
            since = str(store.version)
            events = watched(client, APPS, resourceVersion=since, allowWatchBookmarks="true")
            assert events
            assert {kind for kind, _ in events} == {"BOOKMARK"}
            assert events[0][1] == {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"resourceVersion": since},
            }
            assert watched(client, APPS, resourceVersion=since) == []


class TestEvents:
    def test_both_apis_have_the_same_events(self, api: TestClient) -> None:
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": "e", "namespace": "ai"},
            "regarding": {"kind": "LLMService", "name": "s", "uid": "u"},
            "reason": "Ready",
            "note": "it is",
            "type": "Normal",
            "reportingController": "us",
            "eventTime": "2026-01-01T00:00:00.000000Z",
        }
        new, old = "/apis/events.k8s.io/v1/namespaces/ai/events", "/api/v1/namespaces/ai/events"
        made = api.post(new, json=event)
        assert (made.status_code, made.json()["note"]) == (201, "it is")
        assert refused(api.post(new, json=event), 409, "AlreadyExists")
        (core,) = api.get(old, params={"fieldSelector": "involvedObject.uid=u"}).json()["items"]
        assert (core["involvedObject"]["name"], core["message"], core["reportingComponent"]) == ("s", "it is", "us")
        assert api.get(old, params={"fieldSelector": "involvedObject.uid=v"}).json()["items"] == []
        (listed,) = api.get(new).json()["items"]
        assert listed["note"] == "it is"
        assert "apiVersion" not in listed


def strict(kind: Kind, item: KubeObject) -> KubeObject:
    """Admission for the tests: a size is needed."""
    if kind.resource == "llmservices" and "size" not in item["spec"]:
        raise invalid(kind, item["metadata"]["name"], [("FieldValueRequired", "Required value", "spec.size")])
    return {**item, "spec": {**item["spec"], "filled": True}} if kind.custom else item


def test_admission_refuses_and_fills_in(store: ObjectStore) -> None:
    with TestClient(create_api(store, Watches(), ApiOptions(admit=strict))) as client:
        answer = client.post(SERVICES, json=llmservice())
        words = refused(answer, 422, "Invalid")
        assert words == 'LLMService.serving.hearth.dev "s" is invalid: spec.size: Required value'
        assert answer.json()["details"]["causes"][0]["field"] == "spec.size"
        assert client.post(SERVICES, json=llmservice(size=1)).json()["spec"] == {"size": 1, "filled": True}
        applied = apply(client, llmservice("t"), "m", f"{SERVICES}/t")
        assert refused(applied, 422, "Invalid")
        patch = {"content": json.dumps({"spec": {"size": None}}), "headers": MERGE}
        assert refused(client.patch(f"{SERVICES}/s", **patch), 422, "Invalid")  # type: ignore[arg-type]


ROLES: list[KubeObject] = [
    {
        "kind": "ClusterRole",
        "metadata": {"name": "reader"},
        "rules": [
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list", "watch", "patch"]},
            {"apiGroups": ["apps"], "resources": ["deployments/status"], "verbs": ["patch"]},
            {"apiGroups": ["external.metrics.k8s.io"], "resources": ["s0-queueDepth"], "verbs": ["list"]},
        ],
    },
    {
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {"kind": "ClusterRole", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "r", "namespace": "ai"}],
    },
    {
        "kind": "Role",
        "metadata": {"name": "more"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
    },
    {
        "kind": "Role",
        "metadata": {"name": "holder"},
        "rules": [
            {
                "apiGroups": ["rbac.authorization.k8s.io"],
                "resources": ["roles", "rolebindings"],
                "verbs": ["create"],
            },
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
            {
                "apiGroups": ["coordination.k8s.io"],
                "resources": ["leases"],
                "verbs": ["get", "list"],
                "resourceNames": ["l"],
            },
        ],
    },
    {
        "kind": "RoleBinding",
        "metadata": {"name": "holder"},
        "roleRef": {"kind": "Role", "name": "holder"},
        "subjects": [{"kind": "ServiceAccount", "name": "r"}],
    },
]


class TestRights:
    @pytest.fixture
    def guarded(self, store: ObjectStore) -> Iterator[TestClient]:
        tokens = {"secret": account("ai", "r"), "root": ADMIN}
        accounts = Accounts(tokens, Rbac(ROLES, "ai"))

        async def values(namespace: str, metric: str, selected: object) -> list[KubeObject]:
            return [{"metricName": metric, "value": "3"}]

        options = ApiOptions(accounts=accounts, external_metrics=values)
        with TestClient(create_api(store, Watches(), options)) as client:
            client.headers["authorization"] = "Bearer secret"
            yield client

    def test_what_no_role_allows_is_403_in_words(self, guarded: TestClient) -> None:
        words = refused(guarded.get(f"{APPS}/d"), 403, "Forbidden")
        assert words == (
            'deployments.apps "d" is forbidden: User "system:serviceaccount:ai:r" cannot get resource "deployments" '
            'in API group "apps" in the namespace "ai"'
        )
        words = refused(guarded.get("/api/v1/nodes"), 403, "Forbidden")
        assert words.endswith('cannot list resource "nodes" in API group "" at the cluster scope')

    def test_each_verb_is_a_right_of_its_own(self, guarded: TestClient) -> None:
        assert guarded.get(APPS).status_code == 200
        assert guarded.get(APPS, params={"watch": "true", "timeoutSeconds": "0.01"}).status_code == 200
        for answer in (guarded.post(APPS, json=deployment()), guarded.put(f"{APPS}/d", json=deployment())):
            refused(answer, 403, "Forbidden")
        refused(guarded.delete(f"{APPS}/d"), 403, "Forbidden")
        refused(guarded.put(f"{APPS}/d/status", json=deployment()), 403, "Forbidden")

    def test_an_apply_that_creates_needs_the_right_to_create(self, guarded: TestClient, store: ObjectStore) -> None:
        assert 'cannot create resource "deployments"' in refused(apply(guarded, deployment(), "m"), 403, "Forbidden")
        store.put("deployments", deployment())
        assert apply(guarded, deployment(), "m").status_code == 200
        assert apply(guarded, {**deployment(), "status": {}}, "m", f"{APPS}/d/status").status_code == 200

    def test_names_and_namespaces_narrow_a_rule(self, guarded: TestClient) -> None:
        assert guarded.post(LEASES, json=lease()).status_code == 201
        assert guarded.get(f"{LEASES}/l").status_code == 200
        refused(guarded.get(f"{LEASES}/other"), 403, "Forbidden")
        assert guarded.get(LEASES, params={"fieldSelector": "metadata.name=l"}).status_code == 200
        refused(guarded.get(LEASES, params={"fieldSelector": "metadata.name=other"}), 403, "Forbidden")
        refused(guarded.get(LEASES), 403, "Forbidden")
        refused(guarded.post(LEASES.replace("ai", "lab"), json=lease()), 403, "Forbidden")

    def test_to_block_an_owners_deletion_is_a_right_on_the_owner(self, guarded: TestClient, store: ObjectStore) -> None:
        """Admission plugin OwnerReferencesPermissionEnforcement."""
        owner = store.put("llmservices", {**llmservice(), "metadata": {"name": "s", "namespace": "ai"}})
        item = deployment()
        reference = owned_by(owner, "LLMService", "serving.hearth.dev/v1alpha1", blockOwnerDeletion=True)
        item["metadata"]["ownerReferences"] = reference
        store.put("deployments", deployment())
        words = refused(apply(guarded, item, "m"), 403, "Forbidden")
        assert 'cannot update resource "llmservices/finalizers"' in words

    @pytest.mark.parametrize(
        ("rule", "held"),
        [
            ({"verbs": ["get"], "resourceNames": ["l"]}, True),
            ({"verbs": ["get", "list"], "resourceNames": ["l"]}, True),
            ({"verbs": ["create"]}, True),
            ({"verbs": ["get"]}, False),
            ({"verbs": ["get"], "resourceNames": ["l", "other"]}, False),
            ({"verbs": ["delete"], "resourceNames": ["l"]}, False),
            ({"verbs": ["*"], "resourceNames": ["l"]}, False),
            ({"verbs": ["get"], "resourceNames": ["l"], "resources": ["leases", "pods"]}, False),
        ],
    )
    def test_nobody_gives_a_right_that_he_has_not(
        self, guarded: TestClient, store: ObjectStore, rule: KubeObject, held: bool
    ) -> None:
        given = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], **rule}
        about = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "given", "namespace": "ai"}}
        path = "/apis/rbac.authorization.k8s.io/v1/namespaces/ai"
        answer = guarded.post(f"{path}/roles", json={**about, "kind": "Role", "rules": [given]})
        if held:
            assert answer.status_code == 201
        else:
            assert "is attempting to grant RBAC permissions not currently held" in refused(answer, 403, "Forbidden")

    def test_nobody_binds_a_role_that_has_more_than_he(self, guarded: TestClient) -> None:
        about = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "given", "namespace": "ai"}}
        path = "/apis/rbac.authorization.k8s.io/v1/namespaces/ai/rolebindings"
        for role, status in (("more", 403), ("holder", 201)):
            reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role}
            answer = guarded.post(path, json={**about, "kind": "RoleBinding", "roleRef": reference})
            assert answer.status_code == status

    def test_external_metrics_are_rights_by_the_metrics_name(self, guarded: TestClient) -> None:
        path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/ai"
        found = guarded.get(f"{path}/s0-queueDepth").json()
        assert (found["kind"], found["items"][0]["value"]) == ("ExternalMetricValueList", "3")
        refused(guarded.get(f"{path}/s1-cron"), 403, "Forbidden")

    def test_who_asks(self, guarded: TestClient) -> None:
        refused(guarded.get(APPS, headers={"authorization": "Bearer wrong"}), 401, "Unauthorized")
        del guarded.headers["authorization"]
        assert 'User "system:anonymous"' in refused(guarded.get(APPS), 403, "Forbidden")
        assert guarded.get(f"{APPS}/none", headers={"authorization": "Bearer root"}).status_code == 404


def test_without_an_adapter_there_are_no_external_metrics(api: TestClient) -> None:
    answer = api.get("/apis/external.metrics.k8s.io/v1beta1/namespaces/ai/s0-queueDepth")
    assert answer.text == "404 page not found\n"
