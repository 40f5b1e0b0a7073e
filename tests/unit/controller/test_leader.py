import pytest

from hearth.controller.leader import LEASE_SECONDS, Observed


def observed(holder: str | None, since: float = 100.0) -> Observed:
    made = Observed()
    made.see({"holderIdentity": holder, "leaseDurationSeconds": 10, "renewTime": "t1"}, since)
    return made


@pytest.mark.parametrize(
    ("holder", "now", "may"),
    [("", 100, True), (None, 100, True), ("me", 100, True), ("you", 109, False), ("you", 110, True)],
)
def test_a_lease_may_be_taken_when_it_is_ours_nobodys_or_over(holder: str | None, now: float, may: bool) -> None:
    assert observed(holder).may_take("me", now) is may


def test_a_renewed_lease_begins_anew_by_our_own_clock() -> None:
    lease = observed("you")
    lease.see({"holderIdentity": "you", "leaseDurationSeconds": 10, "renewTime": "t2"}, 109.0)
    assert not lease.may_take("me", 118.0)
    assert lease.may_take("me", 119.0)


def test_one_that_is_seen_again_unchanged_does_not() -> None:
    lease = observed("you")
    lease.see(dict(lease.spec or {}), 109.0)
    assert lease.may_take("me", 110.0)


def test_the_holder_says_how_long_it_lasts() -> None:
    lease = Observed()
    lease.see({"holderIdentity": "you"}, 0.0)
    assert not lease.may_take("me", LEASE_SECONDS - 0.1)
    assert lease.may_take("me", LEASE_SECONDS)


@pytest.mark.parametrize(
    "spec", [{}, {"holderIdentity": 7}, {"leaseDurationSeconds": "x"}, {"leaseDurationSeconds": -(2**70)}]
)
def test_a_lease_that_says_nothing_sensible_is_nobodys(spec: dict[str, object]) -> None:
    lease = Observed()
    lease.see(spec, 0.0)
    assert lease.may_take("me", 0.0)
