from typing import Any

import pytest

from hearth.emulators.pod import Phase
from hearth.local.status import PodView, llmservice_status


def status(wanted: int, *phases: Phase) -> dict[str, Any]:
    pods = [PodView(f"qwen-{n}", phase, "2026-01-01T00:00:00Z", 3) for n, phase in enumerate(phases)]
    return llmservice_status(wanted, pods, "nvidia-vllm", "http://x/v1", 4)


@pytest.mark.parametrize(
    ("wanted", "phases", "phase"),
    [
        (0, (), "ScaledToZero"),
        (0, ("terminating",), "ScaledToZero"),
        (1, (), "Loading"),
        (1, ("starting",), "Loading"),
        (2, ("ready", "loading"), "Ready"),
        (1, ("backing-off",), "Degraded"),
        (2, ("ready", "backing-off"), "Ready"),
    ],
)
def test_the_phase(wanted: int, phases: tuple[Phase, ...], phase: str) -> None:
    assert status(wanted, *phases)["phase"] == phase


def test_a_cold_start_is_at_the_phase_of_the_pod_that_is_furthest() -> None:
    cold = status(2, "starting", "loading")["coldStart"]
    assert (cold["phase"], cold["since"], cold["message"]) == (
        "loading",
        "2026-01-01T00:00:00Z",
        "pod qwen-1 is loading",
    )
    assert status(1)["coldStart"] == {"phase": "scheduling"}
    assert "coldStart" not in status(2, "ready", "loading")
    assert "coldStart" not in status(0)


def test_a_crash_says_where_to_look() -> None:
    (ready, resolved) = status(1, "backing-off")["conditions"]
    assert (ready["status"], ready["reason"]) == ("False", "EngineCrashing")
    assert "qwen-0" in ready["message"]
    assert "log" in ready["message"]
    assert (resolved["type"], resolved["status"]) == ("RuntimeResolved", "True")
    assert status(1)["observedGeneration"] == 4
