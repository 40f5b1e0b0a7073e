from typing import Any

from hearth.api.llmservice import LLMService
from hearth.controller.scaledobject import carried_over, given_up, heard, nudged, ready_verdict
from hearth.crd_translator.facts import ClusterFacts
from hearth.crd_translator.scaledobject import render_scaled_object
from tests.builders import llmservice

SERVICE: LLMService = llmservice(
    "spec.scaling.schedules=[{start: 0 8 * * *, end: 0 9 * * *, timezone: UTC, replicas: 1}]"
)


def rendered() -> dict[str, Any]:
    return render_scaled_object(SERVICE, ClusterFacts())


def test_keda_hears_us_unless_its_names_lack_ours() -> None:
    assert heard({})
    assert heard({"status": {"externalMetricNames": []}})
    assert heard({"status": {"externalMetricNames": ["s1-cron-UTC-08xxx", "s0-queueDepth"]}})
    assert not heard({"status": {"externalMetricNames": ["s1-cron-UTC-08xxx"]}})


def test_each_nudge_differs_from_the_last_and_stays() -> None:
    first = nudged(rendered())
    assert first["spec"]["triggers"][0]["metadata"]["nudge"] == "1"
    assert first["spec"]["triggers"][1:] == rendered()["spec"]["triggers"][1:]
    assert carried_over(rendered(), first) == first
    assert nudged(carried_over(rendered(), first))["spec"]["triggers"][0]["metadata"]["nudge"] == "2"
    assert carried_over(rendered(), rendered()) == rendered()


def test_what_somebody_wrote_there_is_no_number_of_ours() -> None:
    found = rendered()
    found["spec"]["triggers"][0]["metadata"]["nudge"] = "hello"
    assert carried_over(rendered(), found) == rendered()


def with_ready(status: str, reason: str, message: str = "") -> dict[str, Any]:
    ready = {"type": "Ready", "status": status, "reason": reason, "message": message}
    return {**rendered(), "status": {"conditions": [ready], "externalMetricNames": ["s0-queueDepth"]}}


def test_keda_has_given_up_where_it_could_not_make_the_hpa_or_lost_our_metric() -> None:
    assert given_up(with_ready("False", "ScaledObjectCheckFailed"))
    assert given_up({"status": {"externalMetricNames": ["s1-cron-UTC-08xxx"]}})
    assert not given_up(with_ready("True", "ScaledObjectReady"))
    assert not given_up({})


def test_a_secret_that_keda_cannot_read_is_named_with_what_to_do() -> None:
    words = (
        "failed to ensure HPA is correctly created for ScaledObject: error resolving secrets for ScaleTarget: error "
        "resolving secret name &SecretKeySelector{LocalObjectReference:LocalObjectReference{Name:hub,},Key:token,"
        "Optional:nil,} for env HF_TOKEN in namespace ai"
    )
    found = ready_verdict(with_ready("False", "ScaledObjectCheckFailed", words))
    assert (found.status, found.reason) == (False, "SecretNotFound")
    assert "kubectl create secret generic hub -n ai --from-literal=token=" in found.message
    other = ready_verdict(with_ready("False", "ScaledObjectCheckFailed", "something else"))
    assert (other.reason, other.message) == ("ScaledObjectCheckFailed", "something else")


def test_the_condition_follows_kedas_own() -> None:
    cases = {
        ("True", "ScaledObjectReady"): (True, "ScaledObjectReady", "said"),
        ("False", "ScaledObjectCheckFailed"): (False, "ScaledObjectCheckFailed", "said"),
        ("False", "Odd"): (False, "ScaledObjectNotReady", "Odd: said"),
        ("False", ""): (False, "ScaledObjectNotReady", "said"),
        ("Unknown", ""): (False, "NotSeen", "said"),
    }
    for (status, reason), expected in cases.items():
        verdict = ready_verdict(with_ready(status, reason, "said"))
        assert (verdict.type, verdict.status, verdict.reason, verdict.message) == ("ScaledObjectReady", *expected)
    assert ready_verdict({}).reason == "NotSeen"
    assert "KEDA has not looked" in ready_verdict({}).message
