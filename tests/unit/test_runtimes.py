"""The files in runtimes/ and runtimes/vendors/: what each says of itself, and what an LLMService becomes on it.

Nobody here has these devices. So each file's head says where its facts are from, when that was read and whether it ever ran;
and what it renders is compared with what the vendor's device plugin documents.
"""

import re
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.manifest import load_runtimes, parse_runtime, set_fields
from hearth.crd_translator import RuntimeNotResolved, render
from hearth.crd_translator.arguments import FAMILIES
from tests.builders import ROOT, bundled_runtimes, llmservice

VENDORS = ROOT / "runtimes" / "vendors"
FILES = sorted([*(ROOT / "runtimes").glob("*.yaml"), *VENDORS.glob("*.yaml")])
OF_VENDORS = load_runtimes(VENDORS)
RUNTIMES = {runtime.metadata.name: runtime for runtime in [*bundled_runtimes(), *OF_VENDORS]}

HAMI: dict[str, dict[str, str]] = {
    # 20 GiB and 30 % of one device, in the units that HAMi's pages give.
    "nvidia-hami-vllm": {"nvidia.com/gpu": "1", "nvidia.com/gpumem": "20480", "nvidia.com/gpucores": "30"},
    "ascend-hami-vllm": {"huawei.com/Ascend910B3": "1", "huawei.com/Ascend910B3-memory": "20480"},
    "moorethreads-hami-vllm": {
        "mthreads.com/vgpu": "1",
        "mthreads.com/sgpu-memory": "40",
        "mthreads.com/sgpu-core": "5",
    },
    "cambricon-hami-vllm": {"cambricon.com/vmlu": "1", "cambricon.com/mlu.smlu.vcore": "30"},
    "hygon-hami-vllm": {"hygon.com/dcunum": "1", "hygon.com/dcumem": "20480", "hygon.com/dcucores": "30"},
    "metax-hami-vllm": {"metax-tech.com/sgpu": "1", "metax-tech.com/vmemory": "20", "metax-tech.com/vcore": "30"},
    "iluvatar-hami-vllm": {
        "iluvatar.ai/BI-V150-vgpu": "1",
        "iluvatar.ai/BI-V150.vMem": "80",
        "iluvatar.ai/BI-V150.vCore": "30",
    },
    "kunlun-hami-vllm": {"kunlunxin.com/vxpu": "1", "kunlunxin.com/vxpu-memory": "20480"},
}

WHOLE: dict[str, list[str]] = {
    "nvidia-vllm": ["nvidia.com/gpu"],
    "nvidia-sglang": ["nvidia.com/gpu"],
    "amd-vllm": ["amd.com/gpu"],
    "ascend-vllm": ["huawei.com/Ascend910", "huawei.com/ascend-1980"],
    "ascend-310p-vllm": ["huawei.com/Ascend310P", "huawei.com/ascend-310"],
    "ascend-mindie": ["huawei.com/Ascend910", "huawei.com/ascend-1980"],
    "moorethreads-vllm": ["mthreads.com/gpu"],
    "biren-vllm": ["birentech.com/gpu"],
    "cambricon-vllm": ["cambricon.com/mlu", "cambricon.com/mlu370", "cambricon.com/mlu590"],
    "hygon-vllm": ["hygon.com/dcu"],
    "metax-vllm": ["metax-tech.com/gpu"],
    "iluvatar-vllm": ["iluvatar.com/gpu"],
    "kunlun-vllm": ["kunlunxin.com/xpu"],
    "intel-vllm": ["gpu.intel.com/xe", "gpu.intel.com/i915"],
    "gaudi-vllm": ["habana.ai/gaudi"],
    "cpu-llamacpp": [],
    "cpu-vllm": [],
}

MOUNTED = {
    "ascend-vllm": {
        "/usr/local/Ascend/driver",
        "/usr/local/dcmi",
        "/usr/local/bin/npu-smi",
        "/etc/ascend_install.info",
    },
    "hygon-vllm": {"/opt/hyhal"},
    "kunlun-vllm": {"/usr/local/bin/xpu-smi"},
    "iluvatar-vllm": {"/lib/modules", "/usr/src"},
}
MOUNTED |= {
    "ascend-310p-vllm": MOUNTED["ascend-vllm"],
    "ascend-hami-vllm": MOUNTED["ascend-vllm"],
    "ascend-mindie": MOUNTED["ascend-vllm"],
    "hygon-hami-vllm": MOUNTED["hygon-vllm"],
    "kunlun-hami-vllm": MOUNTED["kunlun-vllm"],
}
"""Folders and files of the host, by runtime; the others take none."""


