"""Durations and resource quantities in Kubernetes' notation, and how large they may be.

Durations follow Go's `time.ParseDuration` as Kubernetes uses it in its APIs ("90s", "1h30m", "250ms"),
without a sign. Quantities follow k8s.io/apimachinery's `resource.Quantity` ("8", "500m", "50Gi", "1e3").
The patterns bound digits and exponents, so that whatever they let through is a number that every reader can hold.
"""

import re
from datetime import timedelta
from decimal import ROUND_UP, Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

MAX_TEXT = 32
"""Characters of a duration or a quantity."""

# As many digits of each unit as 32 characters can repeat without leaving the 292 years of Go's int64 of nanoseconds:
# beyond them the API server's CEL can't say what is wrong.
# Whole milliseconds, since the API server compares what is written and we what is kept.
DURATION_PATTERN = r"^([0-9]{1,9}ms|[0-9]{1,9}(\.[0-9]{1,3})?s|[0-9]{1,7}(\.[0-9]{1,3})?m|[0-9]{1,5}(\.[0-9]{1,3})?h)+$"
QUANTITY_PATTERN = (
    r"^\+?(0*[0-9]{1,19}(\.[0-9]{0,19})?|\.[0-9]{1,19})(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]{1,2})?$"
)
# CPUs may be written as a number with a fraction, as in a pod. A CRD has that only where CEL can't look, so these two
# say all of it: a number above zero, and a suffix that leaves it below 1Ei.
MAX_CPUS = 999_999_999
_NOT_ZERO = r"(0*[1-9][0-9]{0,8}(\.[0-9]{0,9})?|0*\.0{0,8}[1-9][0-9]{0,8})"
CPU_PATTERN = rf"^\+?{_NOT_ZERO}(n|u|m|k|M|G|Ki|Mi|Gi|[eE][+-]?[0-9])?$"

MAX_DURATION = timedelta(hours=24)
"""The longest that anybody waits for anything here."""

MAX_QUANTITY = Decimal(2) ** 60
"""1Ei. Kubernetes holds what is over 2^63-1 for 2^63-1, so a bound has to lie below."""

# The API server keeps a bound as a float64 and writes it with as few digits as tell it apart. Written otherwise here,
# the CRD that it has would differ from the one that is applied, and two who apply the same would be in conflict.
_MAX_WRITTEN = int(Decimal(repr(float(MAX_QUANTITY))))

_ANY_DURATION = "expected a duration such as 30s, 5m or 1h30m"
_ANY_CPU = "expected CPUs above zero, such as 4, 0.5 or 500m"
_ANY_QUANTITY = "expected a Kubernetes quantity such as 4, 500m or 50Gi"
_BOUNDED_QUANTITY = "expected a quantity above zero and at most 1Ei"
_MAX_BITS = 64
_DURATION = re.compile(DURATION_PATTERN)
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}
_QUANTITY = re.compile(r"^\+?([0-9]*\.?[0-9]*)(.*)$")
_CPU = re.compile(CPU_PATTERN)
_QUANTITY_RE = re.compile(QUANTITY_PATTERN)
_SUFFIX = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "u": Decimal("0.000001"),
    "n": Decimal("0.000000001"),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
}


