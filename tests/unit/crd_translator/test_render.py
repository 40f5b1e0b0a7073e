"""Golden files: what each runtime and source becomes. `pytest --update-golden` writes them anew; read the diff."""

import re
from pathlib import Path

import pytest
import yaml

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.crd_translator import ClusterFacts, render
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


def runtimes() -> list[InferenceRuntime]:
    return [*bundled_runtimes(), EVERY_FIELD]


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
