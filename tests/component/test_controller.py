"""The controller's looks at LLMServices, against the local API server with the rights of deploy/."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hearth.controller import kedalease, server
from hearth.emulators.container import NotStartable
from hearth.emulators.kinds import Kind, KubeObject
from hearth.emulators.refusals import Refusal
from hearth.emulators.writes import DeleteOptions, Target, WriteOptions
from hearth.local.admission import admit
from hearth.local.cluster import ClusterOptions
from hearth.local.rights import rights
from tests.component.cluster import NAME, NAMESPACE, World, engine_runtime, world

CHILDREN = ("deployments", "services", "scaledobjects", "persistentvolumeclaims")


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[World]:
    """A world with an LLMService that is at zero."""
    async with world(tmp_path) as made:
        made.apply()
        await made.settled()
        yield made


def replicas_managers(deployment: KubeObject) -> set[str]:
    entries = deployment["metadata"]["managedFields"]
    return {each["manager"] for each in entries if "f:replicas" in each["fieldsV1"].get("f:spec", {})}


def image(one: World) -> Any:
    return one.get("deployments")["spec"]["template"]["spec"]["containers"][0]["image"]


class TestWhatItMakes:
    async def test_objects_with_an_owner_and_no_replica(self, one: World) -> None:
        uid = one.get("llmservices")["metadata"]["uid"]
        made = [item for resource in CHILDREN for item in one.items(resource)]
        assert {item["kind"] for item in made} == {"Deployment", "Service", "ScaledObject", "PersistentVolumeClaim"}
        for item in made:
            (owner,) = item["metadata"]["ownerReferences"]
            assert (owner["kind"], owner["uid"], owner["controller"]) == ("LLMService", uid, True)
        deployment = one.get("deployments")
        assert deployment["spec"]["replicas"] == 0, "no accelerator is taken before anybody asks"
        assert replicas_managers(deployment) == {"hearth-creator"}, "the controller hands the replicas over"
        await one.until(lambda: one.status().get("phase") == "ScaledToZero", "ScaledToZero")
        assert one.status()["resolvedRuntime"] == "r"
        assert one.status()["queueDepth"] == 0

    async def test_replicas_are_kedas_ever_after(self, one: World) -> None:
        one.scale(2)
        await one.until(lambda: one.status().get("readyReplicas") == 2, "two ready replicas")
        one.apply("spec.scaling.max=7")
        await one.until(lambda: one.get("scaledobjects")["spec"]["maxReplicaCount"] == 7, "the new maximum")
        deployment = one.get("deployments")
        assert (deployment["spec"]["replicas"], replicas_managers(deployment)) == (2, {"keda"})

    async def test_what_somebody_edits_is_put_back(self, one: World) -> None:
        wanted = image(one)
        edited = one.get("deployments")
        edited["spec"]["template"]["spec"]["containers"][0]["image"] = "mine:1"
        one.store.put("deployments", edited)
        await one.until(lambda: image(one) == wanted, "the image put back")

    async def test_a_deleted_child_comes_back_at_zero(self, one: World) -> None:
        one.scale(1)
        before = one.get("deployments")["metadata"]["uid"]
        target = Target(one.cluster.kinds.named("deployments"), NAMESPACE, NAME)
        one.cluster.writes.delete(target, DeleteOptions())
        made = await one.until(
            lambda: (found := one.get("deployments")) and found["metadata"]["uid"] != before and found, "a new one"
        )
        assert made["spec"]["replicas"] == 0

    async def test_what_is_no_longer_needed_goes(self, one: World) -> None:
        (claim,) = one.items("persistentvolumeclaims")
        assert claim["metadata"]["name"].startswith("qwen-cache")
        one.apply("spec.cache.strategy=None")
        await one.until(lambda: not one.items("persistentvolumeclaims"), "the claim gone")
        assert one.get("deployments"), "and nothing else"

    async def test_a_claim_of_the_same_labels_that_is_somebody_elses_stays(self, one: World) -> None:
        (claim,) = one.items("persistentvolumeclaims")
        theirs = {**claim, "metadata": {**claim["metadata"], "name": "theirs", "ownerReferences": []}}
        one.store.put("persistentvolumeclaims", theirs)
        one.apply("spec.cache.strategy=None")
        await one.until(lambda: len(one.items("persistentvolumeclaims")) == 1, "our claim gone")
        assert one.items("persistentvolumeclaims")[0]["metadata"]["name"] == "theirs"

    async def test_a_copy_of_one_that_it_made_blocks_nothing(self, one: World) -> None:
        made = one.get("services", "qwen-engine")
        one.store.put("services", {**made, "metadata": {**made["metadata"], "name": "copy"}})
        one.apply("spec.scaling.max=7")
        await one.until(lambda: one.get("scaledobjects")["spec"]["maxReplicaCount"] == 7, "the new maximum")
        one.scale(1)
        await one.until(lambda: one.condition("Ready").get("status") == "True", "Ready")
        assert one.get("services", "copy")

    async def test_with_the_service_goes_all_that_it_owns(self, one: World) -> None:
        one.scale(1)
        await one.until(lambda: one.status().get("readyReplicas") == 1, "a ready replica")
        kind = one.cluster.kinds.named("llmservices")
        one.cluster.writes.delete(Target(kind, NAMESPACE, NAME), DeleteOptions())
        gone = (*CHILDREN, "pods", "endpointslices")
        await one.until(lambda: not any(one.items(resource) for resource in gone), "everything gone")


def foreign(kind: str, name: str, **more: Any) -> KubeObject:
    """Somebody's object that has a name which the controller would choose."""
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, **more}


