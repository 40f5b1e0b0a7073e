from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from hearth.api.key import ServiceKey
from hearth.fleet import METRICS, Fleet, Meter, Seen

KEY = ServiceKey("ai", "qwen")
ASLEEP = Seen("ScaledToZero", 0, 0, 0, 5, 4.0, 2)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, {"namespace": "ai", "service": "qwen", **labels})


def test_an_hour_asleep_and_half_an_hour_of_three_replicas(clock: Clock, registry: CollectorRegistry) -> None:
    fleet = Fleet(clock).register(registry)
    fleet.see(KEY, ASLEEP)
    clock.now = 3600
    fleet.see(KEY, replace(ASLEEP, phase="Ready", replicas=3, ready=3))
    clock.now = 5400
    assert value(registry, "hearth_llmservice_accelerator_hours_total") == pytest.approx(0.5 * 3 * 2)
    assert value(registry, "hearth_llmservice_accelerator_hours_saved_total") == pytest.approx(2)
    assert value(registry, "hearth_llmservice_phase", phase="Ready") == 1
    assert value(registry, "hearth_llmservice_phase", phase="ScaledToZero") == 0
    assert value(registry, "hearth_llmservice_paused") == 0
    fleet.see(KEY, replace(ASLEEP, paused=True))
    assert value(registry, "hearth_llmservice_paused") == 1


def test_nothing_is_saved_where_the_minimum_is_on(clock: Clock, registry: CollectorRegistry) -> None:
    fleet = Fleet(clock).register(registry)
    fleet.see(KEY, replace(ASLEEP, replicas=2, minimum=2))
    clock.now = 3600
    assert value(registry, "hearth_llmservice_accelerator_hours_saved_total") == 0


def test_one_that_is_gone_is_forgotten(clock: Clock, registry: CollectorRegistry) -> None:
    fleet = Fleet(clock, price=2.5).register(registry)
    fleet.see(KEY, ASLEEP)
    assert registry.get_sample_value("hearth_accelerator_price_per_hour") == 2.5
    assert {family.name for family in registry.collect()} == {metric.name.removesuffix("_total") for metric in METRICS}
    fleet.forget(KEY)
    assert value(registry, "hearth_llmservice_replicas") is None


@given(st.lists(st.tuples(st.floats(0, 1e5), st.integers(0, 9)), max_size=20), st.integers(0, 3), st.integers(0, 8))
def test_held_and_saved_cover_the_time_of_who_is_always_on(
    steps: list[tuple[float, int]], minimum: int, accelerators: int
) -> None:
    """However it was scaled: held + saved is never less than always on, and equal while nobody needs more."""
    meter, now, most = Meter(0.0), 0.0, 0
    for seconds, replicas in steps:
        now += seconds
        most = max(most, replicas)
        meter.run(Seen("Ready", replicas, 0, minimum, 9, 1.0, accelerators), now)
    always_on = max(minimum, 1) * accelerators * now / 3600
    assert meter.used >= 0
    assert meter.saved >= 0
    assert meter.used + meter.saved >= always_on - 1e-6
    if most <= max(minimum, 1):
        assert meter.used + meter.saved == pytest.approx(always_on)
