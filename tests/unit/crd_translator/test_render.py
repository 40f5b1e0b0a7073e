"""Golden files: what each runtime and source becomes. `pytest --update-golden` writes them anew; read the diff."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.template import WAIT
from hearth.crd_translator import ClusterFacts, EngineClient, RuntimeNotResolved, readiness_path, render
from hearth.crd_translator.storage import claim_name
from tests.builders import bundled_runtimes, llmservice, runtime

GOLDEN = Path(__file__).parent / "golden"

EVERY_FIELD = runtime(
    "every-field",
    "own",
    container={
        "image": "registry.example.com/engine:1",
        "command": ["serve", "{{ .Service.Name }}"],
        "args": ["{{ .Model.Path }}"],
        "env": [
            {"name": "MODEL", "value": "{{ .Model.Name }}"},
            {"name": "HF_HOME", "value": "/mine"},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
        "port": {"name": "api", "containerPort": 9000},
    },
    accelerator={
        "resourceName": "own.example/device",
        "nodeSelector": {"own.example/present": "true"},
        "tolerations": [
            {"key": "own.example/device", "operator": "Exists", "effect": "NoSchedule"},
            {"key": "spot", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 60},
        ],
        "runtimeClassName": "own-runtime",
        "scheduler": {"name": "volcano", "queue": "models"},
    },
    resources={"cpu": "4", "memory": "16Gi"},
    volumes=[{"name": "driver", "hostPath": {"path": "/usr/local/own"}}],
    volumeMounts=[{"name": "driver", "mountPath": "/usr/local/own", "readOnly": True}],
    health={
        "readiness": {"tcpSocket": {"port": "api"}, "periodSeconds": 2},
        "liveness": {"httpGet": {"path": "/live"}, "periodSeconds": 3},
        "startup": {"exec": {"command": ["ready"]}, "failureThreshold": 9},
    },
    lifecycle={"terminationGracePeriodSeconds": 900},
    metrics={"path": "/own", "port": 9001, "running": "own_running"},
)
"""A runtime that uses every field: what a bundled one does not use has its golden file here."""


TEMPLATED = runtime(
    "templated",
    container={"image": "engine:1", "env": [{"name": "A", "value": "runtime"}, {"name": "B", "value": "runtime"}]},
    accelerator={"resourceName": "own.example/device", "tolerations": [{"key": "own.example/device"}]},
    resources={"cpu": "4", "memory": "16Gi"},
    volumes=[{"name": "driver", "hostPath": {"path": "/usr/local/own"}}],
    volumeMounts=[{"name": "driver", "mountPath": "/usr/local/own"}],
    prewarm={"image": "hub-client:1", "command": ["fetch", "{{ .Model.Path }}"]},
    template={
        "metadata": {"labels": {"team": "runtime"}, "annotations": {"sidecar.istio.io/inject": "false"}},
        "spec": {
            "nodeSelector": {"pool": "gpu", "zone": "a"},
            "affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
            "tolerations": [{"key": "spot", "operator": "Exists"}],
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000},
            "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
            "containers": [
                {
                    "name": "engine",
                    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
                    "volumeMounts": [{"name": "ca", "mountPath": "/etc/ssl/certs", "readOnly": True}],
                    "securityContext": {"capabilities": {"add": ["IPC_LOCK"]}},
                }
            ],
        },
    },
)
"""A runtime with a template of its own, over which an LLMService lays another one."""


def runtimes() -> list[InferenceRuntime]:
    return [*bundled_runtimes(), EVERY_FIELD, TEMPLATED]


CASES = {
    **{
        f"runtime-{runtime.metadata.name}": [f"spec.runtime={{name: {runtime.metadata.name}}}"]
        for runtime in bundled_runtimes()
    },
    "runtime-every-field": ["spec.runtime={name: every-field}"],
    "source-modelscope-secret": [
        "spec.model.source={uri: 'modelscope://org/m@v2', secretRef: {name: hub}}",
        "spec.cache={prewarm: true, strategy: SharedPVC, storageClassName: nfs}",
    ],
    "source-hf-secret-prewarm": [
        "spec.model.source={uri: 'hf://org/m', secretRef: {name: hub}}",
        "spec.cache.prewarm=true",
        "spec.imagePullSecrets=[{name: registry}]",
    ],
    "source-pvc": ["spec.model.source.uri=pvc://claim/sub/path"],
    "source-oci": ["spec.model.source.uri=oci://registry.example.com/m:1"],
    "source-s3": ["spec.model.source={uri: 's3://bucket/m', secretRef: {name: keys}}"],
    "cache-hostpath": ["spec.cache.strategy=HostPath"],
    "cache-none": ["spec.cache={strategy: 'None', size: 10Gi}"],
    "cache-baked": ["spec.cache.strategy=BakedImage"],
    "four-accelerators": ["spec.resources={accelerators: 4, cpu: 16, memory: 64Gi}"],
    "fraction": ["spec.resources.fraction={memory: 8Gi, cores: 30}"],
    "schedules": [
        "spec.scaling={max: 4, schedules: [{start: 0 8 * * 1-5, end: 0 18 * * 1-5, timezone: Asia/Shanghai, replicas: 2}]}"
    ],
    "template": [
        "spec.runtime={name: templated}",
        "spec.cache={prewarm: true}",
        "spec.template.metadata={labels: {team: service}, annotations: {note: mine}}",
        "spec.template.spec={nodeSelector: {zone: b}, priorityClassName: high, serviceAccountName: models,"
        " affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: []}},"
        " tolerations: [{key: spot, operator: Exists}, {key: night}],"
        " topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}],"
        " securityContext: {fsGroup: 2000}, volumes: [{name: driver, emptyDir: {}}, {name: shm, emptyDir: {}}],"
        " initContainers: [{name: certs, image: 'certs:1', volumeMounts: [{name: ca, mountPath: /ca}]}],"
        " containers: [{name: engine, env: [{name: B, value: service}, {name: HF_ENDPOINT, value: 'https://mirror'}],"
        " envFrom: [{secretRef: {name: more}}], resources: {requests: {cpu: 8}, limits: {cpu: 16}}},"
        " {name: log, image: 'log:1', ports: [{name: log, containerPort: 9}]}]}",
    ],
    "prewarm-shared": ["spec.cache={prewarm: true, strategy: SharedPVC}"],
    "source-oci-secret": ["spec.model.source={uri: 'oci://registry.example.com/m:1', secretRef: {name: registry}}"],
    "long-silence-and-drain": ["spec.scaling={scaleDownStabilization: 1h, drainTimeout: 15m, max: 8}"],
}


@pytest.mark.parametrize("case", CASES)
def test_rendered_objects_are_as_they_were(case: str, update_golden: bool) -> None:
    rendered = render(llmservice(*CASES[case]), runtimes())
    text = yaml.safe_dump_all(rendered.objects, sort_keys=False, width=110)
    golden = GOLDEN / f"{case}.yaml"
    if update_golden:
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_written_as_an_alias(case: str) -> None:
    """What is rendered goes into Git and is read by people."""
    text = yaml.safe_dump_all(render(llmservice(*CASES[case]), runtimes()).objects)
    assert not re.search(r"[&*]id\d+", text)


def test_there_is_no_golden_file_without_a_case() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(CASES)


def test_moving_to_another_vendor_or_hub_is_one_line() -> None:
    vendors = [
        render(llmservice(f"spec.runtime.selector.vendor=[{vendor}]"), bundled_runtimes()).runtime.metadata.name
        for vendor in ("nvidia", "ascend")
    ]
    assert vendors == ["nvidia-vllm", "ascend-vllm"]
    hubs = [
        render(llmservice(f"spec.model.source.uri={hub}://Qwen/Qwen3-8B"), bundled_runtimes()).of_kind("Deployment")[0]
        for hub in ("hf", "modelscope")
    ]
    args = [deployment["spec"]["template"]["spec"]["containers"][0]["args"] for deployment in hubs]
    assert args[0] == args[1]


def test_where_hearth_is_reached_is_the_callers_to_say_and_has_a_default() -> None:
    facts = ClusterFacts("activator.example", "scaler.example:1")
    for given, activator, scaler in (
        (facts, "activator.example", "scaler.example:1"),
        (
            None,
            "hearth-activator.hearth-system.svc.cluster.local",
            "hearth-scaler.hearth-system.svc.cluster.local:9090",
        ),
    ):
        rendered = render(llmservice(), bundled_runtimes(), given)
        _, alias = rendered.of_kind("Service")
        (scaled,) = rendered.of_kind("ScaledObject")
        assert alias["spec"]["externalName"] == activator
        assert scaled["spec"]["triggers"][0]["metadata"]["scalerAddress"] == scaler


def test_a_share_asks_for_what_the_llmservice_names() -> None:
    sharing = {"supported": True, "resourceNames": {"cores": "own/cores", "memory": "own/memory"}}
    own = runtime("own", accelerator={"resourceName": "own/gpu", "sharing": sharing})
    rendered = render(llmservice("spec.runtime={name: own}", "spec.resources.fraction={cores: 30}"), [own])
    (container,) = rendered.of_kind("Deployment")[0]["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"own/gpu": "1", "own/cores": "30"}
    rendered = render(llmservice("spec.runtime={name: own}", "spec.resources.fraction={memory: 8Gi}"), [own])
    (container,) = rendered.of_kind("Deployment")[0]["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"own/gpu": "1", "own/memory": "8192"}


@pytest.mark.parametrize(
    "assignment",
    [
        "spec.imagePullSecrets=[{name: registry}]",
        "spec.model.source={uri: 'hf://org/m', secretRef: {name: hub}}",
        "spec.model.source.uri=hf://org/other",
        "spec.cache.strategy=SharedPVC",
    ],
)
def test_another_template_of_a_prewarm_is_another_job(assignment: str) -> None:
    base = ("spec.cache.prewarm=true", "spec.model.source.uri=hf://org/m")
    (before,), (same,), (after,) = (
        render(llmservice(*base, *more), bundled_runtimes()).of_kind("Job") for more in ((), (), (assignment,))
    )
    assert before == same
    assert before["spec"]["template"] != after["spec"]["template"]
    assert before["metadata"]["name"] != after["metadata"]["name"]


def test_no_two_vendors_share_a_claim() -> None:
    vendors = ["nvidia", "NVIDIA", "寒武纪", "昇腾", "a.b", "a-b", "a_b", "v" * 20 + "1", "v" * 20 + "2", "-", "--"]
    service = llmservice()
    names = [claim_name(service, runtime("r", vendor)) for vendor in vendors]
    assert len(set(names)) == len(vendors)
    assert names[0] == "qwen-cache-nvidia"
    assert all(re.fullmatch("qwen-cache-[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?", name) for name in names), names


def engine_pod(*assignments: str, by: InferenceRuntime) -> dict[str, Any]:
    rendered = render(llmservice(f"spec.runtime={{name: {by.metadata.name}}}", *assignments), [by])
    pod: dict[str, Any] = rendered.of_kind("Deployment")[0]["spec"]["template"]
    return pod


def prewarm_pod(*assignments: str, by: InferenceRuntime) -> dict[str, Any]:
    given = [f"spec.runtime={{name: {by.metadata.name}}}", "spec.cache.prewarm=true", *assignments]
    pod: dict[str, Any] = render(llmservice(*given), [by]).of_kind("Job")[0]["spec"]["template"]
    return pod


def test_a_prewarm_lands_where_the_engine_can_run_and_reaches_what_it_reaches() -> None:
    by = TEMPLATED
    engine, prewarm = engine_pod("spec.cache.prewarm=true", by=by)["spec"], prewarm_pod(by=by)["spec"]
    for field in ("nodeSelector", "affinity", "tolerations", "volumes", "securityContext"):
        assert prewarm[field] == engine[field], field
    (download,), (first, *_) = prewarm["containers"], engine["containers"]
    for field in ("volumeMounts", "securityContext", "resources"):
        assert download[field] == first[field], field
    assert [variable for variable in download["env"] if variable not in first["env"]] == [
        {"name": "TORCH_DEVICE_BACKEND_AUTOLOAD", "value": "0"}
    ]
    assert download["resources"]["limits"]["own.example/device"] == "1", "no other node has its volume"


def test_a_prewarm_of_a_shared_cache_takes_no_device() -> None:
    (download,) = prewarm_pod("spec.cache.strategy=SharedPVC", by=TEMPLATED)["spec"]["containers"]
    assert download["resources"] == {"requests": {"cpu": "4", "memory": "16Gi"}, "limits": {"memory": "16Gi"}}


@pytest.mark.parametrize(
    ("given", "jobs"),
    [
        ("spec.cache={strategy: SharedPVC}", 1),
        ("spec.cache={strategy: SharedPVC, prewarm: false}", 0),
        ("spec.cache={strategy: NodeLocalPVC}", 0),
    ],
)
def test_a_shared_cache_has_one_writer_where_nothing_else_is_said(given: str, jobs: int) -> None:
    rendered = render(llmservice("spec.runtime={name: templated}", given), [TEMPLATED])
    assert len(rendered.of_kind("Job")) == jobs
    waiting = [c for c in engine_pod(given, by=TEMPLATED)["spec"].get("initContainers", []) if c["name"] == WAIT]
    assert len(waiting) == jobs, "and engines wait for it"


def test_a_shared_cache_of_what_is_there_or_can_not_be_downloaded_by_a_job_has_none() -> None:
    llama = runtime("llama", family="llamacpp")
    shared = "spec.cache={strategy: SharedPVC}"
    for by, source in ((TEMPLATED, "s3://bucket/m"), (llama, "hf://org/m")):
        given = [f"spec.runtime={{name: {by.metadata.name}}}", f"spec.model.source.uri={source}", shared]
        assert not render(llmservice(*given), [by]).of_kind("Job"), source


def test_a_runtime_names_what_its_prewarm_runs() -> None:
    (download,) = prewarm_pod(by=TEMPLATED)["spec"]["containers"]
    assert download["image"] == "hub-client:1"
    assert download["command"][-2:] == ["fetch", "Qwen/Qwen3-8B"]


def test_sidecars_are_the_engines_and_init_containers_everybodys() -> None:
    more = "spec.template.spec={initContainers: [{name: a, image: a}], containers: [{name: b, image: b}]}"
    engine, prewarm = engine_pod(more, by=TEMPLATED)["spec"], prewarm_pod(more, by=TEMPLATED)["spec"]
    assert [[each["name"] for each in pod["containers"]] for pod in (engine, prewarm)] == [
        ["engine", "b"],
        ["download"],
    ]
    assert [[each["name"] for each in pod["initContainers"]] for pod in (engine, prewarm)] == [["a"], ["a"]]


def test_another_template_is_another_version_and_the_same_one_is_not() -> None:
    other = "spec.template.metadata.annotations={a: b}"
    versions = [
        engine_pod(*more, by=TEMPLATED)["metadata"]["annotations"]["serving.hearth.dev/version"]
        for more in ((), (), (other,))
    ]
    assert versions[0] == versions[1] != versions[2]


@pytest.mark.parametrize("port", ["{name: http, containerPort: 1}", "{containerPort: 8000}"])
@pytest.mark.parametrize("where", ["containers=[{", "initContainers=[{restartPolicy: Always, "])
def test_a_sidecar_cannot_have_the_engines_port(where: str, port: str) -> None:
    more = f"spec.template.spec.{where}name: b, image: b, ports: [{port}]}}]"
    with pytest.raises(RuntimeNotResolved, match=r"container b; http and 8000 are the engine's") as raised:
        engine_pod(more, by=TEMPLATED)
    assert raised.value.reason == "TemplateRefused"


def test_an_init_container_that_ends_may_have_had_the_engines_port() -> None:
    more = "spec.template.spec.initContainers=[{name: b, image: b, ports: [{containerPort: 8000}]}]"
    assert engine_pod(more, by=TEMPLATED)["spec"]["initContainers"][0]["name"] == "b"


@pytest.mark.parametrize("kind", ["requests", "limits"])
@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("own.example/device", "accelerators"),
        ("own.example/mem", "fraction"),
        ("own.example/cores", "fraction"),
    ],
)
def test_an_engines_devices_are_said_in_one_place(kind: str, name: str, use: str) -> None:
    accelerator = {
        "resourceName": "own.example/device",
        "sharing": {"supported": True, "resourceNames": {"memory": "own.example/mem", "cores": "own.example/cores"}},
    }
    resources = f"resources: {{{kind}: {{{name}: 3}}}}"
    of_service = f"spec.template.spec.containers=[{{name: engine, {resources}}}]"
    of_runtime = {"spec": {"containers": [{"name": "engine", "resources": {kind: {name: 3}}}]}}
    for by, more, whose in (
        (runtime("r", accelerator=accelerator), [of_service], "LLMService "),
        (runtime("r", accelerator=accelerator, template=of_runtime), [], "InferenceRuntime r: "),
    ):
        with pytest.raises(
            RuntimeNotResolved, match=rf"^{whose}.*found {name}: 3 .*use spec\.resources\.{use} "
        ) as raised:
            engine_pod(*more, by=by)
        assert raised.value.reason == "TemplateRefused"
    sidecar = f"spec.template.spec.containers=[{{name: b, image: b, {resources}}}]"
    assert engine_pod(sidecar, by=runtime("r", accelerator=accelerator))["spec"]["containers"][1]["name"] == "b"


@pytest.mark.parametrize(
    ("memory", "limits", "limit", "shm"),
    [
        ("", "", "16Gi", "8192Mi"),
        ("1", "", "1", "1Mi"),
        ("", "memory: 64Gi", "64Gi", "32768Mi"),
    ],
)
def test_memory_is_bounded_and_half_of_it_may_be_shared(memory: str, limits: str, limit: str, shm: str) -> None:
    given = [f"spec.resources.memory='{memory}'"] if memory else []
    given += (
        [f"spec.template.spec.containers=[{{name: engine, resources: {{limits: {{{limits}}}}}}}]"] if limits else []
    )
    pod = engine_pod(*given, by=TEMPLATED)["spec"]
    assert pod["containers"][0]["resources"]["limits"]["memory"] == limit
    assert pod["volumes"][0] == {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": shm}}


def test_without_memory_there_is_no_limit_and_a_shared_memory_still() -> None:
    pod = engine_pod(by=runtime("r"))["spec"]
    assert "memory" not in pod["containers"][0]["resources"]["limits"]
    assert pod["volumes"][0]["emptyDir"]["sizeLimit"] == "8Gi"


def test_a_registrys_secret_is_for_pulling_alone() -> None:
    source = "spec.model.source={uri: 'oci://registry.example.com/m:1', secretRef: {name: registry}}"
    pod = engine_pod(source, by=TEMPLATED)["spec"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert "registry" not in str(pod["containers"][0].get("envFrom")) + str(pod["containers"][0]["env"])
    twice = engine_pod(source, "spec.imagePullSecrets=[{name: registry}]", by=TEMPLATED)["spec"]
    assert twice["imagePullSecrets"] == [{"name": "registry"}]


def test_llama_cpp_needs_something_to_prewarm_with() -> None:
    llama = runtime("llama", family="llamacpp")
    with pytest.raises(RuntimeNotResolved, match=r"InferenceRuntime llama .*has no python3") as raised:
        prewarm_pod(by=llama)
    assert raised.value.reason == "PrewarmNotSupported"
    own = runtime("llama", family="llamacpp", prewarm={"image": "hub:1", "command": ["hf", "download"]})
    assert prewarm_pod(by=own)["spec"]["containers"][0]["image"] == "hub:1"


@pytest.mark.parametrize(
    ("probe", "path"),
    [
        ({}, "/health"),
        ({"periodSeconds": 1}, "/health"),
        ({"httpGet": {"path": "/ready", "port": 8000}}, "/ready"),
        ({"httpGet": {"path": "/ready", "port": "http", "scheme": "HTTP"}}, "/ready"),
        ({"httpGet": {"path": "/ready", "port": 9000}}, None),
        ({"httpGet": {"path": "/ready", "scheme": "HTTPS"}}, None),
        ({"tcpSocket": {"port": 8000}}, None),
        ({"exec": {"command": ["true"]}}, None),
    ],
)
def test_what_a_readiness_probe_asks_is_known_where_it_is_a_plain_get(probe: dict[str, Any], path: str | None) -> None:
    assert readiness_path(runtime(health={"readiness": probe})) == path


def test_claims_of_devices_are_the_pods_and_the_engines() -> None:
    claims = [
        {"name": "gpu", "resourceClaimTemplateName": "two-gpus"},
        {"name": "nic", "resourceClaimName": "shared", "request": "rdma"},
    ]
    chosen = runtime(accelerator={"resourceClaims": claims})
    (deployment,) = render(llmservice("spec.runtime={name: r}"), [chosen]).of_kind("Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["resourceClaims"] == [claims[0], {"name": "nic", "resourceClaimName": "shared"}]
    assert pod["containers"][0]["resources"] == {"claims": [{"name": "gpu"}, {"name": "nic", "request": "rdma"}]}


def test_only_those_that_are_named_reach_the_engines() -> None:
    clients = (EngineClient("hearth-system", "hearth-activator"), EngineClient("monitoring"))
    rendered = render(llmservice(), bundled_runtimes(), ClusterFacts(engine_clients=clients))
    (policy,) = rendered.of_kind("NetworkPolicy")
    (deployment,) = rendered.of_kind("Deployment")
    assert policy["spec"]["podSelector"] == deployment["spec"]["selector"]
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    (rule,) = policy["spec"]["ingress"]
    named = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "hearth-system"}}}
    labelled = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "hearth-activator"}}}
    anybody = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert rule == {"from": [{**named, **labelled}, anybody]}
    assert not render(llmservice(), bundled_runtimes(), ClusterFacts()).of_kind("NetworkPolicy")
