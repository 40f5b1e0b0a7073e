"""What a key may still do, on a clock that the test moves."""

from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.activator.allowance import Allowance, Bucket, KeyCounts, key_label
from hearth.activator.errors import ApiError
from hearth.activator.keyring import MAX_SERIES, OTHERS, Keyring, KeySource
from hearth.api.key import ServiceKey
from hearth.api.keys import KeyLimits

QWEN, OWN = ServiceKey("ai", "qwen"), KeySource("ai", "s", "keys")


def allowance(**limits: Any) -> Allowance:
    return Allowance(KeyLimits(**limits), KeyCounts(), 0.0)


def refused(made: Allowance, now: float) -> ApiError:
    with pytest.raises(ApiError) as raised:
        made.enter(now)
    return raised.value


class TestRequestsAMinute:
    def test_as_many_as_there_may_be_and_then_as_they_come_back(self) -> None:
        made = allowance(rpm=3)
        for _ in range(3):
            made.enter(0.0)
        error = refused(made, 0.0)
        assert (error.status, error.code, error.type) == (429, "rate_limit_exceeded", "rate_limit_error")
        assert dict(error.headers)[b"retry-after"] == b"20"
        made.enter(20.0)
        refused(made, 20.0)
        assert (made.counts.requests, made.counts.limited["rpm"]) == (4, 2)

    @given(st.integers(1, 500), st.lists(st.floats(0, 30), max_size=60))
    def test_a_key_below_its_limit_never_meets_it(self, rpm: int, pauses: list[float]) -> None:
        made, now = allowance(rpm=rpm), 0.0
        for pause in pauses:
            now += max(pause, 60.0 / rpm)
            made.enter(now)

    @given(st.integers(1, 50), st.floats(0, 600))
    def test_no_minute_has_more_than_twice_the_limit(self, rpm: int, begin: float) -> None:
        """A full bucket and what comes in meanwhile: the most that a bucket lets through."""
        made, let_in = allowance(rpm=rpm), 0
        for tick in range(601):
            try:
                made.enter(begin + tick * 0.1)
                let_in += 1
            except ApiError:
                pass
        assert let_in <= 2 * rpm


class TestTokensAMinute:
    def test_they_are_paid_when_the_answer_is_over(self) -> None:
        made = allowance(tpm=600)
        made.enter(0.0)
        made.enter(0.0)
        made.leave(900, 0.0)
        error = refused(made, 0.0)
        assert "600 tokens a minute" in error.message
        assert dict(error.headers)[b"retry-after"] == b"31", "300 that are owed, and one"
        made.enter(31.0)
        assert (made.counts.tokens, made.counts.limited["tpm"]) == (900, 1)

    def test_a_limit_that_was_met_is_no_longer_a_limit_than_its_debt(self) -> None:
        """LiteLLM#18953: a key that met its limit was kept out for minutes."""
        made = allowance(tpm=100_000, rpm=500)
        made.enter(0.0)
        made.leave(100_000, 0.0)
        refused(made, 0.0)
        made.enter(0.001)

    def test_one_answer_keeps_nobody_out_for_longer_than_ten_minutes(self) -> None:
        made = allowance(tpm=600)
        made.enter(0.0)
        made.leave(10**12, 0.0)
        assert dict(refused(made, 0.0).headers)[b"retry-after"] == b"601"
        made.enter(600.1)

    def test_the_two_limits_fill_each_for_itself(self) -> None:
        """LiteLLM#24677: one window for both counted tokens of the minute before."""
        made = allowance(tpm=60_000, rpm=1)
        for minute in range(10):
            made.enter(minute * 60.0)
            made.leave(59_999, minute * 60.0)
        assert made.counts.limited.total() == 0


class TestAtATime:
    def test_the_next_one_comes_when_one_is_over(self) -> None:
        made = allowance(max_parallel_requests=2)
        made.enter(0.0)
        made.enter(0.0)
        error = refused(made, 0.0)
        assert "2 requests at a time" in error.message
        assert dict(error.headers)[b"retry-after"] == b"1"
        made.leave(0, 0.0)
        made.enter(0.0)
        assert made.at_a_time == 2


class TestWhatIsSaid:
    def test_of_what_is_left(self) -> None:
        made = allowance(rpm=60, tpm=1200)
        made.enter(0.0)
        made.leave(1500, 0.0)
        assert dict(made.headers(0.0)) == {
            b"x-ratelimit-limit-requests": b"60",
            b"x-ratelimit-remaining-requests": b"59",
            b"x-ratelimit-reset-requests": b"1s",
            b"x-ratelimit-limit-tokens": b"1200",
            b"x-ratelimit-remaining-tokens": b"0",
            b"x-ratelimit-reset-tokens": b"1m15s",
        }

    def test_nothing_where_there_is_no_limit(self) -> None:
        made = allowance()
        made.enter(0.0)
        made.leave(10, 0.0)
        assert made.headers(0.0) == []
        assert (made.counts.requests, made.counts.tokens) == (1, 10)


