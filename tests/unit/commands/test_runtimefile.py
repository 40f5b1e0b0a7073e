"""What `hearth runtime check` says of a file alone: of the project's own nothing but what they lack, of each mistake its words."""

from typing import Any

import pytest

from hearth.api.manifest import load_runtimes, parse_runtime
from hearth.commands.check import Check
from hearth.commands.runtimefile import file_checks
from tests.builders import ROOT, bundled_runtimes, runtime_manifest

OWN = [*bundled_runtimes(), *load_runtimes(ROOT / "runtimes" / "vendors")]


def lacking(*assignments: str, name: str = "r") -> dict[str, Check]:
    """What is not well with an InferenceRuntime, by what was looked at."""
    checks = file_checks(parse_runtime(runtime_manifest(*assignments, name=name)))
    return {check.what.removeprefix(f"{name}: "): check for check in checks if not check.well}


@pytest.mark.parametrize("runtime", OWN, ids=lambda runtime: runtime.metadata.name)
def test_the_projects_own_lack_nothing_but_an_image_that_is_not_public(runtime: Any) -> None:
    checks = file_checks(runtime)
    wanting = ["biren-vllm: image"] if runtime.metadata.name == "biren-vllm" else []
    assert [check.what for check in checks if not check.well] == wanting
    assert all(check.found for check in checks)


def test_a_small_one_is_well_and_each_look_has_a_line() -> None:
    checks = file_checks(parse_runtime(runtime_manifest()))
    assert [check.what for check in checks if not check.well] == []
    assert [check.what for check in checks] == [
        *("r: image", "r: model", "r: port", "r: startup probe", "r: readiness probe", "r: liveness probe"),
        *("r: drain", "r: device", "r: renders"),
    ]
    assert checks[-1].found == "an engine of an LLMService asks for 1 nvidia.com/gpu"


VLLM, SGLANG, LLAMA = "spec.family=vllm", "spec.family=sglang", "spec.family=llamacpp"


@pytest.mark.parametrize(
    ("assignments", "what", "found", "fix"),
    [
        (["spec.container.image=a.invalid/b"], "image", "stands for an image that you have to give", "vendor's image"),
        (["spec.container.args=[--model, x]"], "model", "no {{ .Model.Path }}", "write {{ .Model.Path }}"),
        (
            ["spec.container.port={containerPort: 9000}"],
            "port",
            "the engine listens on 8000; container.port.containerPort is 9000",
            "give it --port 9000",
        ),
        (["spec.container.args=['{{ .Model.Path }}', --port=9]"], "port", "the engine listens on 9", "--port 8000"),
        (["spec.container.args=['{{ .Model.Path }}', --host, 127.0.0.1]"], "host", "only its own pod", "--host ::"),
        ([SGLANG, "spec.container.port={containerPort: 30000}"], "host", "127.0.0.1, which only its own pod", "--host"),
        ([LLAMA, "spec.container.port={containerPort: 8080}"], "host", "127.0.0.1, which only its own pod", "--host"),
        (
            ["spec.health.readiness={httpGet: {path: /healthz}}"],
            "readiness probe",
            "GET /healthz, which vllm does not answer",
            "use one of /health",
        ),
        (
            ["spec.family=own"],
            "liveness probe",
            "none is given, so GET /health; whether an engine of family 'own'",
            "spec.health.liveness",
        ),
        (
            ["spec.metrics={running: 'vllm:num_requests_runing'}"],
            "metrics.running",
            "vllm:num_requests_runing, which vllm does not have: a drain would not see what runs, and cut it",
            "use vllm:num_requests_running",
        ),
        (
            ["spec.metrics={running: 'vllm:num_requests_waiting'}"],
            "metrics.running",
            "which vllm does not have",
            "use vllm:num_requests_running",
        ),
        (
            ["spec.metrics={ttft: 'vllm:ttft'}"],
            "metrics.ttft",
            "vllm:ttft, which vllm does not have",
            "use vllm:time_to_first_token_seconds",
        ),
        ([LLAMA, "spec.metrics={ttft: a}"], "metrics.ttft", "a, which llamacpp does not have", "take it out"),
        (
            [SGLANG, "spec.metrics={running: 'sglang:num_running_reqs'}"],
            "metrics",
            "sglang counts nothing without --enable-metrics",
            "add --enable-metrics",
        ),
        (
            [
                "spec.volumes=[{name: a, hostPath: {path: /opt/own}}]",
                "spec.volumeMounts=[{name: a, mountPath: /opt/own}]",
            ],
            "mounts",
            "engines may write to /opt/own",
            "readOnly: true",
        ),
        (["spec.family=vLLM"], "family", "'vLLM' is none that is known", "did you mean vllm?"),
        (["spec.container.args=['{{ .Model.Path }}', --host, '[::1]']"], "host", "only its own pod", "--host ::"),
        (["spec.container.args=['{{ .Model.Path }}', --host=127.0.0.2]"], "host", "only its own pod", "--host ::"),
        (
            ["spec.container.args=['{{ .Model.Path }}', --uds, /tmp/x]"],
            "port",
            "the socket /tmp/x alone",
            "--port 8000",
        ),
        (
            ["spec.volumes=[{name: a, hostpath: {path: /x}}]"],
            "fields",
            "volumes[0]: Kubernetes knows no hostpath",
            "hostPath?",
        ),
        (["spec.volumes=[{name: a}]"], "volumes", "volumes[0]: no source", "emptyDir: {}"),
        (
            ["spec.volumes=[{name: a, emptyDir: {}, hostPath: {path: /x}}]"],
            "volumes",
            "emptyDir and hostPath",
            "one source",
        ),
        (["spec.volumes=[{name: a, hostPath: {path: /x/../y}}]"], "volumes", "hostPath.path: /x/../y", "absolute path"),
        (["spec.volumes=[{name: a, hostPath: {path: /x, type: Dir}}]"], "volumes", "hostPath.type: Dir", "Directory"),
        (
            ["spec.volumes=[{name: a, emptyDir: {}}]", "spec.volumeMounts=[{name: a, mountPath: /x, readonly: true}]"],
            "fields",
            "volumeMounts[0]: Kubernetes knows no readonly",
            "did you mean readOnly?",
        ),
        (
            ["spec.volumes=[{name: a, emptyDir: {}}]", "spec.volumeMounts=[{name: a, mountPath: /x, subPath: /y}]"],
            "mounts",
            "subPath: /y",
            "without / in front",
        ),
        (
            ["spec.container.env=[{name: A, valueFrom: {fieldref: {fieldPath: status.podIP}}}]"],
            "fields",
            "container.env[0].valueFrom: Kubernetes knows no fieldref",
            "did you mean fieldRef?",
        ),
        (
            ["spec.template={spec: {containers: [{name: engine, resources: {limits: {nvidia.com/gpu: 2}}}]}}"],
            "renders",
            "TemplateRefused",
            "names the field",
        ),
    ],
)
def test_each_mistake_is_said_with_what_to_do(assignments: list[str], what: str, found: str, fix: str) -> None:
    told = lacking(*assignments)[what]
    assert found in told.found
    assert fix in told.fix


