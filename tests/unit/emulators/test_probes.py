import pytest

from hearth.emulators.probes import ProbeCount, ProbeSpec


def test_the_apis_defaults() -> None:
    spec = ProbeSpec.of({"httpGet": {"path": "/", "port": 80}})
    assert (spec.initial_delay, spec.period, spec.timeout, spec.success_threshold, spec.failure_threshold) == (
        0,
        10,
        1,
        1,
        3,
    )
    assert spec.handler == {"httpGet": {"path": "/", "port": 80}}


@pytest.mark.parametrize(
    ("answers", "passing"),
    [
        ("", None),
        ("f", None),
        ("fff", False),
        ("ffsff", None),
        ("ss", True),
        ("s", None),
        ("ssff", True),
        ("ssfff", False),
        ("fffss", True),
    ],
)
def test_only_consecutive_answers_count(answers: str, passing: bool | None) -> None:
    count = ProbeCount(ProbeSpec({}, success_threshold=2, failure_threshold=3))
    for answer in answers:
        count.observe(answer == "s")
    assert count.passing is passing


def test_it_says_when_it_changed() -> None:
    count = ProbeCount(ProbeSpec({}, failure_threshold=1))
    assert [count.observe(ok) for ok in (True, True, False, False, True)] == [True, False, True, False, True]
