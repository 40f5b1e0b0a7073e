import pytest

from hearth.crd_translator import ClusterFacts
from hearth.crd_translator.arguments import engine_arguments
from hearth.crd_translator.render import render_on
from hearth.crd_translator.resolve import RuntimeNotResolved
from tests.builders import llmservice, runtime


def test_placeholders_are_filled_in() -> None:
    container = {
        "image": "i",
        "args": [
            "{{ .Model.Path }}|{{.Model.Name}}|{{ .Service.Namespace }}/{{ .Service.Name }}|{{ .Resources.Accelerators }}"
        ],
    }
    arguments = engine_arguments(llmservice(), runtime(container=container))
    assert arguments[0] == "Qwen/Qwen3-8B|Qwen3-8B|ai/qwen|1"


def test_the_served_name_is_the_llmservices_name() -> None:
    assert engine_arguments(llmservice(name="mine"), runtime())[1:] == ["--served-model-name", "mine"]


def test_more_accelerators_set_tensor_parallelism_unless_it_is_given() -> None:
    several = "spec.resources.accelerators=4"
    assert engine_arguments(llmservice(several), runtime())[-2:] == ["--tensor-parallel-size", "4"]
    for given in ("-tp", "--tensor-parallel-size=2", "--tensor_parallel_size=2", "-pp", "--data-parallel-size=4"):
        arguments = engine_arguments(llmservice(several, f"spec.runtime.argsOverride=['{given}']"), runtime())
        assert arguments.count("--tensor-parallel-size") == 0
        assert arguments[-1] == given


def test_overrides_come_last() -> None:
    arguments = engine_arguments(llmservice("spec.runtime.argsOverride=[--max-model-len, '8192']"), runtime())
    assert arguments[-2:] == ["--max-model-len", "8192"]


def test_an_engine_without_the_option_refuses_what_needs_it() -> None:
    unknown = runtime(family="own")
    assert engine_arguments(llmservice(), unknown) == ["Qwen/Qwen3-8B"]
    for uri in ("hf://a/b@main", "s3://bucket/x"):
        with pytest.raises(RuntimeNotResolved, match="spec.model.source.uri") as raised:
            engine_arguments(llmservice(f"spec.model.source.uri={uri}"), unknown)
        assert raised.value.reason == "SourceNotSupported"


@pytest.mark.parametrize(
    ("family", "added"),
    [
        ("vllm", ["--served-model-name", "qwen", "--tensor-parallel-size", "2", "--revision", "v1"]),
        ("sglang", ["--served-model-name", "qwen", "--tp-size", "2", "--revision", "v1"]),
    ],
)
def test_each_family_has_its_own_options(family: str, added: list[str]) -> None:
    service = llmservice("spec.resources.accelerators=2", "spec.model.source.uri=hf://a/b@v1")
    assert engine_arguments(service, runtime(family=family)) == ["a/b", *added]


def test_llama_cpp_has_an_alias_and_splits_by_itself() -> None:
    service = llmservice("spec.resources.accelerators=2")
    assert engine_arguments(service, runtime(family="llamacpp"))[1:] == ["--alias", "qwen"]


def test_two_accelerators_are_several_and_one_is_not() -> None:
    assert "--tensor-parallel-size" in engine_arguments(llmservice("spec.resources.accelerators=2"), runtime())
    for few in (0, 1):
        service = llmservice(f"spec.resources.accelerators={few}")
        assert "--tensor-parallel-size" not in engine_arguments(service, runtime())


@pytest.mark.parametrize(
    ("family", "given"),
    [
        ("vllm", "--served-model-name=x"),
        ("vllm", "--revision=x=y"),
        ("vllm", "--tensor-parallel-size"),
        ("vllm", "-tp"),
        ("sglang", "--tp"),
        ("sglang", "--tp-size"),
        ("sglang", "--tensor-parallel-size"),
        ("vllm", "--load-format=x"),
        ("llamacpp", "--alias=x"),
    ],
)
def test_what_the_user_gives_is_given_once(family: str, given: str) -> None:
    uri = "s3://bucket/x" if "load" in given else "hf://a/b" if family == "llamacpp" else "hf://a/b@v1"
    service = llmservice(
        f"spec.model.source.uri={uri}", "spec.resources.accelerators=4", f"spec.runtime.argsOverride=['{given}']"
    )
    arguments = engine_arguments(service, runtime(family=family))
    spellings = ("-tp", "--tp", "--tp-size", "--tensor-parallel-size")
    option = given.split("=", maxsplit=1)[0]
    same = spellings if option in spellings else (option,)
    assert [argument for argument in arguments if argument.split("=")[0] in same] == [given]


