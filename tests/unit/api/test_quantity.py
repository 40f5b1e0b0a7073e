import contextlib
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.api.quantity import (
    DURATION_PATTERN,
    MAX_TEXT,
    QUANTITY_PATTERN,
    format_duration,
    parse_duration,
    parse_quantity,
)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("1h30m", 5400), ("250ms", 0.25), ("0s", 0), ("1.5h", 5400)]
)
def test_durations_are_read_as_go_writes_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "5 m", "-5s", "m5", "5d", "5m\n"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**10))
def test_a_formatted_duration_reads_back_as_itself(millis: int) -> None:
    duration = timedelta(milliseconds=millis)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "number"),
    [("8", 8), ("500m", Decimal("0.5")), ("50Gi", 50 * 2**30), ("1k", 1000), ("1e3", 1000), ("2Ei", 2 * 2**60)],
)
def test_quantities_are_read_as_kubernetes_reads_them(text: str, number: Decimal) -> None:
    assert parse_quantity(text) == number


@pytest.mark.parametrize("text", ["", "Gi", "5 Gi", "5gb", "-1", "1.2.3"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a Kubernetes quantity"):
        parse_quantity(text)


@given(st.from_regex(DURATION_PATTERN, fullmatch=True))
def test_whatever_the_pattern_takes_is_a_duration_or_is_refused(text: str) -> None:
    try:
        assert parse_duration(text) >= timedelta(0)
    except ValueError:
        assert len(text) > MAX_TEXT


@given(st.from_regex(QUANTITY_PATTERN, fullmatch=True))
def test_whatever_the_pattern_takes_is_a_quantity_or_is_refused(text: str) -> None:
    try:
        assert parse_quantity(text) >= 0
    except ValueError:
        assert len(text) > MAX_TEXT


@given(st.text(alphabet="0123456789.eE+-hmsKMGTPi", max_size=64))
def test_no_text_raises_anything_but_a_valueerror(text: str) -> None:
    for parse in (parse_duration, parse_quantity):
        with contextlib.suppress(ValueError):
            parse(text)
