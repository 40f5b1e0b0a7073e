"""The embedded autoscaler's rules, against what was measured on KEDA 2.21 and documented for the HPA."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.crd_translator import ClusterFacts, render
from hearth.emulators.autoscaler import Autoscaler, ScalingRules
from tests.builders import bundled_runtimes, llmservice


def rules(**changes: float) -> ScalingRules:
    values = {
        "min_replicas": 0,
        "max_replicas": 5,
        "cooldown": 30.0,
        "polling": 5.0,
        "up_window": 0.0,
        "up_pods": 100,
        "up_period": 1.0,
        "down_window": 30.0,
        "down_pods": 1,
        "down_period": 30.0,
    }
    return ScalingRules(**{**values, **changes})  # type: ignore[arg-type]


def test_the_rules_are_those_of_the_rendered_scaled_object() -> None:
    service = llmservice("spec.scaling.max=7", "spec.scaling.scaleDownStabilization=90s")
    (scaled_object,) = render(service, bundled_runtimes(), ClusterFacts()).of_kind("ScaledObject")
    read = ScalingRules.of(scaled_object)
    assert (read.min_replicas, read.max_replicas, read.cooldown, read.polling) == (0, 7, 90.0, 5.0)
    assert read.down_window == 90.0


class TestActivation:
    def test_a_push_of_true_goes_from_zero_to_one(self) -> None:
        scaler = Autoscaler(rules())
        scaler.push(0.0)
        assert scaler.replicas == 1

    def test_to_the_minimum_where_it_is_higher(self) -> None:
        scaler = Autoscaler(rules(min_replicas=3))
        scaler.push(0.0)
        assert scaler.replicas == 3

    def test_the_minimum_is_there_without_demand(self) -> None:
        scaler = Autoscaler(rules(min_replicas=2))
        scaler.poll(False, 0.0)
        assert scaler.replicas == 2

    def test_an_error_changes_nothing(self) -> None:
        scaler = Autoscaler(rules(), replicas=2, last_active=0.0)
        scaler.poll(None, 10_000.0)
        assert scaler.replicas == 2
        cold = Autoscaler(rules(min_replicas=1))
        cold.poll(None, 0.0)
        assert cold.replicas == 0


class TestCooldown:
    def test_it_counts_from_the_last_true(self) -> None:
        scaler = Autoscaler(rules())
        scaler.push(0.0)
        scaler.poll(True, 20.0)
        scaler.poll(False, 49.0)
        assert scaler.replicas == 1
        scaler.poll(False, 51.0)
        assert scaler.replicas == 0

    def test_a_push_renews_it(self) -> None:
        scaler = Autoscaler(rules())
        scaler.push(0.0)
        scaler.push(29.0)
        scaler.poll(False, 58.0)
        assert scaler.replicas == 1

    def test_all_replicas_go_at_once(self) -> None:
        scaler = Autoscaler(rules(), replicas=5, last_active=0.0)
        scaler.poll(False, 31.0)
        assert scaler.replicas == 0


class TestHpa:
    def test_out_of_play_at_zero(self) -> None:
        scaler = Autoscaler(rules())
        scaler.hpa_sync([(23.0, 5.0)], 0.0)
        assert scaler.replicas == 0

    def test_one_step_to_what_the_queue_needs(self) -> None:
        scaler = Autoscaler(rules(), replicas=1)
        scaler.hpa_sync([(23.0, 5.0)], 0.0)
        assert scaler.replicas == 5

    def test_the_default_policy_of_a_plain_hpa_takes_two(self) -> None:
        """facts: 23 at target 5 went 1 → 4 → 5 with +4 pods each 15 s and 100 %; here +3 stands for the first step."""
        scaler = Autoscaler(rules(up_pods=3, up_period=15.0), replicas=1)
        scaler.hpa_sync([(23.0, 5.0)], 0.0)
        assert scaler.replicas == 4
        scaler.hpa_sync([(23.0, 5.0)], 14.0)
        assert scaler.replicas == 4
        scaler.hpa_sync([(23.0, 5.0)], 15.0)
        assert scaler.replicas == 5

    def test_never_over_the_maximum(self) -> None:
        scaler = Autoscaler(rules(max_replicas=3), replicas=1)
        scaler.hpa_sync([(1000.0, 5.0)], 0.0)
        assert scaler.replicas == 3

    @pytest.mark.parametrize(("value", "replicas"), [(10.9, 2), (9.1, 2), (11.1, 3)])
    def test_ten_percent_is_tolerated(self, value: float, replicas: int) -> None:
        scaler = Autoscaler(rules(down_window=0.0), replicas=2)
        scaler.hpa_sync([(value, 5.0)], 0.0)
        assert scaler.replicas == replicas

    def test_down_only_after_its_window_and_one_at_a_time(self) -> None:
        scaler = Autoscaler(rules(), replicas=1)
        scaler.hpa_sync([(23.0, 5.0)], 0.0)
        for now in (15.0, 30.0):
            scaler.hpa_sync([(7.0, 5.0)], now)
            assert scaler.replicas == 5, "the window still remembers five"
        scaler.hpa_sync([(7.0, 5.0)], 45.0)
        assert scaler.replicas == 4
        scaler.hpa_sync([(7.0, 5.0)], 60.0)
        assert scaler.replicas == 4, "one step for each period"
        scaler.hpa_sync([(7.0, 5.0)], 75.0)
        assert scaler.replicas == 3

    def test_the_highest_of_several_metrics_counts(self) -> None:
        scaler = Autoscaler(rules(), replicas=1)
        scaler.hpa_sync([(0.0, 5.0), (3.0, 1.0)], 0.0)
        assert scaler.replicas == 3

    def test_without_a_metric_it_does_nothing(self) -> None:
        scaler = Autoscaler(rules(), replicas=4)
        scaler.hpa_sync(None, 0.0)
        assert scaler.replicas == 4

    @given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0.1, 60)), max_size=30))
    def test_always_within_bounds_while_anybody_is_there(self, looks: list[tuple[float, float]]) -> None:
        scaler = Autoscaler(rules(min_replicas=1), replicas=1)
        now = 0.0
        for value, passed in looks:
            now += passed
            scaler.hpa_sync([(value, 5.0)], now)
            assert 1 <= scaler.replicas <= 5
