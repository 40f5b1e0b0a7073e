from typing import Any

from hearth.controller.kedalease import AWAY_SECONDS, KedaLease


def lease(renewed: str, namespace: str = "keda") -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": "operator.keda.sh"}, "spec": {"renewTime": renewed}}


def test_an_operator_that_renews_is_at_work() -> None:
    seen = KedaLease()
    for now in range(0, 200, 10):
        seen.see([lease(f"t{now}")], now)
        assert seen.away(now) is None


def test_one_that_stopped_is_away_until_it_renews_again() -> None:
    seen = KedaLease()
    seen.see([lease("t0")], 0.0)
    seen.see([lease("t0")], AWAY_SECONDS - 1)
    assert seen.away(AWAY_SECONDS - 1) is None, "a successor may be taking over"
    seen.see([lease("t0")], AWAY_SECONDS)
    words = seen.away(AWAY_SECONDS)
    assert words is not None
    assert "Lease keda/operator.keda.sh last at t0" in words
    assert "kubectl get pods -n keda" in words
    seen.see([lease("t1")], AWAY_SECONDS + 10)
    assert seen.away(AWAY_SECONDS + 10) is None


def test_of_two_one_at_work_is_enough_and_of_none_nothing_is_said() -> None:
    seen = KedaLease()
    seen.see([lease("t0"), lease("t0", "old")], 0.0)
    seen.see([lease("t1"), lease("t0", "old")], 100.0)
    assert seen.away(100.0) is None


def test_one_that_was_uninstalled_is_away_until_another_renews() -> None:
    """Its Lease goes with its namespace; what has never been renewed tells of nobody."""
    seen = KedaLease()
    seen.see([lease("t0"), lease("t0", "old")], 0.0)
    seen.see([lease("t1"), lease("t0", "old")], 10.0)
    seen.see([], 20.0)
    assert seen.away(20.0) is None
    words = seen.away(10.0 + AWAY_SECONDS)
    assert words is not None
    assert "Lease keda/operator.keda.sh last at t1; it is gone now" in words
    assert seen.known(100.0)
    seen.see([lease("t5", "elsewhere")], 100.0)
    seen.see([lease("t6", "elsewhere")], 110.0)
    assert seen.away(110.0 + AWAY_SECONDS / 2) is None
    seen.see([], 120.0)
    assert "Lease elsewhere/operator.keda.sh last at t6; it is gone" in (seen.away(200.0) or "")
    unused = KedaLease()
    unused.see([lease("t0")], 0.0)
    unused.see([], 200.0)
    assert unused.away(300.0) is None


def test_who_has_just_begun_to_look_does_not_know_yet() -> None:
    seen = KedaLease()
    assert not seen.known(0.0)
    seen.see([lease("t0")], 0.0)
    assert not seen.known(AWAY_SECONDS - 1)
    assert seen.known(AWAY_SECONDS), "it was silent for so long"
    renews = KedaLease()
    renews.see([lease("t0")], 0.0)
    renews.see([lease("t1")], 10.0)
    assert renews.known(10.0)
    without = KedaLease()
    without.see([], 0.0)
    assert without.known(0.0), "a KEDA without election has none"
