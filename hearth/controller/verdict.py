"""A verdict: a condition of an LLMService before it is written down with its time."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """A condition without its time."""

    type: str
    status: bool
    reason: str
    message: str
