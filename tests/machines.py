"""How far state machines and fuzzing go: some thousand steps in `make test`; HEARTH_STEPS=100000 is what `make chaos` takes."""

import os

from hypothesis import HealthCheck, Phase, settings

_AT_A_TIME = 50


def far_enough() -> settings:
    """Settings for a machine: so many steps over all its runs."""
    steps = int(os.environ.get("HEARTH_STEPS", "3000"))
    return settings(
        max_examples=max(1, steps // _AT_A_TIME),
        stateful_step_count=_AT_A_TIME,
        deadline=None,
        phases=[phase for phase in Phase if phase is not Phase.explain],  # it traces every line
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def examples_enough(few: int) -> settings:
    """Settings for examples of which each is as much as a run of a machine: so `few` in `make test`."""
    steps = int(os.environ.get("HEARTH_STEPS", few * _AT_A_TIME))
    return settings(max_examples=max(1, steps // _AT_A_TIME), deadline=None, suppress_health_check=list(HealthCheck))