def given(runtime: InferenceRuntime) -> InferenceRuntime:
    """The runtime with an image, where its file leaves it to the user."""
    if not runtime.spec.container.image_wanted:
        return runtime
    return parse_runtime(set_fields(runtime.to_manifest(), ["spec.container.image=registry.example/engine:1"]))


def rendered(name: str, *assignments: str) -> dict[str, Any]:
    """The engine's pod of an LLMService on this runtime."""
    runtime = given(RUNTIMES[name])
    source = [] if FAMILIES[runtime.spec.family].loads_hubs else ["spec.model.source.uri=pvc://models/qwen"]
    service = llmservice(f"spec.runtime={{name: {name}}}", *source, *assignments)
    pod: dict[str, Any] = render(service, [runtime]).of_kind("Deployment")[0]["spec"]["template"]["spec"]
    return pod


def limits(pod: dict[str, Any]) -> dict[str, str]:
    """What the engine gets, but memory."""
    return {name: count for name, count in pod["containers"][0]["resources"]["limits"].items() if name != "memory"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_says_where_it_is_from_when_and_whether_it_ran(path: Path) -> None:
    head, _, rest = path.read_text().partition("apiVersion:")
    assert rest, "one document"
    lines = head.splitlines()
    assert all(line.startswith("# ") for line in lines)
    said = {line.split()[1]: " ".join(line.split()[2:]) for line in lines if re.match("# (Source|Date|Ran): ", line)}
    assert re.search(r"https://|PyPI", said["Source:"])
    assert date.fromisoformat(said["Date:"]) >= date(2026, 11, 29)
    assert said["Ran:"]
    assert "not verified" not in head, "what is not known is said in the head's first sentences, by name"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_has_the_name_of_its_runtime_which_begins_with_its_vendor(path: Path) -> None:
    runtime = RUNTIMES[path.stem]
    assert runtime.metadata.name.startswith(f"{runtime.spec.vendor}-")


def test_no_two_of_a_vendor_have_the_same_priority() -> None:
    """Who applies all of a vendor's must not meet AmbiguousPriority."""
    pairs = combinations(RUNTIMES.values(), 2)
    same = [
        (one.metadata.name, other.metadata.name)
        for one, other in pairs
        if (one.spec.vendor, one.spec.priority) == (other.spec.vendor, other.spec.priority)
    ]
    assert same == []


def test_every_runtime_has_its_facts_here() -> None:
    assert {*WHOLE, *HAMI} == set(RUNTIMES)


@pytest.mark.parametrize("name", WHOLE)
def test_the_first_resource_that_nodes_have_is_asked_for(name: str) -> None:
    runtime = RUNTIMES[name]
    assert list(runtime.spec.accelerator.resources) == WHOLE[name]
    for count in runtime.spec.accelerator.allowed_counts or ([1, 2] if WHOLE[name] else [0]):
        assert limits(rendered(name, f"spec.resources.accelerators={count}")) == dict.fromkeys(
            WHOLE[name][:1], str(count)
        )


@pytest.mark.parametrize("name", HAMI)
def test_a_share_is_asked_for_in_the_plugins_units(name: str) -> None:
    names = RUNTIMES[name].spec.accelerator.sharing.resource_names
    fraction = {"memory": "20Gi"} if names.memory else {}
    fraction |= {"cores": "30"} if names.cores else {}
    asked = ", ".join(f"{kind}: {amount}" for kind, amount in fraction.items())
    pod = rendered(name, f"spec.resources.fraction={{{asked}}}")
    assert limits(pod) == HAMI[name]
    assert pod["schedulerName"] == "hami-scheduler"


def test_what_is_not_whole_is_rounded_up() -> None:
    """A share that is too small is an engine that does not start."""
    asked = "spec.resources.fraction={memory: 20481Mi, cores: 1}"
    assert limits(rendered("moorethreads-hami-vllm", asked)) == {
        "mthreads.com/vgpu": "1",
        "mthreads.com/sgpu-memory": "41",
        "mthreads.com/sgpu-core": "1",
    }
    assert limits(rendered("metax-hami-vllm", asked))["metax-tech.com/vmemory"] == "21"


@pytest.mark.parametrize("name", RUNTIMES)
def test_the_host_gives_what_the_docs_mount_and_nothing_can_be_written_there(name: str) -> None:
    pod = rendered(name)
    paths = {volume["name"]: volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume}
    mounts = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] in paths]
    assert {paths[mount["name"]] for mount in mounts} == MOUNTED.get(name, set())
    assert all(mount["readOnly"] and mount["mountPath"] == paths[mount["name"]] for mount in mounts)


