import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.api.names import child_name
from hearth.crd_translator.names import labels, selector
from hearth.crd_translator.storage import claim_name
from tests.builders import llmservice, runtime

LONG = "a" * 62


def test_a_short_one_is_the_services_with_its_suffix() -> None:
    assert child_name("qwen", "engine") == "qwen-engine"


def test_one_that_just_fits_is_left_whole() -> None:
    assert child_name("a" * 56, "engine") == "a" * 56 + "-engine"


def test_one_that_does_not_fit_is_cut_and_told_apart_by_a_hash() -> None:
    one, other = (child_name(LONG + last, "engine") for last in "bc")
    assert one != other, "cut alone, the two would be one object"
    for name in (one, other):
        assert len(name) == 63
        assert name.startswith("a" * 40)
        assert name.endswith("-engine")


def test_what_is_cut_does_not_end_with_a_dash() -> None:
    assert "--" not in child_name("a" * 46 + "-" + "b" * 16, "engine")


@given(
    st.integers(min_value=1, max_value=63),
    st.sampled_from(["engine", "cache", "cache-" + "v" * 20, "prewarm-0a1b2c3d"]),
)
def test_it_is_a_name_that_kubernetes_takes(length: int, suffix: str) -> None:
    name = child_name("a" * length, suffix)
    assert len(name) <= 63
    assert name.endswith(f"-{suffix}")


def test_the_selector_is_of_engines_alone() -> None:
    service = llmservice(name="qwen")
    assert selector(service) == {"serving.hearth.dev/llmservice": "qwen", "app.kubernetes.io/component": "engine"}
    assert selector(service).items() <= labels(service).items()
    assert not selector(service).items() <= labels(service, "prewarm").items()


@pytest.mark.parametrize(
    ("vendor", "readable"),
    [("Moore Threads", "moore-threa"), ("__x__", "x-"), ("v" * 40, "vvvv"), ("华为", ""), ("a.b", "a-b-")],
)
def test_a_claim_has_its_vendors_name_as_far_as_it_can_be_written(vendor: str, readable: str) -> None:
    name = claim_name(llmservice(), runtime(vendor=vendor))
    assert name.startswith(f"qwen-cache-{readable}")
    assert len(name) > len(f"qwen-cache-{readable}"), "and a digest, so that no two vendors meet"
    assert claim_name(llmservice("spec.cache.strategy=SharedPVC"), runtime(vendor=vendor)) == "qwen-cache"


def test_a_vendor_that_can_stand_in_a_name_stands_there_as_it_is() -> None:
    assert claim_name(llmservice(), runtime(vendor="nvidia")) == "qwen-cache-nvidia"