class TestColdStarts:
    def test_an_hours_worth(self) -> None:
        made = allowance(cold_starts=2)
        made.start(0.0)
        made.start(0.0)
        with pytest.raises(ApiError, match="2 cold starts an hour"):
            made.start(0.0)
        made.start(1800.0)


class TestOtherLimits:
    def test_what_was_used_stays_used(self) -> None:
        made = allowance(rpm=10)
        for _ in range(10):
            made.enter(0.0)
        made.relimit(KeyLimits(rpm=12), 0.0)
        made.enter(0.0)
        made.enter(0.0)
        refused(made, 0.0)
        made.relimit(KeyLimits(rpm=5), 0.0)
        refused(made, 0.0)
        made.relimit(KeyLimits(), 0.0)
        made.enter(0.0)

    @pytest.mark.parametrize(("before", "after"), [(100_000, 1000), (600, 6), (20, 2)])
    def test_a_smaller_limit_shuts_nobody_out_for_longer(self, before: int, after: int) -> None:
        bucket = Bucket(before, 60.0, 0.0)
        bucket.take(1.5 * before, 0.0)
        wait = bucket.wait(0.0, 0.0)
        assert bucket.relimited(after, 0.0).wait(0.0, 0.0) == pytest.approx(wait)
        assert bucket.relimited(2 * before, 0.0).wait(0.0, 0.0) == 0.0

    def test_a_request_that_others_refuse_counts_for_nothing(self) -> None:
        made = allowance(rpm=1, max_parallel_requests=1)
        for _ in range(3):
            made.enter(0.0)
            made.refund(0.0)
            made.leave(0, 0.0)
        made.enter(0.0)
        made.leave(0, 0.0)
        refused(made, 0.0)

    @given(st.integers(1, 1000), st.floats(0, 1e6), st.integers(0, 10**9))
    def test_a_bucket_holds_what_it_may_and_waits_as_long_as_it_says(self, limit: int, now: float, taken: int) -> None:
        bucket = Bucket(limit, 60.0, 0.0)
        bucket.take(taken, now)
        wait = bucket.wait(1.0, now)
        assert bucket.level(now + wait) >= 1.0 - 1e-3
        assert bucket.level(now + 1e12) == limit


class TestInTheRing:
    def secret(self, text: str) -> dict[str, object]:
        return {"data": {"keys": b64encode(text.encode()).decode()}}

    def ring(self, text: str) -> Keyring:
        made = Keyring()
        made.now = lambda: 0.0
        made.put_service(QWEN, OWN)
        made.put_secret(OWN.at, made.read(self.secret(text)))
        return made

    def allowance(self, ring: Keyring, key: str) -> Allowance:
        (grant,) = ring.presented({b"x-api-key": key.encode()})
        return grant.allowance

    def test_a_secret_that_changes_gives_nobody_a_new_minute(self) -> None:
        """LiteLLM#39713: limits ended with the entry of a cache."""
        ring = self.ring("a=key-number-1 rpm=1")
        self.allowance(ring, "key-number-1").enter(0.0)
        ring.put_secret(OWN.at, ring.read(self.secret("a=key-number-1 rpm=1\nb=key-number-2")))
        refused(self.allowance(ring, "key-number-1"), 0.0)
        self.allowance(ring, "key-number-2").enter(0.0)

    def test_keys_are_counted_by_their_names_digest(self) -> None:
        ring = self.ring("alice=key-number-1\nkey-number-2\nkey-number-3")
        for key in ("key-number-1", "key-number-2", "key-number-3"):
            self.allowance(ring, key).enter(0.0)
        told = {series[2]: counts.requests for series, counts in ring.counts.items()}
        assert told == {key_label("alice"): 1, "unnamed": 2}
        assert key_label("alice") == "2bd806c97f0e"  # printf alice | sha256sum
        assert "alice" not in repr(ring.counts.keys())

    def test_there_are_not_more_series_than_may_be(self) -> None:
        ring = self.ring("\n".join(f"name-{number}=key-number-{number}" for number in range(MAX_SERIES + 10)))
        assert len(ring.counts) == MAX_SERIES + 1
        self.allowance(ring, f"key-number-{MAX_SERIES + 9}").enter(0.0)
        assert ring.counts[OTHERS].requests == 1
