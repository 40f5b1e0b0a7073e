"""JSON of an API server into plain data, however deep somebody nested it.

The API server keeps what is nested thousands deep; Python's decoders give up long before. One such object must not
hide the others of its list, so that what lies too deep is left out, and the object is still there to be refused.
"""

import re
from typing import Any

import msgspec

from hearth.kube.errors import Unavailable

MAX_DEPTH = 64
"""Deeper than any object of Kubernetes' own, and than what the models take."""

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


def decode(body: bytes) -> Any:
    """Raises Unavailable where it is no JSON."""
    try:
        try:
            return msgspec.json.decode(body)
        except RecursionError:
            return msgspec.json.decode(shallow(body))
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise Unavailable(f"found an answer that is no JSON: {error}") from error


def shallow(body: bytes, depth: int = MAX_DEPTH) -> bytes:
    """The same JSON with null in place of every object and list that is nested deeper."""
    made: list[bytes] = []
    taken = level = 0
    for found in _TOKEN.finditer(body):
        match found[0]:
            case b"[" | b"{":
                level += 1
                if level == depth + 1:
                    made += [body[taken : found.start()], b"null"]
            case b"]" | b"}":
                if level == depth + 1:
                    taken = found.end()
                level -= 1
    return b"".join([*made, body[taken:]])
