"""The names of what an LLMService becomes. No LLMService may have the name of another one's Service of engines."""

import hashlib

ENGINE_SUFFIX = "-engine"
MAX_NAME = 63


def child_name(name: str, suffix: str) -> str:
    """`NAME-suffix`, at most 63 characters; a longer one is cut and made unique by a hash of the whole."""
    whole = f"{name}-{suffix}"
    if len(whole) <= MAX_NAME:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{name[: MAX_NAME - len(suffix) - 10].rstrip('-')}-{digest}-{suffix}"


def engine_service(name: str) -> str:
    """The headless Service of an LLMService's engines: it always ends in ENGINE_SUFFIX."""
    return child_name(name, ENGINE_SUFFIX.removeprefix("-"))
