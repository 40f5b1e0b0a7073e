"""The cron notation beside what KEDA's own reader, github.com/robfig/cron 3.0.1, says of the same texts."""

import re
from datetime import UTC, datetime

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from hearth.api.cron import RULES, cron_problem, plain

# What KEDA reads, and when the first time after 2026-01-01T00:00:00Z is: recorded from robfig/cron.
READ = {
    "0 8 * * 1-5": "2026-01-01T08:00:00Z",
    "0 8 * * MON-FRI": "2026-01-01T08:00:00Z",
    "*/15 * * * *": "2026-01-01T00:15:00Z",
    "5/10 * * * *": "2026-01-01T00:05:00Z",
    "1-10/3 * * * *": "2026-01-01T00:01:00Z",
    "0 0 29 2 *": "2028-02-29T00:00:00Z",
    "0 0 31 4-6 *": "2026-05-31T00:00:00Z",
    "0 0 31 feb,jan *": "2026-01-31T00:00:00Z",
    "0 0 31 2 1": "2026-02-02T00:00:00Z",
    "0 8 ? * MON,WED": "2026-01-05T08:00:00Z",
    "00 08 * * 1": "2026-01-05T08:00:00Z",
    "0 8 31 */2 ?": "2026-01-31T08:00:00Z",
}
# What KEDA does not read.
BROKEN = [
    *("0 8 * * 7", "0 8 * * 5-7", "0 8 * * fri-mon", "0 8 L * *", "0 8 1W * *", "0 8 * * 5#2", "0 8 * * 5L"),
    *("0 8 * *", "0 0 8 * * *", "0 24 * * *", "60 8 * * *", "*/0 * * * *", "0 0 0 * *", "0 0 32 * *", "0 0 * 13 *"),
    *(
        "0 0 * 0 *",
        "0 0 * JANUARY *",
        "TZ=UTC 8 * * *",
        "5-10-12 * * * *",
        "1/2/3 * * * *",
        "0 \uff18 * * *",
        "",
        "@daily",
    ),
]
# What KEDA reads as a time that never comes, and so holds a window for open that begins then.
NEVER = ["0 0 31 2 *", "0 0 30 2 *", "0 0 30-31 FEB ?", "0 0 31 4 *", "0 0 31 4,6 *", "0 0 31 4-6/2 *", "0 0 31 2 */1"]
# What KEDA reads, some of it as something else than is written.
NOT_MEANT = {
    **dict.fromkeys(("0  8 * * *", "0\t8 * * *", "0 8 * * *\n", " 0 8 * * *"), "with one space between"),
    **dict.fromkeys(("1, 8 * * *", ", 8 * * *", "*-5 8 * * *", "+5 8 * * *", "007 8 * * *"), "minute: expected"),
    "5-5 * * * *": "ranges that go up",
    "0 8 * * MON-5": "day of week: expected",
}


@pytest.mark.parametrize("text", READ)
def test_what_keda_reads_is_taken_and_means_the_same(text: str) -> None:
    assert cron_problem(text) is None
    first = next(CronSim(plain(text), datetime(2026, 1, 1, tzinfo=UTC)))
    assert first.isoformat().replace("+00:00", "Z") == READ[text]


@pytest.mark.parametrize("text", [*BROKEN, *NEVER])
def test_what_keda_can_make_no_use_of_is_refused(text: str) -> None:
    assert cron_problem(text) is not None


@pytest.mark.parametrize("text", NEVER)
def test_a_day_that_never_comes_is_named(text: str) -> None:
    assert str(cron_problem(text)).startswith("day of month: expected a day that comes")


@pytest.mark.parametrize("text", NOT_MEANT)
def test_what_has_no_meaning_of_its_own_is_refused(text: str) -> None:
    assert NOT_MEANT[text] in str(cron_problem(text))


@pytest.mark.parametrize("day", ["30", "31"])
@pytest.mark.parametrize("month", range(1, 13))
@pytest.mark.parametrize("spelling", ["{}", "0{}", "{},2", "2,{}", "{}/12", "JAN"])
def test_a_late_day_is_taken_where_one_of_its_months_has_it(day: str, month: int, spelling: str) -> None:
    names = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
    if spelling == "0{}" and month > 9:
        spelling = "{}"
    months = names[month - 1] if spelling == "JAN" else spelling.format(month)
    has = month != 2 and (day == "30" or month not in (4, 6, 9, 11))
    assert (cron_problem(f"0 0 {day} {months} *") is None) == has
    assert cron_problem(f"0 0 29,{day} {months} *") is None
    assert cron_problem(f"0 0 {day} {months} 1") is None


def test_two_spellings_of_one_time_are_the_same() -> None:
    assert plain("00 08 ? JAN Mon") == plain("0 8 * jan mon")
    assert plain("10 20 30 10 *") == "10 20 30 10 *"


@given(st.text(alphabet="0123456789*?-/,LW# MONFRIjanfeb", max_size=128) | st.text(max_size=24))
def test_any_text_is_a_time_or_refused_in_words(text: str) -> None:
    problem = cron_problem(text)
    if problem is None:
        assert re.fullmatch(r"[!-~]+( [!-~]+){4}", text)
        assert next(CronSim(plain(text), datetime(2026, 1, 1, tzinfo=UTC)))
    else:
        assert "expected" in problem


def test_no_rule_has_what_cel_would_read_otherwise() -> None:
    for rule in RULES:
        assert not set("\\'") & set(rule.must + rule.where)