class TestOwnership:
    @pytest.mark.parametrize(
        ("resource", "item"),
        [
            ("services", foreign("Service", "qwen", spec={"selector": {"app": "shop"}})),
            ("services", foreign("Service", "qwen-engine", spec={"selector": {"app": "shop"}})),
            ("persistentvolumeclaims", foreign("PersistentVolumeClaim", "qwen-cache-nvidia", spec={"x": "theirs"})),
        ],
    )
    async def test_what_is_somebody_elses_is_told_and_not_touched(
        self, tmp_path: Path, resource: str, item: KubeObject
    ) -> None:
        async with world(tmp_path) as made:
            made.store.put("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
            theirs = made.store.put(resource, item)
            made.apply()
            found = await made.until(
                lambda: (each := made.condition("Ready")).get("reason") == "NameTaken" and each, "NameTaken"
            )
            assert f"{NAMESPACE}/{item['metadata']['name']}" in found["message"]
            assert made.get(resource, item["metadata"]["name"]) == theirs
            assert made.items("deployments") == [], "nothing is written before every name is free"
            kind = made.cluster.kinds.named("llmservices")
            made.cluster.writes.delete(Target(kind, NAMESPACE, NAME), DeleteOptions())
            made.apply(name="other")
            await made.settled("other")
            assert made.get(resource, item["metadata"]["name"]) == theirs, "and it does not go with the LLMService"

    async def test_an_orphan_of_ours_is_taken_back(self, one: World) -> None:
        kind = one.cluster.kinds.named("llmservices")
        one.scale(1)
        await one.until(lambda: one.status().get("readyReplicas") == 1, "a ready replica")
        before = one.get("deployments")["metadata"]["uid"]
        one.cluster.writes.delete(Target(kind, NAMESPACE, NAME), DeleteOptions(orphan=True))
        one.apply()
        uid = one.get("llmservices")["metadata"]["uid"]

        def adopted() -> bool:
            return any(owner["uid"] == uid for owner in one.get("deployments")["metadata"].get("ownerReferences") or [])

        await one.until(adopted, "its Deployment taken back")
        assert one.get("deployments")["metadata"]["uid"] == before
        assert one.get("deployments")["spec"]["replicas"] == 1, "and its replicas with it"


class TestRuntimes:
    async def test_none_fits_until_one_comes(self, tmp_path: Path) -> None:
        async with world(tmp_path, runtimes=[engine_runtime(vendor="ascend")]) as made:
            made.apply()
            found = await made.until(lambda: made.condition("RuntimeResolved"), "a condition")
            assert (found["status"], found["reason"]) == ("False", "NoRuntimeForVendor")
            assert made.condition("Ready")["reason"] == "NoRuntimeForVendor"
            assert made.items("deployments") == []
            made.cluster.apply(engine_runtime(name="late").to_manifest())
            await made.until(lambda: made.get("deployments"), "a Deployment")
            await made.until(lambda: made.status().get("resolvedRuntime") == "late", "resolved")

    async def test_another_hub_and_a_prewarm_are_one_line_each(self, one: World) -> None:
        one.apply("spec.cache.prewarm=true")
        (job,) = await one.until(lambda: one.items("jobs"), "a Job")
        one.apply("spec.cache.prewarm=true", "spec.model.source.uri=modelscope://Qwen/Qwen3-8B")
        await one.until(lambda: [each for each in one.items("jobs") if each != job] == one.items("jobs"), "another Job")
        variable = {"name": "VLLM_USE_MODELSCOPE", "value": "True"}
        await one.until(
            lambda: variable in one.get("deployments")["spec"]["template"]["spec"]["containers"][0]["env"], "its hub"
        )


class TestWhatIsRefused:
    """The conditions say the API server's own words, and the controller goes on."""

    @staticmethod
    def without(verb: str, resource: str) -> Any:
        """The rights of deploy/ without one."""

        def options(given: ClusterOptions) -> ClusterOptions:
            documents = rights()
            for document in documents:
                for rule in document.get("rules") or []:
                    if resource in rule["resources"] and verb in rule["verbs"]:
                        rule["verbs"] = [each for each in rule["verbs"] if each != verb]
            return replace(given, rights=documents)

        return options

    @staticmethod
    def refusing(resource: str, refusal: Refusal, times: int) -> Any:
        """An API server that refuses the first writes of a kind."""
        left = [times]

        def admission(kind: Kind, item: KubeObject) -> KubeObject:
            if kind.resource == resource and left[0] > 0:
                left[0] -= 1
                raise refusal
            return admit(kind, item)

        return lambda given: replace(given, admission=admission)

    async def test_a_right_that_is_missing(self, tmp_path: Path) -> None:
        async with world(tmp_path, options=self.without("create", "deployments")) as made:
            made.apply()
            found = await made.until(
                lambda: (each := made.condition("Ready")).get("reason") == "Refused" and each, "Refused"
            )
            assert found["status"] == "False"
            assert 'cannot create resource "deployments" in API group "apps"' in found["message"]
            assert made.items("deployments") == []

    async def test_a_field_that_cannot_change(self, one: World) -> None:
        """A claim's storage class is immutable; what is refused is told, and what serves goes on serving."""
        one.scale(1)
        await one.until(lambda: one.status().get("readyReplicas") == 1, "a ready replica")
        one.apply("spec.cache.storageClassName=fast")
        found = await one.until(lambda: (each := one.condition("Ready")).get("reason") == "Refused" and each, "Refused")
        assert "spec.storageClassName: Invalid value: field is immutable" in found["message"]
        assert one.status()["readyReplicas"] == 1
        one.apply("spec.cache.storageClassName=null")
        await one.until(lambda: one.condition("Ready").get("status") == "True", "Ready again")

    @pytest.mark.parametrize("code", [409, 429, 503])
    async def test_what_passes_is_tried_again_and_not_told(self, tmp_path: Path, code: int) -> None:
        refusal = Refusal(code, "Passing", "not now")
        async with world(tmp_path, options=self.refusing("deployments", refusal, 2)) as made:
            made.apply()
            await made.settled()
            assert made.get("deployments")["spec"]["replicas"] == 0
            told = [event for event in made.items("events") if event["involvedObject"]["name"] == NAME]
            assert "Refused" not in {event["reason"] for event in told}

    @pytest.mark.parametrize(("code", "reason"), [(422, "Invalid"), (500, "InternalError")])
    async def test_a_refused_object_becomes_well_when_it_is_taken(self, tmp_path: Path, code: int, reason: str) -> None:
        refusal = Refusal(code, reason, "Service is not taken: quota")
        async with world(tmp_path, options=self.refusing("services", refusal, 1)) as made:
            made.apply()
            await made.until(lambda: made.get("deployments"), "the next try")
            await made.settled()
            await made.told("Refused")
            await made.until(lambda: made.condition("Ready").get("reason") != "Refused", "and no longer")

    async def test_events_that_cannot_be_written_do_not_matter(self, tmp_path: Path) -> None:
        async with world(tmp_path, options=self.without("create", "events")) as made:
            made.apply()
            await made.settled()
            assert made.items("events") == []

    async def test_an_api_without_scaled_objects(self, tmp_path: Path) -> None:
        async with world(tmp_path, options=lambda given: replace(given, keda=False)) as made:
            made.apply()
            found = await made.until(lambda: made.condition("ScaledObjectReady"), "a condition")
            assert (found["status"], found["reason"]) == ("False", "KedaNotInstalled")
            assert made.get("deployments")["spec"]["replicas"] == 0, "nothing runs that nobody would stop"
            await made.told("KedaNotInstalled")


class TestKeda:
    async def test_what_keda_has_given_up_is_nudged(self, one: World) -> None:
        """kedacore/keda#8168: the metric names lack ours."""
        one.keda_says(externalMetricNames=["s1-cron"])
        trigger = await one.until(
            lambda: (found := one.get("scaledobjects")["spec"]["triggers"][0]["metadata"]).get("nudge") and found,
            "nudge",
        )
        assert trigger["nudge"] == "1"
        await one.until(lambda: one.status()["phase"] == "Degraded", "Degraded while KEDA hears nothing")
        one.keda_says()
        await one.until(lambda: one.status()["phase"] == "ScaledToZero", "well again")
        assert one.get("scaledobjects")["spec"]["triggers"][0]["metadata"]["nudge"] == "1", "a nudge stays"

    async def test_a_secret_that_keda_misses_is_named(self, one: World) -> None:
        words = (
            'error resolving secret name {"LocalObjectReference":{}}LocalObjectReference{Name:hub,},Key:token,Optional'
        )
        failed = {"type": "Ready", "status": "False", "reason": "ScaledObjectCheckFailed", "message": words}
        one.keda_says(conditions=[failed])
        found = await one.until(
            lambda: (each := one.condition("ScaledObjectReady")).get("reason") == "SecretNotFound" and each, "its name"
        )
        assert "kubectl create secret generic hub -n ai" in found["message"]

    async def test_an_operator_that_renews_its_lease_no_more_is_away(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "KEDA_SECONDS", 0.05)
        monkeypatch.setattr(kedalease, "AWAY_SECONDS", 0.3)
        async with world(tmp_path) as made:

            def renew(at: str) -> None:
                about = {"name": "operator.keda.sh", "namespace": "keda"}
                lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": about}
                made.store.put("leases", {**lease, "spec": {"renewTime": at}})

            renew("2026-01-01T00:00:00.000000Z")
            made.apply()
            await made.until(lambda: made.get("scaledobjects"), "a ScaledObject")
            made.keda_says()
            found = await made.until(
                lambda: (each := made.condition("Ready")).get("reason") == "KedaNotRunning" and each, "KEDA away"
            )
            assert made.status()["phase"] == "Degraded"
            assert "Lease keda/operator.keda.sh" in found["message"]
            monkeypatch.setattr(kedalease, "AWAY_SECONDS", 60.0)
            renew("2026-01-01T00:00:02.000000Z")
            await made.until(lambda: made.condition("Ready").get("reason") == "ScaledToZero", "KEDA back")

    async def test_one_that_is_paused_is_not_asleep(self, one: World) -> None:
        item = one.get("scaledobjects")
        paused = {**item["metadata"], "annotations": {"autoscaling.keda.sh/paused": "true"}}
        one.store.put("scaledobjects", {**item, "metadata": paused})
        await one.until(lambda: one.status()["phase"] == "Degraded", "Degraded")
        assert (one.condition("Ready")["status"], one.condition("Ready")["reason"]) == ("False", "ScalingPaused")
        await one.told("ScalingPaused")


def by_hand(one: World, status: KubeObject) -> None:
    """What `kubectl patch --subresource=status --type=merge` writes."""
    target = Target(one.cluster.kinds.named("llmservices"), NAMESPACE, NAME, "status")
    one.cluster.writes.merge(target, {"status": status}, WriteOptions("kubectl-patch"))


class TestColdStarts:
    async def test_from_zero_to_ready_and_what_it_took(self, one: World) -> None:
        phases: list[str] = []

        def seen(event: Any) -> None:
            if event.resource == "llmservices" and (start := (event.object.get("status") or {}).get("coldStart")):
                phases.append(start["phase"])

        one.store.listen(seen)
        one.scale(1)
        await one.until(lambda: one.status().get("phase") == "Ready", "Ready")
        assert "loading" in phases
        assert one.condition("Ready")["message"] == "1 of 1 replicas are ready"
        assert len(one.status()["coldStartHistory"]) == 1
        one.scale(0)
        await one.until(lambda: one.status()["phase"] == "ScaledToZero", "ScaledToZero")
        await one.until(lambda: not one.items("pods"), "no pod")

    async def test_a_start_that_somebody_else_wrote_is_no_start(self, one: World) -> None:
        one.scale(1)
        await one.until(lambda: len(one.status().get("coldStartHistory") or []) == 1, "the start learned")
        history = one.status()["coldStartHistory"]
        start = {"phase": "loading", "since": "2026-01-01T00:00:00Z", "message": "by hand"}
        by_hand(one, {"coldStart": start, "enginePaths": ["/theirs"]})
        await one.until(lambda: not {"coldStart", "enginePaths"} & one.status().keys(), "theirs gone")
        assert one.status()["coldStartHistory"] == history
        one.scale(0)
        await one.until(lambda: one.status()["phase"] == "ScaledToZero", "ScaledToZero")
        assert one.status()["coldStartHistory"] == history

    async def test_no_device_is_left(self, tmp_path: Path) -> None:
        async with world(tmp_path, devices=1) as made:
            for name in ("qwen", "other"):
                made.apply(name=name)
                await made.settled(name)
                made.scale(1, name)
                await made.until(lambda name=name: made.status(name).get("phase") in {"Ready", "Loading"}, "a start")  # type: ignore[misc]
                if name == "qwen":
                    await made.until(lambda: made.status()["phase"] == "Ready", "Ready")
            found = await made.until(
                lambda: (each := made.condition("Ready", "other")).get("reason") == "Unschedulable" and each,
                "the reason",
            )
            assert "Insufficient nvidia.com/gpu" in found["message"]
            made.scale(0)
            await made.until(lambda: made.status("other")["phase"] == "Ready", "the device given on")

    async def test_an_engine_that_keeps_exiting(self, tmp_path: Path) -> None:
        async with world(tmp_path, runtimes=[engine_runtime("false")]) as made:
            made.apply()
            await made.settled()
            made.scale(1)
            await made.until(lambda: made.status().get("phase") == "Degraded", "Degraded")
            assert made.condition("Ready")["reason"] == "EngineCrashing"
            await made.told("EngineCrashing")
            await made.told("BackOff")

    async def test_a_container_that_cannot_be_made(self, one: World) -> None:
        def refuse(pod: KubeObject) -> Any:
            raise NotStartable("CreateContainerConfigError", 'secret "hub" not found')

        one.cluster.kubelet.place = refuse
        one.scale(1)
        await one.until(lambda: one.status().get("phase") == "Degraded", "Degraded")
        found = one.condition("Ready")
        assert found["reason"] == "ContainerNotCreated"
        assert 'secret "hub" not found' in found["message"]


class TestLeases:
    async def test_of_several_the_one_that_holds_the_lease_works(self, tmp_path: Path) -> None:
        async with world(tmp_path, lease=True, controllers=2) as made:
            lease = await made.until(lambda: made.store.get("leases", "hearth-system", "hearth-controller"), "a Lease")
            assert lease["spec"]["holderIdentity"] in {"controller-0", "controller-1"}
            made.apply()
            await made.settled()
            told = await made.told("Resolved", "Normal")
            assert told["reportingInstance"] == lease["spec"]["holderIdentity"]


async def test_an_llmservice_that_is_refused_is_refused_in_words(one: World) -> None:
    with pytest.raises(Refusal, match=r"spec\.scaling\.max") as raised:
        one.apply("spec.scaling.max=-1")
    assert raised.value.code == 422
