"""deploy/tenants on a real API server: what an LLMService may ask for, and who says otherwise. And the NetworkPolicies of
engines, as the controller's account may write them; nothing here enforces those."""

import json
from collections.abc import Iterator

import pytest

from tests.builders import ROOT, SEED, llmservice_manifest
from tests.cluster.controlplane import CommandFailed, ControlPlane
from tests.cluster.installed import SCALER, SYSTEM, Installed
from tests.cluster.kubectl import NAMESPACE, Cluster

LIMITS = "configmap/hearth-tenants"
SIDECAR = "{name: proxy, image: 'registry.example/tools/proxy:1'}"


@pytest.fixture(scope="module")
def cluster(installed: Installed) -> Cluster:
    return Cluster(installed.plane)


@pytest.fixture(scope="module")
def limited(cluster: Cluster) -> Iterator[Cluster]:
    """With the limits as they are shipped, in force."""
    plane = cluster.plane
    plane.kubectl("apply", "--server-side", "--validate=strict", "-k", str(ROOT / "deploy" / "tenants"))
    cluster.until(lambda: refused(plane, "spec.scaling.min=1"), "the policies in force")
    yield cluster
    plane.kubectl("delete", "-k", str(ROOT / "deploy" / "tenants"))
    cluster.until(lambda: not refused(plane, "spec.scaling.min=1"), "the policies gone")


def refused(plane: ControlPlane, *assignments: str, namespace: str = NAMESPACE) -> str:
    """What the API server says against an LLMService; empty where it takes it."""
    manifest = json.dumps(llmservice_manifest("qwen", namespace, *assignments))
    try:
        plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=manifest)
    except CommandFailed as error:
        if "ValidatingAdmissionPolicy 'hearth-tenants'" not in str(error):
            raise
        return str(error)
    return ""


def limit(cluster: Cluster, **entries: str | None) -> None:
    cluster.plane.kubectl(
        *("patch", LIMITS, "-n", SYSTEM, "--type=merge", "-p", json.dumps({"data": entries})),
    )


def test_the_policies_read_the_fields_that_the_crd_has(limited: Cluster) -> None:
    """The API server checks the expressions against the CRD's schema, and warns of what it can't find there."""
    for name in ("hearth-tenants", "hearth-tenants-scale"):

        def checked(name: str = name) -> object:
            status = json.loads(
                limited.plane.kubectl("get", "validatingadmissionpolicy", name, "-o", "json"),
            ).get("status", {})
            return status if status.get("observedGeneration") else None

        status = limited.until(checked, f"{name} checked")
        assert not status.get("typeChecking", {}).get("expressionWarnings"), status


@pytest.mark.parametrize(
    "assignments",
    [
        (),
        ("spec.scaling.max=8", "spec.resources.accelerators=2"),
        ("spec.runtime={name: mine}",),
        ("spec.template.spec.volumes=[{name: more, emptyDir: {}}, {name: keys, secret: {secretName: k}}]",),
        ("spec.template.spec.tolerations=[{operator: Exists}]",),
        (
            "spec.template.spec.containers=[{name: engine, resources: {limits: {cpu: 4, memory: 8Gi}}, securityContext: "
            "{runAsUser: 1000, capabilities: {add: [NET_BIND_SERVICE]}}, env: [{name: A, value: b}]}]",
            "spec.template.spec.securityContext={fsGroup: 1000, seLinuxOptions: {type: container_t}}",
        ),
        ("spec.runtime.argsOverride=[--max-model-len, '8192']",),
    ],
)
def test_what_every_tenant_may(limited: Cluster, assignments: tuple[str, ...]) -> None:
    assert refused(limited.plane, *assignments) == ""


