"""GET /v1/models and /v1/models/ID: every LLMService, cold ones too.

https://platform.openai.com/docs/api-reference/models ; `hearth` is ours: which models are loaded.
"""

import json
from datetime import datetime
from urllib.parse import unquote

from hearth.activator.directory import Directory, Entry
from hearth.activator.errors import ApiError, model_not_found


def models_answer(directory: Directory, only: Entry | None, path: str) -> tuple[int, bytes] | None:
    """(status, JSON body) for a models path, None for any other; `only`: the LLMService that was addressed."""
    entries = [only] if only is not None else [entry for entry in directory if entry.policy.listed]
    if path == "/v1/models":
        models = [_model(directory, entry) for entry in entries]
        return 200, json.dumps({"object": "list", "data": models}).encode()
    if not path.startswith("/v1/models/"):
        return None
    wanted = unquote(path.removeprefix("/v1/models/"))
    for entry in entries:
        if wanted in (directory.model_id(entry), "/".join(entry.key)):
            return 200, json.dumps(_model(directory, entry)).encode()
    error: ApiError = model_not_found(wanted)
    return error.status, error.body()


def _model(directory: Directory, entry: Entry) -> dict[str, object]:
    created = int(datetime.fromisoformat(entry.created).timestamp()) if entry.created else 0
    namespace, name = entry.key
    return {
        "id": directory.model_id(entry),
        "object": "model",
        "created": created,
        "owned_by": namespace,
        "hearth": {"namespace": namespace, "name": name, "phase": entry.phase, "ready_replicas": len(entry.ready)},
    }
