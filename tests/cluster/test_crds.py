"""The generated CRDs on a real API server: what it takes, what it fills in, what it refuses and how it says so."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from hearth import yamljson
from hearth.api.manifest import parse_llmservice, parse_runtime
from tests import refusals
from tests.builders import ROOT, SEED, llmservice_manifest, runtime_manifest
from tests.cluster.controlplane import CommandFailed, ControlPlane
from tests.unit.test_yamljson import READ


@pytest.fixture(scope="module")
def crds(plane: ControlPlane) -> Iterator[ControlPlane]:
    """A cluster that knows LLMService and InferenceRuntime, with a namespace ai-prod."""
    plane.kubectl("apply", "--server-side", "-f", str(ROOT / "deploy/crds"))
    plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    plane.kubectl("create", "namespace", "ai-prod")
    yield plane
    plane.kubectl("delete", "namespace", "ai-prod")
    plane.kubectl("delete", "-f", str(ROOT / "deploy/crds"))


def apply(plane: ControlPlane, *assignments: str, name: str = "qwen", dry: bool = True) -> dict[str, Any]:
    """Apply an LLMService and return it as the API server has it. Raises CommandFailed."""
    manifest = json.dumps(llmservice_manifest(name, "ai-prod", *assignments))
    arguments = ["--dry-run=server"] if dry else []
    made: dict[str, Any] = json.loads(plane.kubectl("apply", *arguments, "-o", "json", "-f", "-", stdin=manifest))
    return made


def test_the_seed_manifest_is_accepted_as_it_stands_and_listed(crds: ControlPlane) -> None:
    crds.kubectl("apply", "-f", str(SEED))
    lines = crds.kubectl("get", "llms", "-n", "ai-prod").splitlines()
    assert lines[0].split() == ["NAME", "PHASE", "READY", "REASON", "REPLICAS", "RUNTIME", "AGE"]
    assert lines[1].split()[0] == "deepseek-v3-small"
    wide = crds.kubectl("get", "hearth", "-n", "ai-prod", "-o", "wide").splitlines()
    more = ["RUNTIME", "QUEUE", "URL", "AGE"]
    assert wide[0].split() == ["NAME", "PHASE", "READY", "REASON", "REPLICAS", *more]


@pytest.mark.parametrize("runtime", sorted((ROOT / "runtimes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_bundled_runtime_is_accepted(crds: ControlPlane, runtime: Any) -> None:
    crds.kubectl("apply", "--validate=strict", "-f", str(runtime))
    assert runtime.stem in crds.kubectl("get", "infr")


@pytest.mark.parametrize(
    "assignments",
    [
        [],
        ["spec.scaling={max: 4, schedules: [{start: 0 8 * * 1-5, end: 0 18 * * 1-5}]}"],
        ["spec.endpoint.coldStart.progress=reasoning", "spec.cache.prewarm=true"],
        ["spec.resources={accelerators: 1, cpu: 4, fraction: {memory: 8Gi}}"],
    ],
)
def test_the_api_server_fills_in_the_defaults_that_the_models_have(crds: ControlPlane, assignments: list[str]) -> None:
    stored = apply(crds, *assignments)
    ours = parse_llmservice(llmservice_manifest("qwen", "ai-prod", *assignments)).to_manifest()
    assert parse_llmservice(stored).to_manifest()["spec"] == ours["spec"]
    for part in ("scaling", "endpoint", "cache"):
        assert stored["spec"][part] == ours["spec"][part]


@pytest.mark.parametrize("case", refusals.LLMSERVICES)
def test_wrong_objects_are_refused_by_the_api_server_in_words(crds: ControlPlane, case: str) -> None:
    refusal = refusals.LLMSERVICES[case]
    with pytest.raises(CommandFailed) as raised:
        apply(crds, refusal.assignment)
    assert refusal.server in str(raised.value)


@pytest.mark.parametrize("case", refusals.INFERENCE_RUNTIMES)
def test_wrong_runtimes_are_refused_too(crds: ControlPlane, case: str) -> None:
    refusal = refusals.INFERENCE_RUNTIMES[case]
    manifest = json.dumps(runtime_manifest(refusal.assignment))
    with pytest.raises(CommandFailed) as raised:
        crds.kubectl("apply", "--dry-run=server", "-f", "-", stdin=manifest)
    assert refusal.server in str(raised.value)


@pytest.mark.parametrize("case", refusals.GOOD_LLMSERVICES)
def test_what_the_models_take_the_api_server_takes_as_it_stands(crds: ControlPlane, case: str) -> None:
    stored = apply(crds, refusals.GOOD_LLMSERVICES[case])
    ours = parse_llmservice(llmservice_manifest("qwen", "ai-prod", refusals.GOOD_LLMSERVICES[case])).to_manifest()
    assert parse_llmservice(stored).to_manifest()["spec"] == ours["spec"]


@pytest.mark.parametrize("case", refusals.GOOD_RUNTIMES)
def test_what_the_models_take_of_runtimes_the_api_server_takes(crds: ControlPlane, case: str) -> None:
    manifest = runtime_manifest(refusals.GOOD_RUNTIMES[case])
    arguments = ("apply", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-")
    stored = json.loads(crds.kubectl(*arguments, stdin=json.dumps(manifest)))
    assert parse_runtime(stored).to_manifest()["spec"] == parse_runtime(manifest).to_manifest()["spec"]


def in_int64(value: object) -> bool:
    return not isinstance(value, int | float) or abs(value) < 2**63


def test_kubectl_reads_yaml_as_hearth_does(crds: ControlPlane) -> None:
    # A volume may have any fields. What is null, or more than an int64 holds, the API server keeps in its own way.
    texts = [text for text, value in READ.items() if value is not None and "\n" not in text and in_int64(value)]
    fields = "".join(f"    field{number}: {text}\n" for number, text in enumerate(texts))
    text = f"{yamljson.dump_all([runtime_manifest()])}  volumes:\n  - name: v\n{fields}"
    stored = json.loads(crds.kubectl("apply", "--dry-run=server", "-o", "json", "-f", "-", stdin=text))
    (made,) = stored["spec"]["volumes"]
    assert {text: made[f"field{number}"] for number, text in enumerate(texts)} == {text: READ[text] for text in texts}


def test_a_name_that_no_service_may_have_is_refused(crds: ControlPlane) -> None:
    with pytest.raises(CommandFailed, match="expected a DNS label"):
        apply(crds, name="qwen.v2")


def test_a_name_that_another_ones_service_may_have_is_refused(crds: ControlPlane) -> None:
    with pytest.raises(CommandFailed, match="expected a name that does not end in -engine"):
        apply(crds, name="qwen-engine")


def test_a_name_longer_than_a_services_may_be_is_refused(crds: ControlPlane) -> None:
    with pytest.raises(CommandFailed, match="metadata.name: Too long"):
        apply(crds, name="q" * 64)


def test_scaling_by_hand_sets_the_minimum(crds: ControlPlane) -> None:
    apply(crds, "spec.scaling.max=3", dry=False)
    crds.kubectl("scale", "llmservice/qwen", "-n", "ai-prod", "--replicas=2")
    service = json.loads(crds.kubectl("get", "llmservice", "qwen", "-n", "ai-prod", "-o", "json"))
    assert service["spec"]["scaling"]["min"] == 2
    with pytest.raises(CommandFailed, match="must be at most max"):
        crds.kubectl("scale", "llmservice/qwen", "-n", "ai-prod", "--replicas=4")


def test_the_status_is_written_on_its_own(crds: ControlPlane) -> None:
    apply(crds, name="status", dry=False)
    patch = json.dumps({"status": {"phase": "Ready", "replicas": 1, "resolvedRuntime": "nvidia-vllm"}})
    crds.kubectl("patch", "llms/status", "-n", "ai-prod", "--subresource=status", "--type=merge", "-p", patch)
    assert crds.kubectl("get", "llms/status", "-n", "ai-prod").splitlines()[1].split()[1:4] == [
        "Ready",
        "1",
        "nvidia-vllm",
    ]
    wrong = json.dumps({"status": {"phase": "Sleeping"}})
    with pytest.raises(CommandFailed, match="Sleeping"):
        crds.kubectl("patch", "llms/status", "-n", "ai-prod", "--subresource=status", "--type=merge", "-p", wrong)


def test_explain_reads_well(crds: ControlPlane) -> None:
    text = crds.kubectl("explain", "llmservice.spec.scaling")
    assert "When replicas come and go. KEDA and the HPA do the counting." in text
    for field in ("min", "max", "target", "activationTimeout", "scaleDownStabilization", "drainTimeout", "schedules"):
        assert f"  {field}\t<" in text
    assert "How long a request is held." in text
    text = crds.kubectl("explain", "inferenceruntime.spec.template.spec")
    for field in ("affinity", "tolerations", "priorityClassName", "volumes", "initContainers", "containers"):
        assert f"  {field}\t<" in text
