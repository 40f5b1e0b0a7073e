from typing import Any

from hearth.api.llmservice import LLMService
from hearth.controller.scaledobject import carried_over, heard, nudged
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