def parse_duration(text: str) -> timedelta:
    """The duration that Go's notation says, such as "1h30m" or "250ms".

    Raises ValueError where `text` is not such a duration.
    """
    if len(text) > MAX_TEXT or not _DURATION.fullmatch(text):
        raise ValueError(_ANY_DURATION)
    seconds = sum(Decimal(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(text))
    return timedelta(milliseconds=int(seconds * 1000))


def format_duration(duration: timedelta) -> str:
    """The shortest notation that `parse_duration` reads back to the same value: "5m", "1h30m", "0s"."""
    millis = round(duration.total_seconds() * 1000)
    parts: list[str] = []
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, millis = divmod(millis, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_quantity(text: str) -> Decimal:
    """The number that a Kubernetes quantity stands for: "500m" is 0.5, "1Gi" is 1073741824.

    Raises ValueError where `text` is not a quantity.
    """
    if len(text) > MAX_TEXT or not _QUANTITY_RE.fullmatch(text):
        raise ValueError(_ANY_QUANTITY)
    match = _QUANTITY.fullmatch(text)
    assert match is not None
    number, suffix = match.groups()
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix != "Ei":
        return Decimal(number + suffix)
    return Decimal(number) * _SUFFIX[suffix]


def amount(written: object) -> Decimal | None:
    """The number of a quantity that somebody else wrote; None where it is none, or below zero."""
    if isinstance(written, int) and not isinstance(written, bool):
        return Decimal(written) if 0 <= written <= MAX_QUANTITY else None
    try:
        return parse_quantity(written) if isinstance(written, str) else None
    except ValueError:
        return None


def _duration_in(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError(_ANY_DURATION)
    return parse_duration(value)


def _duration_checked(value: timedelta) -> timedelta:
    if value > MAX_DURATION:
        raise ValueError(f"must be at most {format_duration(MAX_DURATION)}")
    return value


def _quantity_in(value: Any) -> str:
    # Kubernetes lets a quantity be written as a bare number; a CRD only as a whole one (x-kubernetes-int-or-string).
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(_ANY_QUANTITY)
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise ValueError(_BOUNDED_QUANTITY)  # so many digits that Python refuses to write them
    return str(value)


def _cpu_in(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(_ANY_CPU)
    if isinstance(value, str):
        if len(value) > MAX_TEXT or not _CPU.fullmatch(value):
            raise ValueError(_ANY_CPU)
        return value
    if not 0 < value <= MAX_CPUS:
        raise ValueError(_ANY_CPU)
    # Kubernetes knows billionths and rounds up to them.
    return format(Decimal(repr(value)).quantize(_SUFFIX["n"], ROUND_UP).normalize(), "f")


def _quantity_checked(value: str) -> str:
    if not 0 < parse_quantity(value) <= MAX_QUANTITY:
        raise ValueError(_BOUNDED_QUANTITY)
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration_in),
    AfterValidator(_duration_checked),
    PlainSerializer(format_duration),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": MAX_TEXT,
            "pattern": DURATION_PATTERN,
            "x-kubernetes-validations": [
                {
                    "rule": f"duration(self) <= duration('{format_duration(MAX_DURATION)}')",
                    "messageExpression": f"'found ' + self + '; must be at most {format_duration(MAX_DURATION)}'",
                }
            ],
        }
    ),
]
Quantity = Annotated[
    str,
    BeforeValidator(_quantity_in),
    AfterValidator(_quantity_checked),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": MAX_TEXT,
            "pattern": QUANTITY_PATTERN,
            "minimum": 1,
            "maximum": _MAX_WRITTEN,
            "x-kubernetes-validations": [
                {
                    "rule": "type(self) == int || isQuantity(self) && quantity(self).isGreaterThan(quantity('0')) "
                    "&& quantity(self).compareTo(quantity('1Ei')) <= 0",
                    "message": _BOUNDED_QUANTITY,
                }
            ],
        }
    ),
]
Cpu = Annotated[
    str,
    BeforeValidator(_cpu_in),
    WithJsonSchema(
        {
            # A schema without a type is the only one that takes a number with a fraction and a text. What is no number
            # and no text, it has to refuse by bounds that nothing meets.
            "x-kubernetes-preserve-unknown-fields": True,
            "maxLength": MAX_TEXT,
            "pattern": CPU_PATTERN,
            "minimum": 0,
            "exclusiveMinimum": True,
            "maximum": MAX_CPUS,
            "not": {"enum": [False, True]},
            "minProperties": 1,
            "maxProperties": 0,
            "minItems": 1,
            "maxItems": 0,
        }
    ),
]
