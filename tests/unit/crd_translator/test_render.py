"""Golden files: what each runtime and source becomes. `pytest --update-golden` writes them anew; read the diff."""

import re
from pathlib import Path

import pytest
import yaml

from hearth.crd_translator import render
from hearth.crd_translator.storage import claim_name
from tests.builders import bundled_runtimes, llmservice, runtime

GOLDEN = Path(__file__).parent / "golden"

CASES = {
    **{
        f"runtime-{runtime.metadata.name}": [f"spec.runtime={{name: {runtime.metadata.name}}}"]
        for runtime in bundled_runtimes()
    },
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
    rendered = render(llmservice(*CASES[case]), bundled_runtimes())
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
