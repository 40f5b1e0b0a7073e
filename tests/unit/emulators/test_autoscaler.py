"""The embedded autoscaler's rules, against what was measured on KEDA 2.21 and documented for the HPA."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.crd_translator import ClusterFacts, render
from hearth.emulators.autoscaler import Autoscaler, NotReproduced, ScalingRules
from hearth.emulators.hpa import Behavior, Direction, Metric, Policy, Selection
from tests.builders import bundled_runtimes, llmservice

UP = Direction(0.0, (Policy("Pods", 100, 1.0),))
DOWN = Direction(30.0, (Policy("Pods", 1, 30.0),))


def rules(
    *,
    min_replicas: int = 0,
    max_replicas: int = 5,
    up: Direction = UP,
    down: Direction = DOWN,
) -> ScalingRules:
    return ScalingRules(min_replicas, max_replicas, cooldown=30.0, polling=5.0, behavior=Behavior(up, down))


def rendered(*assignments: str) -> dict[str, Any]:
    (scaled_object,) = render(llmservice(*assignments), bundled_runtimes(), ClusterFacts()).of_kind("ScaledObject")
    return scaled_object


def test_the_rules_are_those_of_the_rendered_scaled_object() -> None:
    read = ScalingRules.of(rendered("spec.scaling.max=7", "spec.scaling.scaleDownStabilization=90s"))
    assert (read.min_replicas, read.max_replicas, read.cooldown, read.polling) == (0, 7, 90.0, 5.0)
    assert read.behavior.up == Direction(0.0, (Policy("Pods", 7, 1.0),))
    assert read.behavior.down.window == 90.0
    assert [policy.kind for policy in read.behavior.down.policies] == ["Pods"]


def test_without_a_behavior_the_apis_defaults_hold() -> None:
    """autoscaling/v2: +4 or +100 % each 15 s at once, -100 % each 15 s after 5 minutes."""
    scaled_object = rendered()
    del scaled_object["spec"]["advanced"]
    read = ScalingRules.of(scaled_object).behavior
    assert read.up == Direction(0.0, (Policy("Pods", 4, 15.0), Policy("Percent", 100, 15.0)))
    assert read.down == Direction(300.0, (Policy("Percent", 100, 15.0),))


@pytest.mark.parametrize("field", ["fallback", "idleReplicaCount", "initialCooldownPeriod"])
def test_what_is_left_out_is_refused_by_name(field: str) -> None:
    scaled_object = rendered()
    scaled_object["spec"][field] = {}
    with pytest.raises(NotReproduced, match=f"ScaledObject ai/qwen: spec.{field}"):
        ScalingRules.of(scaled_object)


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
        scaler.poll(False, False, 0.0)
        assert scaler.replicas == 2

    @pytest.mark.parametrize("replicas", [1, 2])
    def test_fewer_than_the_minimum_become_the_minimum(self, replicas: int) -> None:
        scaler = Autoscaler(rules(min_replicas=3), replicas=replicas)
        scaler.poll(False, False, 0.0)
        assert scaler.replicas == 3

    def test_an_error_changes_nothing(self) -> None:
        """pkg/scaling/executor: not active, an error and no fallback: TriggerError, no scaling."""
        scaler = Autoscaler(rules(), replicas=2, last_active=0.0)
        scaler.poll(False, True, 10_000.0)
        assert scaler.replicas == 2
        cold = Autoscaler(rules(min_replicas=1))
        cold.poll(False, True, 0.0)
        assert cold.replicas == 0

    def test_beside_an_error_another_trigger_activates_and_does_not_renew(self) -> None:
        """pkg/scaling/executor: active with an error scales from zero, and else is PartialTriggerError alone."""
        scaler = Autoscaler(rules())
        scaler.poll(True, True, 0.0)
        assert scaler.replicas == 1
        scaler.poll(True, True, 20.0)
        scaler.poll(False, False, 31.0)
        assert scaler.replicas == 0, "the cooldown counts from the activation"


class TestCooldown:
    def test_it_counts_from_the_last_true(self) -> None:
        scaler = Autoscaler(rules())
        scaler.push(0.0)
        scaler.poll(True, False, 20.0)
        scaler.poll(False, False, 49.0)
        assert scaler.replicas == 1
        scaler.poll(False, False, 51.0)
        assert scaler.replicas == 0

    def test_a_push_renews_it(self) -> None:
        scaler = Autoscaler(rules())
        scaler.push(0.0)
        scaler.push(29.0)
        scaler.poll(False, False, 58.0)
        assert scaler.replicas == 1

    def test_all_replicas_go_at_once(self) -> None:
        scaler = Autoscaler(rules(), replicas=5, last_active=0.0)
        scaler.poll(False, False, 31.0)
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
        scaler = Autoscaler(rules(up=Direction(0.0, (Policy("Pods", 3, 15.0),))), replicas=1)
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
        scaler = Autoscaler(rules(down=Direction(0.0, (Policy("Pods", 1, 30.0),))), replicas=2)
        scaler.hpa_sync([(value, 5.0)], 0.0)
        assert scaler.replicas == replicas

    def test_down_only_after_its_window_and_one_at_a_time(self) -> None:
        scaler = Autoscaler(rules(), replicas=1)
        scaler.hpa_sync([(23.0, 5.0)], 0.0)
        for now in (15.0, 29.9):
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

    @pytest.mark.parametrize("metrics", [[], [None]])
    def test_without_a_metric_it_does_nothing(self, metrics: list[Metric]) -> None:
        scaler = Autoscaler(rules(), replicas=4)
        scaler.hpa_sync(metrics, 0.0)
        assert scaler.replicas == 4

    def test_beside_a_metric_that_cannot_be_had_it_scales_up_alone(self) -> None:
        """podautoscaler's computeReplicasForMetrics: an invalid metric keeps it from scaling down, not up."""
        scaler = Autoscaler(rules(down=Direction(0.0, (Policy("Pods", 5, 1.0),))), replicas=2)
        scaler.hpa_sync([None, (1.0, 1.0)], 0.0)
        assert scaler.replicas == 2
        scaler.hpa_sync([None, (3.0, 1.0)], 10.0)
        assert scaler.replicas == 3
        scaler.hpa_sync([(1.0, 1.0)], 20.0)
        assert scaler.replicas == 1

    def test_its_first_look_takes_what_is_there_for_right(self) -> None:
        """podautoscaler's recordInitialRecommendation: a new HPA waits for its window before it takes replicas away."""
        scaler = Autoscaler(rules(), replicas=3)
        for now in (0.0, 15.0, 29.9):
            scaler.hpa_sync([(1.0, 5.0)], now)
            assert scaler.replicas == 3
        scaler.hpa_sync([(1.0, 5.0)], 30.0)
        assert scaler.replicas == 2

    def test_by_default_it_grows_by_four_or_doubles_whichever_is_more(self) -> None:
        scaler = Autoscaler(rules(max_replicas=100, up=Behavior().up), replicas=1)
        seen = []
        for now in (0.0, 14.0, 15.0, 30.0):
            scaler.hpa_sync([(1000.0, 5.0)], now)
            seen.append(scaler.replicas)
        assert seen == [5, 5, 10, 20]

    @pytest.mark.parametrize(("select", "replicas"), [("Max", 5), ("Min", 9), ("Disabled", 10)])
    def test_which_policy_decides(self, select: Selection, replicas: int) -> None:
        down = Direction(0.0, (Policy("Pods", 1, 15.0), Policy("Percent", 50, 15.0)), select)
        scaler = Autoscaler(rules(max_replicas=10, down=down), replicas=10)
        scaler.hpa_sync([(1.0, 5.0)], 0.0)
        assert scaler.replicas == replicas

    @given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0.1, 60)), max_size=30))
    def test_always_within_bounds_while_anybody_is_there(self, looks: list[tuple[float, float]]) -> None:
        scaler = Autoscaler(rules(min_replicas=1), replicas=1)
        now = 0.0
        for value, passed in looks:
            now += passed
            scaler.hpa_sync([(value, 5.0)], now)
            assert 1 <= scaler.replicas <= 5
