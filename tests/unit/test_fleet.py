from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from hearth.api.key import ServiceKey
from hearth.fleet import METRICS, Fleet, Meter, Seen, Wanted

KEY = ServiceKey("ai", "qwen")
ASLEEP = Seen("ScaledToZero")
WANTED = Wanted(0, 5, 4.0, 2)


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
    return registry.get_sample_value(f"hearth_llmservice_{name}", {"namespace": "ai", "service": "qwen", **labels})


def test_an_hour_asleep_and_half_an_hour_of_three_replicas(clock: Clock, registry: CollectorRegistry) -> None:
    fleet = Fleet(clock).register(registry)
    fleet.see(KEY, ASLEEP, WANTED)
    clock.now = 3600
    fleet.see(KEY, Seen("Ready", replicas=3, ready=3, placed=3), WANTED)
    clock.now = 5400
    assert value(registry, "accelerator_hours_total") == pytest.approx(0.5 * 3 * 2)
    assert value(registry, "accelerator_hours_saved_total") == pytest.approx(2)
    assert value(registry, "phase", phase="Ready") == 1
    assert value(registry, "phase", phase="ScaledToZero") == 0
    assert value(registry, "paused") == 0
    fleet.see(KEY, replace(ASLEEP, paused=True), WANTED)
    assert value(registry, "paused") == 1


def test_what_is_wanted_and_has_no_node_holds_nothing_and_what_ends_holds_still(
    clock: Clock, registry: CollectorRegistry
) -> None:
    fleet = Fleet(clock).register(registry)
    fleet.see(KEY, Seen("Loading", replicas=4, placed=0), WANTED)
    clock.now = 3600
    assert value(registry, "accelerator_hours_total") == 0
    assert value(registry, "accelerator_hours_saved_total") == pytest.approx(2)
    fleet.see(KEY, Seen("ScaledToZero", replicas=0, placed=1), WANTED)
    clock.now = 7200
    assert value(registry, "accelerator_hours_total") == pytest.approx(2)
    assert value(registry, "accelerator_hours_saved_total") == pytest.approx(2)
    assert value(registry, "placed_replicas") == 1


def test_nothing_is_saved_where_the_minimum_is_on(clock: Clock, registry: CollectorRegistry) -> None:
    fleet = Fleet(clock).register(registry)
    fleet.see(KEY, replace(ASLEEP, placed=2), replace(WANTED, minimum=2))
    clock.now = 3600
    assert value(registry, "accelerator_hours_saved_total") == 0


def test_one_whose_spec_can_not_be_read_any_more_keeps_what_it_asked_for(
    clock: Clock, registry: CollectorRegistry
) -> None:
    fleet = Fleet(clock).register(registry)
    fleet.see(KEY, Seen("Ready", 1, 1, 1), WANTED)
    fleet.see(KEY, Seen("Ready", 1, 1, 1, not_ready="Invalid"), None)
    clock.now = 3600
    assert value(registry, "accelerator_hours_total") == pytest.approx(2)
    assert value(registry, "not_ready", reason="Invalid") == 1
    fleet.see(KEY, Seen("Ready", 1, 1, 1), WANTED)
    assert value(registry, "not_ready", reason="Invalid") is None


def test_one_that_could_not_be_looked_at_is_recounted_where_it_is_known(
    clock: Clock, registry: CollectorRegistry
) -> None:
    fleet = Fleet(clock).register(registry)
    fleet.recount(KEY, 1, 1, 1)
    assert value(registry, "replicas") is None
    fleet.see(KEY, Seen("Ready", 3, 3, 3, not_ready="RuntimeNotFound"), WANTED)
    fleet.recount(KEY, 2, 0, 1)
    assert (value(registry, "replicas"), value(registry, "ready_replicas"), value(registry, "placed_replicas")) == (
        2,
        0,
        1,
    )
    assert value(registry, "not_ready", reason="RuntimeNotFound") == 1


def test_a_start_is_counted_once_with_its_phases(clock: Clock, registry: CollectorRegistry) -> None:
    fleet = Fleet(clock).register(registry)
    fleet.see(KEY, ASLEEP, WANTED)
    assert value(registry, "cold_start_seconds_count") == 0
    assert value(registry, "cold_start_phase_seconds_total", phase="loading") == 0
    assert value(registry, "cold_starts_in_vain_total") == 0
    fleet.started(KEY, {"scheduling": 2.0, "loading": 40.0})
    fleet.started(KEY, None)
    assert value(registry, "cold_start_seconds_count") == 1
    assert value(registry, "cold_start_seconds_sum") == 42
    assert value(registry, "cold_start_seconds_bucket", le="45.0") == 1
    assert value(registry, "cold_start_seconds_bucket", le="30.0") == 0
    assert value(registry, "cold_start_phase_seconds_total", phase="loading") == 40
    assert value(registry, "cold_starts_in_vain_total") == 1


def test_one_that_is_gone_is_forgotten(clock: Clock, registry: CollectorRegistry) -> None:
    fleet = Fleet(clock, price=2.5).register(registry)
    fleet.see(KEY, ASLEEP, WANTED)
    assert registry.get_sample_value("hearth_accelerator_price_per_hour") == 2.5
    assert {family.name for family in registry.collect()} == {metric.name.removesuffix("_total") for metric in METRICS}
    fleet.forget(KEY)
    assert value(registry, "replicas") is None


@given(st.lists(st.tuples(st.floats(0, 1e5), st.integers(0, 9)), max_size=20), st.integers(0, 3), st.integers(0, 8))
def test_held_and_saved_cover_the_time_of_who_is_always_on(
    steps: list[tuple[float, int]], minimum: int, accelerators: int
) -> None:
    """However it was scaled: held + saved is never less than always on, and equal while nobody needs more."""
    meter, now, most = Meter(0.0), 0.0, 0
    for seconds, placed in steps:
        now += seconds
        most = max(most, placed)
        meter.run(Seen("Ready", placed=placed), Wanted(minimum, 9, 1.0, accelerators), now)
    always_on = max(minimum, 1) * accelerators * now / 3600
    assert meter.used >= 0
    assert meter.saved >= 0
    assert meter.used + meter.saved >= always_on - 1e-6
    if most <= max(minimum, 1):
        assert meter.used + meter.saved == pytest.approx(always_on)