def test_an_own_engine_that_is_given_its_revision_needs_no_option() -> None:
    service = llmservice("spec.model.source.uri=hf://a/b@v1", "spec.runtime.argsOverride=['--revision', v1]")
    assert engine_arguments(service, runtime(family="own")) == ["a/b", "--revision", "v1"]


def test_weights_of_a_bucket_are_streamed() -> None:
    arguments = engine_arguments(llmservice("spec.model.source.uri=s3://bucket/x"), runtime())
    assert arguments == ["s3://bucket/x", "--served-model-name", "qwen", "--load-format", "runai_streamer"]


@pytest.mark.parametrize(
    ("uri", "args", "says"),
    [
        ("modelscope://a/b", ["-hf", "{{ .Model.Path }}"], "no option for a modelscope:// source"),
        ("pvc://claim/folder", ["-hf", "{{ .Model.Path }}"], "pvc:// source beside -hf"),
        ("oci://registry.example.com/m:1", ["-hf", "{{ .Model.Path }}"], "oci:// source beside -hf"),
        ("pvc://claim/folder", ["-m", "{{ .Model.Path }}"], "a folder; it loads one file"),
        ("oci://registry.example.com/m:1", ["-m", "{{ .Model.Path }}"], "a folder; it loads one file"),
    ],
)
def test_what_llama_cpp_cannot_load_is_refused_by_name(uri: str, args: list[str], says: str) -> None:
    own = runtime(family="llamacpp", container={"image": "llama", "args": args})
    with pytest.raises(RuntimeNotResolved, match=says) as raised:
        engine_arguments(llmservice(f"spec.model.source.uri={uri}"), own)
    assert raised.value.reason == "SourceNotSupported"


@pytest.mark.parametrize(
    ("uri", "args"),
    [
        ("pvc://claim/folder/model.gguf", ["-m", "{{ .Model.Path }}"]),
        ("pvc://claim/folder", ["-m", "{{ .Model.Path }}/model.gguf"]),
        ("hf://a/b", ["-hf", "{{ .Model.Path }}"]),
    ],
)
def test_what_llama_cpp_can_load_is_not(uri: str, args: list[str]) -> None:
    own = runtime(family="llamacpp", container={"image": "llama", "args": args})
    assert engine_arguments(llmservice(f"spec.model.source.uri={uri}"), own)[-1] == "qwen"


@pytest.mark.parametrize(
    ("family", "env", "found"),
    [
        ("vllm", [], {"VLLM_USE_MODELSCOPE"}),
        ("sglang", [], {"SGLANG_USE_MODELSCOPE"}),
        ("lmdeploy", [{"name": "LMDEPLOY_USE_MODELSCOPE", "value": "True"}], {"LMDEPLOY_USE_MODELSCOPE"}),
        ("lmdeploy", [], None),
    ],
)
def test_each_family_loads_from_modelscope_its_own_way(
    family: str, env: list[dict[str, str]], found: set[str] | None
) -> None:
    own = runtime(family=family, container={"image": "e", "args": ["{{ .Model.Path }}"], "env": env})
    service = llmservice("spec.model.source.uri=modelscope://a/b")
    if found is None:
        with pytest.raises(RuntimeNotResolved, match="no option for a modelscope:// source"):
            render_on(service, own, ClusterFacts())
        return
    (deployment,) = render_on(service, own, ClusterFacts()).of_kind("Deployment")
    variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {each["name"] for each in variables if "USE_MODELSCOPE" in each["name"]} == found


@pytest.mark.parametrize(
    ("family", "strategy", "found"),
    [
        ("vllm", "NodeLocalPVC", {"VLLM_CACHE_ROOT": "/models/cache/compiled/vllm_cache_root"}),
        ("vllm", "BakedImage", {}),
        ("llamacpp", "NodeLocalPVC", {}),
    ],
)
def test_what_an_engine_compiles_is_kept_with_the_weights(family: str, strategy: str, found: dict[str, str]) -> None:
    own = runtime(family=family, container={"image": "e", "args": ["{{ .Model.Path }}"]})
    (deployment,) = render_on(llmservice(f"spec.cache.strategy={strategy}"), own, ClusterFacts()).of_kind("Deployment")
    variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {each["name"]: each["value"] for each in variables if "CACHE_ROOT" in each["name"]} == found
