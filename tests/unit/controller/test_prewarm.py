"""What is told of a prewarm."""

from typing import Any

import pytest

from hearth.controller.prewarm import at_work, bytes_told, cached_verdict, downloading, outdated
from hearth.controller.world import World


def job(*, failed: int = 0, **conditions: str) -> dict[str, Any]:
    made = [{"type": kind, "status": "True", "message": message} for kind, message in conditions.items()]
    return {"metadata": {"name": "qwen-prewarm-1"}, "status": {"failed": failed, "conditions": made}}


def pod(created: str = "1", *, phase: str = "Pending", **state: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"metadata": {"name": f"p{created}", "creationTimestamp": created}, "spec": {}}
    made["status"] = {"phase": phase, "containerStatuses": [{"state": state}] if state else []}
    return made


def ended(code: int, message: str = "") -> dict[str, Any]:
    return {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}


NO_NODE = pod()
NO_NODE["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"}]
INIT = pod()
INIT["status"]["initContainerStatuses"] = [{"state": {"terminated": ended(3, "no certificate")}}]
EVICTED = pod(phase="Failed")
EVICTED["status"] |= {"reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."}


@pytest.mark.parametrize(
    ("found", "pods", "reason", "says"),
    [
        (job(Complete=""), [pod(terminated=ended(1))], "Cached", "has filled the cache"),
        (job(), [], "Downloading", "is at it"),
        (job(), [pod(waiting={"reason": "ContainerCreating"})], "Downloading", "is at it"),
        (job(), [pod(running={})], "Downloading", "is at it"),
        (job(), [pod(terminated=ended(0))], "Downloading", "is at it"),
        (job(), [NO_NODE], "Unschedulable", "0/2 nodes are available"),
        (job(), [INIT], "PrewarmFailed", "exited with 3: no certificate"),
        (job(failed=1), [EVICTED], "PrewarmFailed", "low on resource"),
        (
            job(),
            [pod(waiting={"reason": "ErrImagePull", "message": "no such image"})],
            "ImageNotPulled",
            "no such image",
        ),
        (
            job(failed=2),
            [pod(terminated=ended(1, "401 Unauthorized"))],
            "PrewarmFailed",
            "2 failed so far: pod p1 exited with 1: 401",
        ),
        (
            job(failed=7, Failed="Job has reached the specified backoff limit"),
            [pod("1", terminated=ended(1, "the first")), pod("2", terminated=ended(1, "the last"))],
            "PrewarmFailed",
            "has given up: pod p2 exited with 1: the last; once it is mended, kubectl delete job qwen-prewarm-1",
        ),
        (job(Failed="Job was active longer than specified deadline"), [], "PrewarmFailed", "longer than specified"),
    ],
)
def test_its_fate_is_told(found: dict[str, Any], pods: list[dict[str, Any]], reason: str, says: str) -> None:
    verdict = cached_verdict(World(None, None, [], prewarm=found, prewarm_pods=pods))
    assert verdict is not None
    assert (verdict.type, verdict.status, verdict.reason) == ("ModelCached", reason == "Cached", reason)
    assert says in verdict.message


def test_without_a_prewarm_nothing_is_said() -> None:
    assert cached_verdict(World(None, None, [])) is None


@pytest.mark.parametrize(
    ("count", "says"),
    [(5 * 2**20, "5242880 bytes (5.0 MiB) so far"), (3 * 2**29, "1610612736 bytes (1.5 GiB) so far")],
)
def test_how_much_there_is_is_told(count: int, says: str) -> None:
    verdict = cached_verdict(World(None, None, [], prewarm=job(), prewarm_pods=[pod(running={})], prewarm_bytes=count))
    assert verdict is not None
    assert says in verdict.message


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("hearth: in the cache: 4 KiB\nFetching 3 files\nhearth: in the cache: 2048 KiB\n", 2048 * 1024),
        ("hearth: in the cache: 4 KiB", 4096),
        ("hearth: in the cache:  KiB\n", None),  # an image without du
        ("model: hearth: in the cache: 4 KiB", None),
        ("", None),
    ],
)
def test_the_latest_line_counts(log: str, told: int | None) -> None:
    assert bytes_told(log) == told


def test_only_a_pod_that_runs_is_asked() -> None:
    assert (
        downloading(World(None, None, [], prewarm_pods=[pod("1", phase="Failed"), pod("2", phase="Running")])) == "p2"
    )
    assert downloading(World(None, None, [], prewarm_pods=[pod("1")])) is None