def test_the_example_is_taken(limited: Cluster) -> None:
    limited.plane.kubectl("create", "--dry-run=server", "-f", str(SEED))


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("spec.cache.strategy=HostPath", "spec.cache.strategy: found HostPath; ConfigMap hearth-system/hearth-tenants"),
        ("spec.model.source.uri=s3://bucket/model", 'spec.model.source.uri: found "s3://bucket/model"'),
        (
            "spec.template.spec.volumes=[{name: root, hostPath: {path: /}}]",
            "spec.template.spec.volumes: found hostPath",
        ),
        (
            "spec.template.spec.volumes=[{name: more, nfs: {server: a, path: /}}]",
            "spec.template.spec.volumes: found nfs",
        ),
        (f"spec.template.spec.containers=[{SIDECAR}]", "found registry.example/tools/proxy:1; ConfigMap"),
        (f"spec.template.spec.initContainers=[{SIDECAR}]", 'allows images: ""'),
        ("spec.template.spec.serviceAccountName=root", 'serviceAccountName: found "root"'),
        ("spec.template.spec.priorityClassName=first", 'priorityClassName: found "first"'),
        ("spec.scaling.min=1", "spec.scaling.min: found 1; ConfigMap hearth-system/hearth-tenants allows at most"),
        ("spec.scaling.max=9", "spec.scaling.max: found 9"),
        (
            "spec.scaling={max: 8, schedules: [{start: '0 0 * * *', end: '59 23 * * *'}]}",
            "spec.scaling.schedules: found replicas 1",
        ),
        (
            "spec.template.spec.containers=[{name: engine, resources: {limits: {nvidia.com/gpu: 64}}}]",
            "resources of a container: found nvidia.com/gpu; ConfigMap hearth-system/hearth-tenants allows resources",
        ),
        (
            "spec.template.spec.initContainers=[{name: a, resources: {requests: {amd.com/gpu: 1}}}]",
            "resources of a container: found amd.com/gpu",
        ),
        (
            "spec.template.spec.containers=[{name: engine, resources: {claims: [{name: gpu}]}}]",
            "resources of a container: found claims",
        ),
        *(
            (
                f"spec.template.spec.containers=[{{name: engine, securityContext: {context}}}]",
                "level baseline; ConfigMap",
            )
            for context in (
                "{privileged: true}",
                "{capabilities: {add: [NET_BIND_SERVICE, SYS_ADMIN]}}",
                "{capabilities: {add: [ALL]}}",
                "{procMount: Unmasked}",
                "{seccompProfile: {type: Unconfined}}",
                "{appArmorProfile: {type: Unconfined}}",
                "{seLinuxOptions: {type: spc_t}}",
                "{seLinuxOptions: {user: root}}",
                "{windowsOptions: {hostProcess: true}}",
            )
        ),
        ("spec.template.spec.initContainers=[{name: a, securityContext: {privileged: true}}]", "level baseline"),
        ("spec.template.spec.securityContext={seccompProfile: {type: Unconfined}}", "level baseline"),
        ("spec.template.spec.securityContext={sysctls: [{name: kernel.msgmax, value: '1'}]}", "level baseline"),
        ("spec.template.spec.containers=[{name: proxy, ports: [{containerPort: 1, hostPort: 1}]}]", "level baseline"),
        (
            "spec.template.metadata.annotations={k8s.v1.cni.cncf.io/networks: kube-system/host}",
            "spec.template.metadata.annotations: found k8s.v1.cni.cncf.io/networks",
        ),
        ("spec.template.spec.automountServiceAccountToken=true", "a token of the service account default; ConfigMap"),
        (
            "spec.template.spec.volumes=[{name: t, projected: {sources: [{serviceAccountToken: {path: t}}]}}]",
            "a token of the service account default",
        ),
        ("spec.resources.accelerators=17", "spec.resources.accelerators × spec.scaling.max: found 17"),
    ],
)
def test_what_no_tenant_may(limited: Cluster, assignment: str, says: str) -> None:
    assert says in refused(limited.plane, assignment)


def test_limits_are_the_admins_to_set(limited: Cluster) -> None:
    plane = limited.plane
    shipped = json.loads(plane.kubectl("get", LIMITS, "-n", SYSTEM, "-o", "json"))["data"]
    limit(limited, runtimes="nvidia-vllm, mine\nother", images="registry.example/tools/", tolerations="gpu")
    try:
        limited.until(lambda: refused(plane), "a runtime must be named")
        assert 'spec.runtime.name: found ""; ConfigMap' in refused(plane)
        assert refused(plane, "spec.runtime={name: other}") == ""
        assert refused(plane, "spec.runtime={name: mine}", f"spec.template.spec.containers=[{SIDECAR}]") == ""
        taint = "spec.template.spec.tolerations=[{operator: Exists}]"
        assert "spec.template.spec.tolerations: found" in refused(plane, "spec.runtime={name: mine}", taint)
        limit(limited, runtimes=None)
        limited.until(lambda: "no such key: runtimes" in refused(plane), "what is not there lets nothing through")
    finally:
        limit(limited, **shipped)
        limited.until(lambda: not refused(plane), "the shipped limits")


