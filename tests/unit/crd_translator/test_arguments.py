import pytest

from hearth.crd_translator.arguments import engine_arguments
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
    for given in ("-tp", "--tensor-parallel-size=2"):
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
