"""What every client's program here has in common: it reads lines `BASE_URL MODEL HOW`, asks, and answers each line
with one of JSON: what the model said and why it stopped, or what the client made of it instead."""

import json
import sys
from collections.abc import Callable

QUESTION = "Where were you?"

Asked = Callable[[str, str, str], tuple[str, str | None]]


def serve(ask: Asked) -> None:
    """Ask for each line of standard input."""
    for line in sys.stdin:
        base_url, model, how = line.split()
        try:
            said, finish = ask(base_url, model, how)
            answer = {"said": said, "finish": finish}
        except Exception as error:  # noqa: BLE001 whatever a client raises is what its users see, and what is told
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