@pytest.mark.parametrize("name", RUNTIMES)
def test_the_engine_is_told_the_model_and_listens_where_it_is_looked_for(name: str) -> None:
    runtime = RUNTIMES[name]
    (container,) = rendered(name)["containers"]
    words = [*container.get("command", []), *container["args"]]
    family = runtime.spec.family
    assert ("/models/source" if family == "mindie" else "Qwen/Qwen3-8B") in words
    port = container["ports"][0]["containerPort"]
    joined = " ".join(words)
    assert f"--port {port}" in joined or f"--port={port}" in joined or f"port={port}," in joined
    if family in ("vllm", "sglang"):
        assert container["args"][-2:] == ["--served-model-name", "qwen"]


@pytest.mark.parametrize("name", ["ascend-vllm", "ascend-hami-vllm", "ascend-310p-vllm", "ascend-mindie"])
def test_the_entrypoint_of_an_image_that_sets_its_environment_is_kept(name: str) -> None:
    assert RUNTIMES[name].spec.container.command == []


@pytest.mark.parametrize("name", ["cambricon-vllm", "iluvatar-vllm", "kunlun-vllm"])
def test_an_engine_that_does_not_know_the_option_is_not_given_it(name: str) -> None:
    """vLLM has --shutdown-timeout since 0.18, and ends at an option that it does not know."""
    assert "--shutdown-timeout" not in " ".join(rendered(name)["containers"][0]["args"])


def test_a_script_passes_on_what_hearth_adds() -> None:
    """An argument behind `bash -c SCRIPT NAME` is one of "$@"."""
    for name, runtime in RUNTIMES.items():
        words = [*runtime.spec.container.command, *runtime.spec.container.args]
        if "-c" in words:
            assert '"$@"' in words[words.index("-c") + 1], name


def test_kunlun_gives_what_does_not_cross_numa_nodes() -> None:
    with pytest.raises(RuntimeNotResolved) as raised:
        rendered("kunlun-vllm", "spec.resources.accelerators=3")
    assert raised.value.reason == "CountNotAllowed"


@pytest.mark.parametrize("uri", ["hf://Qwen/Qwen3-8B", "modelscope://Qwen/Qwen3-8B"])
def test_mindie_loads_folders(uri: str) -> None:
    with pytest.raises(RuntimeNotResolved, match="it loads a folder that is there, such as pvc://") as raised:
        rendered("ascend-mindie", f"spec.model.source.uri={uri}")
    assert raised.value.reason == "SourceNotSupported"


@pytest.mark.parametrize("choice", ["{name: biren-vllm}", "{selector: {vendor: [biren]}}"])
def test_what_has_no_public_image_is_chosen_for_nothing_until_it_is_given_one(choice: str) -> None:
    service = llmservice(f"spec.runtime={choice}")
    with pytest.raises(RuntimeNotResolved, match="registry.invalid/biren/vllm:ask-biren', which stands for") as raised:
        render(service, OF_VENDORS)
    assert raised.value.reason == "RuntimeInvalid"
    mine = [given(runtime) for runtime in OF_VENDORS]
    assert render(service, mine).runtime.metadata.name == "biren-vllm"


def test_one_without_an_image_stands_in_nobodys_way() -> None:
    service = llmservice("spec.runtime.selector.vendor=[biren, nvidia]")
    assert render(service, [*OF_VENDORS, *bundled_runtimes()]).runtime.metadata.name == "nvidia-vllm"


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        ("registry.invalid/a:1", True),
        ("invalid/a", True),
        ("registry.invalid:5000/a@sha256:" + "0" * 64, True),
        ("registry.example/invalid/a:1", False),
        ("notinvalid/a:1", False),
        ("invalid", False),
        ("vllm/vllm-openai:v0.33.0", False),
    ],
)
def test_which_image_stands_for_one_that_is_to_be_given(image: str, wanted: bool) -> None:
    container = RUNTIMES["biren-vllm"].spec.container.model_copy(update={"image": image})
    assert bool(container.image_wanted) is wanted


def test_vendors_files_are_not_installed_by_default() -> None:
    """They are not in the folder that `hearth render` and `hearth up` read, and not in the chart."""
    names = {runtime.metadata.name for runtime in OF_VENDORS}
    assert names.isdisjoint(runtime.metadata.name for runtime in bundled_runtimes())
    assert names.isdisjoint(path.stem for path in (ROOT / "deploy/chart/runtimes").iterdir())
