"""The cron notation of `spec.scaling.schedules[]`: what KEDA's cron trigger reads, less what has no meaning there.

KEDA reads it with github.com/robfig/cron: five fields, `*` or `?`, numbers, names of months and days, ranges, steps and
lists; no 7 for Sunday and no L, W or #. Refused here beside these: a range that ends where it begins, a list with an
empty item, and a day that never comes, since KEDA takes a window that never begins for one that is always open.

RULES are the whole grammar. The models and the CRD's CEL are both made from them.
"""

import re
from dataclasses import dataclass

MAX_TEXT = 128

_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"
_DAYS = "sun mon tue wed thu fri sat"
_STEP = "(/(0?[1-9]|[1-9][0-9]))?"
_ALWAYS = "[*?](/0?1)?"


@dataclass(frozen=True, slots=True)
class CronRule:
    """A text that matches `where` and not `must` is refused: it should be `allowed`. RE2 and `re` read both alike."""

    must: str
    allowed: str
    where: str = "^"

    def holds(self, text: str) -> bool:
        return not _found(self.where, text) or _found(self.must, text)

    @property
    def cel(self) -> str:
        """The rule as the API server checks it."""
        return f"!self.matches('{self.where}') || self.matches('{self.must}')"


def _found(pattern: str, text: str) -> bool:
    # `re` has another end than RE2: its $ stands before a last newline too.
    return re.search(pattern.replace("$", r"\Z"), text) is not None


def _field(number: str, names: str = "") -> str:
    """An expression for a list of values, ranges and steps."""
    kinds = [number, *([names.replace(" ", "|")] if names else [])]
    item = f"([*?]|{'|'.join(f'({kind})(-({kind}))?' for kind in kinds)}){_STEP}"
    return f"{item}(,{item})*"


def _day_comes(days: str, months: str, why: str) -> CronRule:
    """Where every day of the month is one of `days`, and the day of the week adds none, one of `months` is needed."""
    item = f"({days})[-/0-9]*"
    # Of any two months in a row one has 31 days, so a range without a step is enough.
    some = f"([^ ]+,)?(({months})([-/,][^ ]*)?|[0-9a-z]+-[0-9a-z]+(,[^ ]*)?)"
    return CronRule(
        f"(?i)^[^ ]+ [^ ]+ [^ ]+ {some} [^ ]+$",
        f"day of month: expected a day that comes; {why}",
        f"^[^ ]+ [^ ]+ {item}(,{item})* [^ ]+ {_ALWAYS}$",
    )


_FIVE = "^[!-~]+( [!-~]+){4}$"
_FIELDS = (
    ("minute", _field("[0-5]?[0-9]"), "0 to 59"),
    ("hour", _field("[01]?[0-9]|2[0-3]"), "0 to 23"),
    ("day of month", _field("0?[1-9]|[12][0-9]|3[01]"), "1 to 31 (KEDA knows no L and W)"),
    ("month", _field("0?[1-9]|1[0-2]", _MONTHS), "1 to 12 or JAN to DEC"),
    ("day of week", _field("0?[0-6]", _DAYS), "0 to 6 or SUN to SAT (KEDA knows no 7, L and #; 0 is Sunday)"),
)

RULES = (
    CronRule(_FIVE, "expected five cron fields with one space between them, such as '0 8 * * 1-5'"),
    *(
        CronRule(f"(?i)^{'[^ ]+ ' * place}{field}{' [^ ]+' * (4 - place)}$", f"{name}: expected {values}", _FIVE)
        for place, (name, field, values) in enumerate(_FIELDS)
    ),
    _day_comes("3[01]", "[*?]|0?1|0?[3-9]|1[0-2]|jan|mar|apr|may|jun|jul|aug|sep|oct|nov|dec", "February has none"),
    _day_comes("31", "[*?]|0?[13578]|1[02]|jan|mar|may|jul|aug|oct|dec", "these months have 30 days at most"),
)

ASCENDING = "expected ranges that go up, such as 1-5"
_NUMBERS_RANGE = "[0-9]+-[0-9]+"
_NAMES_RANGE = "[a-z]{3}-[a-z]{3}"
ASCENDING_CEL = (
    f"self.findAll('{_NUMBERS_RANGE}').all(r, int(r.split('-')[0]) < int(r.split('-')[1])) && "
    f"self.lowerAscii().findAll('{_NAMES_RANGE}').all(r, "
    f"'{_MONTHS} {_DAYS}'.indexOf(r.split('-')[0]) < '{_MONTHS} {_DAYS}'.indexOf(r.split('-')[1]))"
)

# Numbers have two digits at most, so a 0 with a digit behind it begins one.
_SAME = (("?", "*"), *((f"0{digit}", str(digit)) for digit in range(10)))


def cron_problem(text: str) -> str | None:
    """What KEDA can't make use of in `text`, as what was expected instead; None where it is a time."""
    for rule in RULES:
        if not rule.holds(text):
            return rule.allowed
    names = f"{_MONTHS} {_DAYS}"
    ranges = [
        *((int(low), int(high)) for low, high in _ends(_NUMBERS_RANGE, text)),
        *((names.index(low), names.index(high)) for low, high in _ends(_NAMES_RANGE, text.lower())),
    ]
    return None if all(low < high for low, high in ranges) else ASCENDING


def _ends(pattern: str, text: str) -> list[list[str]]:
    return [found.split("-") for found in re.findall(pattern, text)]


def plain(text: str) -> str:
    """The text with one spelling for what has two: upper and lower case, `?` and `*`, `08` and `8`."""
    text = text.lower()
    for written, short in _SAME:
        text = text.replace(written, short)
    return text


def plain_cel(text: str) -> str:
    """`plain` of a CEL expression, as a CEL expression."""
    return f"{text}.lowerAscii()" + "".join(f".replace('{written}', '{short}')" for written, short in _SAME)
