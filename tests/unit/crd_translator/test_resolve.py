import pytest

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.crd_translator import ClusterFacts, render
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


def test_the_words_are_the_errors_text_and_list_what_there_is() -> None:
    with pytest.raises(RuntimeNotResolved) as raised:
        resolved("spec.runtime={name: gone}", runtimes=[runtime("b"), runtime("a")])
    assert str(raised.value) == (
        "LLMService ai/qwen: spec.runtime.name: found 'gone'; there is no such InferenceRuntime, only a, b"
    )
    with pytest.raises(RuntimeNotResolved) as raised:
        resolved(NVIDIA_AND_ASCEND, runtimes=[runtime("x", "cpu"), runtime("y", "amd"), runtime("z", "amd")])
    assert str(raised.value) == (
        "LLMService ai/qwen: spec.runtime.selector.vendor: found nvidia, ascend; the InferenceRuntimes are for: amd, cpu"
    )


@pytest.mark.parametrize("assignment", ["spec.runtime={name: gone}", NVIDIA_AND_ASCEND])
def test_where_there_is_no_runtime_at_all_it_says_none(assignment: str) -> None:
    with pytest.raises(RuntimeNotResolved, match=r"(only|are for:) none$"):
        resolved(assignment, runtimes=[])


@pytest.mark.parametrize(
    ("fraction", "names", "supported", "shares"),
    [
        ("{memory: 8Gi}", {"memory": "own/m"}, True, True),
        ("{memory: 8Gi}", {"cores": "own/c"}, True, False),
        ("{cores: 30}", {"cores": "own/c"}, True, True),
        ("{cores: 30}", {"memory": "own/m"}, True, False),
        ("{memory: 8Gi, cores: 30}", {"memory": "own/m"}, True, False),
        ("{memory: 8Gi, cores: 30}", {"cores": "own/c"}, True, False),
        ("{memory: 8Gi, cores: 30}", {"memory": "own/m", "cores": "own/c"}, True, True),
        ("{memory: 8Gi, cores: 30}", {"memory": "own/m", "cores": "own/c"}, False, False),
    ],
)
@pytest.mark.parametrize("chosen", ["spec.runtime={name: own}", "spec.runtime.selector.vendor=[nvidia]"])
def test_a_runtime_shares_what_it_has_names_for(
    chosen: str, fraction: str, names: dict[str, str], supported: bool, shares: bool
) -> None:
    sharing = runtime(
        "own", accelerator={"resourceName": "own/gpu", "sharing": {"supported": supported, "resourceNames": names}}
    )
    asked = (chosen, f"spec.resources.fraction={fraction}")
    if shares:
        assert resolved(*asked, runtimes=[sharing]) == "own"
    else:
        with pytest.raises(RuntimeNotResolved, match="InferenceRuntime own does not share") as raised:
            resolved(*asked, runtimes=[sharing])
        assert raised.value.reason == "SharingNotSupported"


def test_those_that_do_not_share_are_named() -> None:
    with pytest.raises(RuntimeNotResolved, match="InferenceRuntime a, b does not share"):
        resolved("spec.resources.fraction={cores: 30}", runtimes=[runtime("b"), runtime("a")])


def test_a_runtime_without_a_device_is_present_everywhere() -> None:
    runtimes = [runtime("c", "nvidia", accelerator={}), runtime("a", "ascend")]
    assert resolved(NVIDIA_AND_ASCEND, runtimes=runtimes, nodes={"ascend.com/gpu"}) == "c"


def vendors(**accelerators: dict[str, object]) -> list[InferenceRuntime]:
    return [runtime(name, name, accelerator=accelerator) for name, accelerator in accelerators.items()]


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        (ClusterFacts(accelerators=frozenset({"b/2"})), "second"),
        (ClusterFacts(accelerators=frozenset({"x/y"}), node_labels=({"pool": "a"},)), "first"),
        (ClusterFacts(accelerators=frozenset({"b/2"}), node_labels=({"pool": "a"},)), "first"),
        (ClusterFacts(accelerators=frozenset({"b/2"}), node_labels=({"pool": "a"},), exhausted=frozenset({"a/1"})), "second"),
        (ClusterFacts(accelerators=frozenset({"b/2"}), node_labels=({"pool": "b"}, {})), "second"),
        (ClusterFacts(accelerators=frozenset({"x/y"})), "first"),
    ],
)  # fmt: skip
def test_where_nothing_says_whether_devices_are_there_the_runtimes_nodes_do(facts: ClusterFacts, found: str) -> None:
    runtimes = vendors(
        first={"resourceName": "a/1", "nodeSelector": {"pool": "a"}}, second={"resourceNames": ["b/1", "b/2"]}
    )
    chosen = resolve_runtime(llmservice("spec.runtime.selector.vendor=[first, second]"), runtimes, facts)
    assert chosen.metadata.name == found


@pytest.mark.parametrize(
    ("there", "asked"), [({"b/2"}, "b/2"), ({"b/1", "b/2"}, "b/1"), ({"x/y"}, "b/1"), (None, "b/1")]
)
def test_of_several_plugins_the_first_that_nodes_have_is_asked_for(there: set[str] | None, asked: str) -> None:
    facts = ClusterFacts(accelerators=None if there is None else frozenset(there))
    runtimes = vendors(v={"resourceNames": ["b/1", "b/2"]})
    rendered = render(llmservice("spec.runtime={name: v}", "spec.resources.accelerators=2"), runtimes, facts)
    (deployment,) = rendered.of_kind("Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {asked: "2"}


def test_a_count_that_a_vendor_has_not_is_refused_by_name() -> None:
    runtimes = vendors(pairs={"resourceName": "p/1", "allowedCounts": [2, 4]}, any={"resourceName": "a/1"})
    both, count = "spec.runtime.selector.vendor=[pairs, any]", "spec.resources.accelerators="
    assert resolved(both, f"{count}4", runtimes=runtimes) == "pairs"
    assert resolved(both, f"{count}3", runtimes=runtimes) == "any", "another can"
    with pytest.raises(RuntimeNotResolved) as raised:
        resolved("spec.runtime={name: pairs}", f"{count}3", runtimes=runtimes)
    assert raised.value.reason == "CountNotAllowed"
    assert str(raised.value) == (
        "LLMService ai/qwen: spec.resources.accelerators: found 3; InferenceRuntime pairs has 2, 4"
    )


def test_devices_that_nothing_counts_are_one_or_none() -> None:
    """A chip without a device plugin's resource: two engines would land on one."""
    own = runtime("own", accelerator={})
    for count in (0, 1):
        assert resolved(f"spec.resources.accelerators={count}", runtimes=[own]) == "own"
    with pytest.raises(RuntimeNotResolved, match="found 2; InferenceRuntime own has 0, 1"):
        resolved("spec.resources.accelerators=2", runtimes=[own])
