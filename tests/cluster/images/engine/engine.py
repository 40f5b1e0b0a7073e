#!/opt/hearth/bin/python
"""What the simulated image runs in place of an engine's command: the simulated engine, told what the engine is told.

Further arguments, which say how it behaves, are asked of the test bed by the pod's name: HEARTH_ENGINES_URL/POD answers a JSON list.
Where nobody answers there, it behaves as it does by default.
"""

import json
import os
import sys
import urllib.request

from hearth.emulators import engine

_WAIT_SECONDS = 2.0


def arguments() -> list[str]:
    """How this engine is to behave. Raises ValueError where the answer is no list of words."""
    url = f"{os.environ['HEARTH_ENGINES_URL']}/{os.environ['HOSTNAME']}"
    try:
        with urllib.request.urlopen(url, timeout=_WAIT_SECONDS) as answer:  # noqa: S310 - the test bed says where
            told = json.load(answer)
    except OSError as error:
        print(f"simulated engine: {url}: {error}; it behaves as by default", file=sys.stderr, flush=True)
        return []
    if not (isinstance(told, list) and all(isinstance(word, str) for word in told)):
        raise ValueError(f"{url}: found {told!r}; expected a JSON list of arguments")
    return told


if __name__ == "__main__":
    # Its own name is no word of the engine's command, unless it was called by the engine's.
    command = sys.argv[1:] if sys.argv[0] == "/opt/simulated/engine" else sys.argv
    sys.argv = [engine.__name__, *arguments(), "--", *command]
    engine.main()
