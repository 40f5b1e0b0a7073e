"""ServiceKey: which LLMService. Importing it loads nothing of the API."""

from typing import NamedTuple


class ServiceKey(NamedTuple):
    """Where an LLMService stands. As text: NAMESPACE/NAME."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