@pytest.mark.parametrize(
    ("entry", "allowed", "refused_ones", "taken"),
    [
        (
            "arguments",
            "--max-model-len= --enable-",
            ["[--model=evil/backdoor]", "[--max-model-len, '8192']", "[evil/backdoor]"],
            "spec.runtime.argsOverride=[--max-model-len=8192, --enable-auto-tool-choice]",
        ),
        (
            "environment",
            "A B",
            ["[{name: HF_ENDPOINT, value: 'http://evil.example'}]", "[{name: A, value: b}, {name: envFrom, value: b}]"],
            "spec.template.spec.containers=[{name: engine, env: [{name: A, value: b}]}]",
        ),
        (
            "annotations",
            "prometheus.io/",
            ["{example.com/prometheus.io/scrape: 'true'}"],
            "spec.template.metadata.annotations={prometheus.io/scrape: 'true'}",
        ),
    ],
)
def test_what_names_another_model_or_network_can_be_narrowed(
    limited: Cluster, entry: str, allowed: str, refused_ones: list[str], taken: str
) -> None:
    plane = limited.plane
    field, _, _ = taken.partition("=")
    before = json.loads(plane.kubectl("get", LIMITS, "-n", SYSTEM, "-o", "json"))["data"][entry]

    def asked(value: str) -> str:
        if field.endswith("containers"):
            return f"{field}=[{{name: engine, env: {value}}}]"
        return f"{field}={value}"

    limit(limited, **{entry: allowed})
    try:
        for value in refused_ones:
            limited.until(lambda value=value: refused(plane, asked(value)), f"{entry} in force")  # type: ignore[misc]
            assert f'allows {entry}: "' in refused(plane, asked(value))
        assert refused(plane, taken) == ""
        if entry == "environment":
            sources = "spec.template.spec.containers=[{name: engine, envFrom: [{secretRef: {name: all}}]}]"
            assert "env of a container: found envFrom" in refused(plane, sources)
    finally:
        limit(limited, **{entry: before})


def test_what_was_there_before_stays_and_can_be_deleted(limited: Cluster) -> None:
    plane = limited.plane
    limit(limited, minReplicas="2")
    limited.until(lambda: not refused(plane, "spec.scaling={min: 2, max: 2}"), "two replicas may stay")
    limited.apply("spec.scaling={min: 2, max: 2}", name="old")
    limit(limited, minReplicas="0")
    limited.until(lambda: refused(plane, "spec.scaling.min=1"), "none may")
    where = ("llmservice/old", "-n", NAMESPACE)
    plane.kubectl("annotate", *where, "note=kept")
    patch = ("--type=json", "-p", '[{"op": "add", "path": "/metadata/finalizers", "value": ["example.com/last"]}]')
    plane.kubectl("patch", *where, *patch)
    plane.kubectl("delete", *where, "--wait=false")
    plane.kubectl("patch", *where, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    limited.until(lambda: limited.get("llmservice", "old") is None, "gone")


def test_scale_is_no_way_around(limited: Cluster) -> None:
    limited.apply(name="asleep")
    with pytest.raises(CommandFailed, match="spec.replicas: found 1; ConfigMap hearth-system/hearth-tenants allows at"):
        limited.plane.kubectl("scale", "llmservice/asleep", "-n", NAMESPACE, "--replicas=1")
    limited.plane.kubectl("delete", "llmservice/asleep", "-n", NAMESPACE)


def test_a_namespace_with_the_label_has_other_limits_or_none(limited: Cluster) -> None:
    plane = limited.plane
    plane.kubectl("create", "namespace", "trusted")
    try:
        assert refused(plane, "spec.scaling.min=1", namespace="trusted")
        plane.kubectl("label", "namespace", "trusted", "serving.hearth.dev/limits=none")
        limited.until(lambda: not refused(plane, "spec.scaling.min=1", namespace="trusted"), "no limits")
    finally:
        plane.kubectl("delete", "namespace", "trusted", "--wait=false")


def test_engines_are_shut_to_others_and_open_again(installed: Installed, cluster: Cluster) -> None:
    flags = ("--engine-client", f"{SYSTEM}/hearth-activator", "--engine-client", "monitoring")
    cluster.apply(name="shut")
    with installed.role("controller", "--scaler-address", SCALER, *flags):
        policy = cluster.until(lambda: cluster.get("networkpolicy", "shut-engine"), "a NetworkPolicy")
        (owner,) = policy["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("LLMService", "shut")
        activators, monitoring = policy["spec"]["ingress"][0]["from"]
        assert activators["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "hearth-activator"}
        assert monitoring == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
        deployment = cluster.until(lambda: cluster.get("deployment", "shut"), "a Deployment")
        wanted = policy["spec"]["podSelector"]["matchLabels"].items()
        assert wanted <= deployment["spec"]["template"]["metadata"]["labels"].items()
        cluster.plane.kubectl("delete", "networkpolicy", "shut-engine", "-n", NAMESPACE)
        cluster.until(lambda: cluster.get("networkpolicy", "shut-engine"), "it comes back")
    with installed.role("controller", "--scaler-address", SCALER):
        cluster.until(lambda: cluster.get("networkpolicy", "shut-engine") is None, "everybody may again")
    cluster.plane.kubectl("delete", "llmservice/shut", "-n", NAMESPACE)
