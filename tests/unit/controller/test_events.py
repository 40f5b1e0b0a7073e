from typing import Any

from hearth.controller.events import transitions

ITEM = {"metadata": {"name": "qwen", "namespace": "ai", "uid": "u-1", "resourceVersion": "7"}}
NOW = "2026-01-01T00:00:00.000000+00:00"


def status(reason: str, value: str = "False", message: str = "why") -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": value, "reason": reason, "message": message}]}


def told(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(event["type"], event["reason"], event["note"]) for event in transitions(ITEM, old, new, NOW, "one")]


def test_an_event_for_each_reason_that_is_new() -> None:
    assert told({}, status("ScaledToZero")) == [("Normal", "ScaledToZero", "Ready: why")]
    assert told(status("ScaledToZero"), status("ColdStart")) == [("Normal", "ColdStart", "Ready: why")]
    assert told(status("ColdStart"), status("ColdStart", message="another message")) == []


def test_what_somebody_must_act_on_is_a_warning() -> None:
    assert told({}, status("EngineCrashing"))[0][0] == "Warning"


def test_an_event_regards_its_llmservice_and_is_told_once() -> None:
    (event,) = transitions(ITEM, {}, status("ScaledToZero"), NOW, "one")
    assert event["regarding"]["uid"] == "u-1"
    assert event["metadata"]["namespace"] == "ai"
    (again,) = transitions(ITEM, {}, status("ScaledToZero"), "2026-01-01T00:00:01.000000+00:00", "one")
    assert again["metadata"] == event["metadata"]
    newer = {"metadata": {**ITEM["metadata"], "resourceVersion": "8"}}
    (later,) = transitions(newer, {}, status("ScaledToZero"), NOW, "one")
    assert later["metadata"] != event["metadata"]


def test_a_long_note_is_cut_to_what_the_api_takes() -> None:
    (event,) = transitions(ITEM, {}, status("Invalid", message="x" * 3000), NOW, "one")
    assert len(event["note"].encode()) == 1024
    (event,) = transitions(ITEM, {}, status("Invalid", message="模型" * 1000), NOW, "one")
    assert 1020 <= len(event["note"].encode()) <= 1024
    assert event["note"].endswith(" …")


def test_an_event_is_what_the_api_takes() -> None:
    (event,) = transitions(ITEM, {}, status("ScaledToZero"), NOW, "one")
    name = event["metadata"].pop("name")
    assert name.startswith("qwen.")
    assert len(name) == len("qwen.") + 16
    assert event == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "ai"},
        "eventTime": NOW,
        "reportingController": "hearth-controller",
        "reportingInstance": "one",
        "action": "Reconcile",
        "reason": "ScaledToZero",
        "type": "Normal",
        "note": "Ready: why",
        "regarding": {
            "apiVersion": "serving.hearth.dev/v1alpha1",
            "kind": "LLMService",
            "name": "qwen",
            "namespace": "ai",
            "uid": "u-1",
        },
    }


def test_a_note_that_just_fits_is_left_whole() -> None:
    fits = "x" * (1024 - len("Ready: "))
    assert told({}, status("Invalid", message=fits))[0][2] == f"Ready: {fits}"
    assert told({}, status("Invalid", message=fits + "x"))[0][2].endswith(" …")


def test_a_status_that_changes_with_the_same_reason_is_told() -> None:
    assert len(told(status("ScaledToZero"), status("ScaledToZero", "True"))) == 1


def test_what_two_conditions_say_is_told_once() -> None:
    both = status("PodNotCreated")
    both["conditions"].append({**both["conditions"][0], "type": "PodsHealthy"})
    both["conditions"].append({**both["conditions"][0], "type": "Stalled"})
    assert len(told({}, both)) == 1


def test_what_is_good_from_the_start_is_no_news_and_its_return_is() -> None:
    def healthy(value: str) -> dict[str, Any]:
        return {"conditions": [{"type": "PodsHealthy", "status": value, "reason": "AsWanted", "message": "all"}]}

    assert told({}, healthy("True")) == []
    assert len(told({}, healthy("False"))) == 1
    assert len(told(healthy("False"), healthy("True"))) == 1
