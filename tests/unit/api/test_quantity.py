import contextlib
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.api.llmservice import Resources
from hearth.api.quantity import (
    CPU_PATTERN,
    DURATION_PATTERN,
    MAX_QUANTITY,
    MAX_TEXT,
    QUANTITY_PATTERN,
    format_duration,
    parse_duration,
    parse_quantity,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1.001h", 3603.6),
        ("0.001m", 0.06),
        ("1m1m", 120),
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("0s", 0),
        ("1.5h", 5400),
    ],
)
def test_durations_are_read_as_go_writes_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "5 m", "-5s", "m5", "5d", "5m\n", "1h 30m", "1H", "1e3s", ".s", "\uff15s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**10))
def test_a_formatted_duration_reads_back_as_itself(millis: int) -> None:
    duration = timedelta(milliseconds=millis)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "number"),
    [("8", 8), ("500m", Decimal("0.5")), ("50Gi", 50 * 2**30), ("1k", 1000), ("1e3", 1000), ("2Ei", 2 * 2**60)]
    + [("+5", 5), (".5", Decimal("0.5")), ("5.", 5), ("1E", 10**18), ("1E3", 1000), ("1e+3", 1000), ("1.5e3", 1500)]
    + [("3u", Decimal("0.000003")), ("1500n", Decimal("0.0000015")), ("1e-03", Decimal("0.001")), ("007", 7)]
    + [("1Ki", 2**10), ("1Mi", 2**20), ("1Ti", 2**40), ("1Pi", 2**50), ("1M", 10**6), ("1G", 10**9)]
    + [("1T", 10**12), ("1P", 10**15)],
)
def test_quantities_are_read_as_kubernetes_reads_them(text: str, number: Decimal) -> None:
    assert parse_quantity(text) == number


@pytest.mark.parametrize(
    "text",
    ["", "Gi", "5 Gi", "5gb", "-1", "1.2.3"]
    # k8s.io/apimachinery's ParseQuantity refuses these too.
    + ["1e", "1e3k", "1K", "1ki", "1mi", "1kI", "0x1", "1_000", "1,5", "1\u00b5", "12E+", " 1", "1 ", "1\n", "\uff11"],
)
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


@pytest.mark.parametrize(
    ("written", "text"),
    [(4, "4"), (0.5, "0.5"), ("0.5", "0.5"), ("500m", "500m"), (100.0, "100"), (999_999_999, "999999999")]
    + [(1e-7, "0.0000001"), (1e-12, "0.000000001"), (0.1, "0.1"), (999_999_998.5, "999999998.5")],
)
def test_cpus_may_be_a_number_with_a_fraction(written: object, text: str) -> None:
    assert Resources.model_validate({"cpu": written}).cpu == text


@pytest.mark.parametrize("written", [0, -1, 0.0, -0.5, 1e9, 10**30, float("nan"), float("inf"), True, "", "0", "0m"])
def test_what_is_no_number_of_cpus_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="expected CPUs above zero, such as 4, 0.5 or 500m"):
        Resources.model_validate({"cpu": written})


@given(st.from_regex(CPU_PATTERN, fullmatch=True))
def test_whatever_is_taken_for_cpus_is_a_quantity_within_its_bounds(text: str) -> None:
    if len(text) <= MAX_TEXT:
        assert 0 < parse_quantity(text) < MAX_QUANTITY