def of_claim(name: str = "c", *, made: str = "2026-01-01T00:00:10Z") -> dict[str, Any]:
    """A Job that was made then and fills this claim."""
    volumes = [
        {"name": "own", "persistentVolumeClaim": {"claimName": "theirs"}},
        {"name": "cache", "persistentVolumeClaim": {"claimName": name}},
    ]
    found = job(Complete="")
    return {
        "metadata": {**found["metadata"], "creationTimestamp": made},
        "spec": {"template": {"spec": {"volumes": volumes}}},
    }


def claim(made: str, *, leaving: bool = False) -> dict[str, Any]:
    return {"metadata": {"creationTimestamp": made, **({"deletionTimestamp": made} if leaving else {})}}


@pytest.mark.parametrize(
    ("wanted", "claims", "goes"),
    [
        (["qwen-prewarm-1"], {"c": claim("2026-01-01T00:00:09Z")}, False),
        (["qwen-prewarm-1"], {"c": claim("2026-01-01T00:00:10Z")}, False),  # times are whole seconds
        (["qwen-prewarm-1"], {"c": claim("2026-01-01T00:00:11Z")}, True),
        (["qwen-prewarm-1"], {"c": claim("2026-01-01T00:00:09Z", leaving=True)}, True),
        (["qwen-prewarm-1"], {"theirs": claim("2026-01-01T00:00:11Z", leaving=True)}, False),
        (["qwen-prewarm-1"], {}, False),
        (["qwen-prewarm-2"], {"c": claim("2026-01-01T00:00:09Z")}, True),
        ([], {}, True),
        (None, {"c": claim("2026-01-01T00:00:09Z")}, False),
        (None, {"c": claim("2026-01-01T00:00:09Z", leaving=True)}, True),
    ],
)
def test_a_job_goes_with_the_claim_that_it_was_made_for(
    wanted: list[str] | None, claims: dict[str, Any], goes: bool
) -> None:
    assert outdated(of_claim(), wanted, claims) is goes


@pytest.mark.parametrize(
    ("component", "owner", "phase", "writes"),
    [
        ("prewarm", "other", "Running", True),
        ("prewarm", "other", "Pending", True),
        ("prewarm", "other", "Succeeded", False),
        ("prewarm", "other", "Failed", False),
        ("prewarm", "kept", "Running", False),
        ("engine", "other", "Running", False),
    ],
)
def test_a_pod_of_an_earlier_job_writes_until_it_is_over(component: str, owner: str, phase: str, writes: bool) -> None:
    about = {"labels": {"app.kubernetes.io/component": component}, "ownerReferences": [{"uid": owner}]}
    assert at_work([{"metadata": about, "status": {"phase": phase}}], ["kept"]) is writes


def said(reason: str, message: str, *, of: str = "u-job", component: str = "job-controller") -> dict[str, Any]:
    return {"reason": reason, "message": message, "involvedObject": {"uid": of}, "source": {"component": component}}


REFUSED = said("FailedCreate", 'Error creating: pods "p" is forbidden: exceeded quota: none')
NOT_MOUNTED = said("FailedMount", 'secret "hub" not found', of="u-pod", component="kubelet")


@pytest.mark.parametrize(
    ("events", "pods", "reason", "says"),
    [
        ([REFUSED], [], "PodNotCreated", "Job qwen-prewarm-1: Error creating: pods"),
        ([REFUSED], [pod(phase="Failed", terminated=ended(1, "401"))], "PodNotCreated", "exceeded quota"),
        ([REFUSED, said("SuccessfulCreate", "Created pod: p")], [], "Downloading", "is at it"),
        ([REFUSED], [pod()], "Downloading", "is at it"),
        ([NOT_MOUNTED], [pod()], "VolumeNotMounted", 'pod p1: secret "hub" not found'),
        ([said("Scheduled", "to a", of="u-pod"), NOT_MOUNTED], [NO_NODE], "Unschedulable", "0/2 nodes"),
        ([said("TriggeredScaleUp", "pool 0->1", of="u-pod")], [NO_NODE], "Downloading", "is at it"),
        ([], [pod(waiting={"reason": "CreateContainerConfigError", "message": "no x"})], "ContainerNotCreated", "no x"),
    ],
)
def test_what_keeps_its_pod_away_is_told(
    events: list[dict[str, Any]], pods: list[dict[str, Any]], reason: str, says: str
) -> None:
    made = job()
    made["metadata"]["uid"] = "u-job"
    pods = [{**each, "metadata": {**each["metadata"], "uid": "u-pod"}} for each in pods]
    verdict = cached_verdict(World(None, None, [], prewarm=made, prewarm_pods=pods, prewarm_events=events))
    assert verdict is not None
    assert (verdict.status, verdict.reason) == (False, reason)
    assert says in verdict.message
