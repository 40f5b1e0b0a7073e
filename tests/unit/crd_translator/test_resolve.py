import pytest

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.crd_translator.facts import ClusterFacts
from hearth.crd_translator.resolve import RuntimeNotResolved, resolve_runtime
from tests.builders import bundled_runtimes, llmservice, runtime

NVIDIA_AND_ASCEND = "spec.runtime.selector.vendor=[nvidia, ascend]"


def resolved(*assignments: str, runtimes: list[InferenceRuntime], nodes: set[str] | None = None) -> str:
    facts = ClusterFacts(accelerators=None if nodes is None else frozenset(nodes))
    return resolve_runtime(llmservice(*assignments), runtimes, facts).metadata.name


def test_the_users_order_decides_among_vendors_with_nodes() -> None:
    runtimes = [runtime("a", "ascend"), runtime("n", "nvidia")]
    assert resolved(NVIDIA_AND_ASCEND, runtimes=runtimes) == "n"
    assert resolved(NVIDIA_AND_ASCEND, runtimes=runtimes, nodes={"ascend.com/gpu"}) == "a"
    assert resolved(NVIDIA_AND_ASCEND, runtimes=runtimes, nodes={"ascend.com/gpu", "nvidia.com/gpu"}) == "n"


def test_where_no_vendor_has_nodes_yet_the_users_order_decides_alone() -> None:
    runtimes = [runtime("a", "ascend"), runtime("n", "nvidia")]
    assert resolved(NVIDIA_AND_ASCEND, runtimes=runtimes, nodes=set()) == "n"


def test_priority_decides_within_a_vendor() -> None:
    assert resolved(runtimes=[runtime("old", priority=1), runtime("new", priority=2)]) == "new"


def test_equal_priority_at_the_top_is_ambiguous_and_names_both() -> None:
    with pytest.raises(RuntimeNotResolved, match="one and two .* both have priority 5") as raised:
        resolved(runtimes=[runtime("one", priority=5), runtime("two", priority=5), runtime("low", priority=1)])
    assert raised.value.reason == "AmbiguousPriority"


def test_a_runtime_by_name_needs_no_vendor() -> None:
    assert resolved("spec.runtime={name: special}", runtimes=[runtime("special", "other"), runtime("n")]) == "special"


def test_an_unknown_name_and_an_unknown_vendor_say_what_there_is() -> None:
    with pytest.raises(RuntimeNotResolved, match="only n") as raised:
        resolved("spec.runtime={name: gone}", runtimes=[runtime("n")])
    assert raised.value.reason == "RuntimeNotFound"
    with pytest.raises(RuntimeNotResolved, match="are for: biren") as raised:
        resolved(runtimes=[runtime("b", "biren")])
    assert raised.value.reason == "NoRuntimeForVendor"


def test_a_fraction_goes_to_a_runtime_that_shares_devices() -> None:
    runtimes = bundled_runtimes()
    assert resolved(runtimes=runtimes) == "nvidia-vllm"
    assert resolved("spec.resources.fraction={memory: 8Gi}", runtimes=runtimes) == "nvidia-hami-vllm"
    with pytest.raises(RuntimeNotResolved) as raised:
        resolved("spec.resources.fraction={memory: 8Gi}", "spec.runtime.selector.vendor=[ascend]", runtimes=runtimes)
    assert raised.value.reason == "SharingNotSupported"
