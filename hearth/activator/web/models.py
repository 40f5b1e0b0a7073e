"""What /v1/models says: every LLMService that is listed, cold ones too.

https://platform.openai.com/docs/api-reference/models ; in the same document what Anthropic's SDKs read:
https://docs.anthropic.com/en/api/models-list ; `hearth` is ours: which models are loaded.
"""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache

import msgspec

from hearth.activator.directory import Directory, Entry
from hearth.activator.errors import model_not_found
from hearth.activator.web.steps import json_array
from hearth.api.key import ServiceKey

_REMEMBERED = 10_000
"""Times that are read once: a list has all of them, each time."""

Seen = Callable[[ServiceKey], bool]
"""Which LLMServices whoever asks may know of."""


async def model_list(directory: Directory, only: Entry | None, seen: Seen) -> bytes:
    """The list, as JSON; `only`: the LLMService that was addressed."""
    entries = _entries(directory, only, seen)
    ends = [directory.model_id(entries[0]), directory.model_id(entries[-1])] if entries else [None, None]
    first, last = map(msgspec.json.encode, ends)
    models = await json_array(entries, lambda entry: _model(directory, entry))
    return b'{"object":"list","data":%b,"has_more":false,"first_id":%b,"last_id":%b}' % (models, first, last)


def model(directory: Directory, only: Entry | None, seen: Seen, wanted: str) -> dict[str, object]:
    """One model, by its id or as NAMESPACE/NAME. Raises ApiError 404."""
    for entry in _entries(directory, only, seen):
        if wanted in (directory.model_id(entry), "/".join(entry.key)):
            return _model(directory, entry)
    raise model_not_found(wanted)


def _entries(directory: Directory, only: Entry | None, seen: Seen) -> list[Entry]:
    there = [only] if only is not None else [entry for entry in directory if entry.policy.listed]
    return [entry for entry in there if seen(entry.key)]


def _model(directory: Directory, entry: Entry) -> dict[str, object]:
    namespace, name = entry.key
    identity = directory.model_id(entry)
    return {
        "id": identity,
        "object": "model",
        "created": _seconds(entry.created),
        "owned_by": namespace,
        "type": "model",
        "display_name": identity,
        "created_at": entry.created or "1970-01-01T00:00:00Z",
        "hearth": {"namespace": namespace, "name": name, "phase": entry.phase, "ready_replicas": len(entry.ready)},
    }


@lru_cache(_REMEMBERED)
def _seconds(created: str) -> int:
    """Since 1970; 0 for a time that is none."""
    try:
        return int(datetime.fromisoformat(created).timestamp())
    except ValueError:
        return 0
