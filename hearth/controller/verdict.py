"""A verdict: a condition of an LLMService before it is written down with its time."""

from dataclasses import dataclass

from hearth.api.reasons import ReasonName
from hearth.api.status import ConditionType


@dataclass(frozen=True, slots=True)
class Verdict:
    """A condition without its time."""

    type: ConditionType
    status: bool
    reason: ReasonName
    message: str
