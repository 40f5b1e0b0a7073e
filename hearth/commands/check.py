"""One thing that was looked at, as `hearth doctor` and `hearth runtime check` say it."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found; `fix` is what to do where it is not well."""

    what: str
    well: bool
    found: str
    fix: str = ""

    def to_data(self) -> dict[str, Any]:
        return asdict(self)