@pytest.mark.parametrize(
    "assignments",
    [
        ["spec.container.command=[bash, -c, 'exec serve --port 9000 \"$@\"']", "spec.container.port={containerPort: 9000}"],
        ["spec.container.args=['{{ .Model.Path }}', --port, $(HEARTH_ENGINE_PORT)]"],
        ["spec.container.command=[sh, -c, \"exec vllm serve m --port '8000'; echo\"]"],
        ["spec.container.command=[sh, -c, 'vllm serve m --port 8000;']"],
        ["spec.container.command=[sh, -c, \"vllm serve m --port $PORT '\"]"],
        [SGLANG, "spec.container.args=['{{ .Model.Path }}', --port=8000, --host=0.0.0.0]"],
        ["spec.health.liveness={tcpSocket: {port: 1}}"],
        ["spec.health.liveness={httpGet: {path: /own, port: 9000}}"],
        ["spec.family=own", "spec.health={" + ", ".join(f"{p}: {{httpGet: {{path: /up}}}}" for p in ("startup", "readiness", "liveness")) + "}"],
        ["spec.accelerator={allowedCounts: [2, 4], resourceName: a.com/b}"],
        ["spec.accelerator={resourceClaims: [{name: gpu, resourceClaimTemplateName: a}]}"],
        ["spec.accelerator={}"],
    ],
)  # fmt: skip
def test_what_may_be_so_is_well(assignments: list[str]) -> None:
    assert lacking(*assignments) == {}


def test_of_a_family_that_is_not_known_it_is_told_what_nobody_adds() -> None:
    own = ("spec.family=lmdeploy", "spec.accelerator={resourceName: a.com/npu, allowedCounts: [1, 2]}")
    told = {check.what: check for check in file_checks(parse_runtime(runtime_manifest(*own, name="r")))}
    assert "no {{ .Service.Name }}" in told["r: name"].found
    assert "no {{ .Resources.Accelerators }}" in told["r: accelerators"].found
    words = "'{{ .Model.Path }}', --model-name, '{{ .Service.Name }}', --tp, '{{ .Resources.Accelerators }}'"
    checks = file_checks(parse_runtime(runtime_manifest(*own, f"spec.container.args=[{words}]", name="r")))
    assert {"r: name", "r: accelerators"}.isdisjoint(check.what for check in checks)


def test_a_share_is_rendered_too() -> None:
    sharing = "spec.accelerator.sharing={supported: true, memoryUnit: 1Gi, resourceNames: {memory: a.com/mem}}"
    *_, share = file_checks(parse_runtime(runtime_manifest(sharing)))
    assert (share.what, share.found) == (
        "r: renders a share",
        "an engine of an LLMService asks for 1 nvidia.com/gpu, 8 a.com/mem",
    )


@pytest.mark.parametrize(("image", "moves"), [("a/b", True), ("a:1/b:latest", True), ("a:1/b", True), ("a/b:1", False)])
def test_an_image_without_a_version_is_told(image: str, moves: bool) -> None:
    first = file_checks(parse_runtime(runtime_manifest(f"spec.container.image={image}")))[0]
    assert first.well
    assert ("each start may be another" in first.found) is moves
