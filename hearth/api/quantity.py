"""Durations and resource quantities in Kubernetes' notation.

Durations follow Go's `time.ParseDuration` as Kubernetes uses it in its APIs ("90s", "1h30m", "250ms"),
without a sign. Quantities follow k8s.io/apimachinery's `resource.Quantity` ("8", "500m", "50Gi", "1e3").
"""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]*)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+)?$"

_DURATION = re.compile(DURATION_PATTERN)
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}
_QUANTITY = re.compile(r"^([0-9]+(?:\.[0-9]*)?)(.*)$")
_QUANTITY_RE = re.compile(QUANTITY_PATTERN)
_SUFFIX = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
}


def parse_duration(text: str) -> timedelta:
    """The duration that Go's notation says, such as "1h30m" or "250ms".

    Raises ValueError where `text` is not such a duration.
    """
    if not _DURATION.fullmatch(text):
        raise ValueError("expected a duration such as 30s, 5m or 1h30m")
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
    if not _QUANTITY_RE.fullmatch(text):
        raise ValueError("expected a Kubernetes quantity such as 4, 500m or 50Gi")
    match = _QUANTITY.fullmatch(text)
    assert match is not None
    number, suffix = match.groups()
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix != "Ei":
        return Decimal(number + suffix)
    return Decimal(number) * _SUFFIX[suffix]


def _duration_in(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError("expected a duration such as 30s, 5m or 1h30m")
    return parse_duration(value)


def _quantity_in(value: Any) -> str:
    # Kubernetes lets a quantity be written as a bare number (x-kubernetes-int-or-string).
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("expected a Kubernetes quantity such as 4, 500m or 50Gi")
    return str(value)


def _quantity_checked(value: str) -> str:
    if parse_quantity(value) <= 0:
        raise ValueError("expected a quantity above zero")
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration_in),
    PlainSerializer(format_duration),
    WithJsonSchema({"type": "string", "maxLength": 32, "pattern": DURATION_PATTERN}),
]
Quantity = Annotated[
    str,
    BeforeValidator(_quantity_in),
    AfterValidator(_quantity_checked),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
]
