"""The text of a Secret's entry that holds API keys: one key a line, with its name before it and its limits behind it.

    # whose keys these are
    sk-4f1c…
    alice=sk-9ab2…
    ci=sk-77d0… rpm=60 tpm=100000 max_parallel_requests=4 models=qwen,ai/llama cold_starts=2

The limits have the names that LiteLLM gives them (https://docs.litellm.ai/docs/proxy/virtual_keys). A line that can't
be read opens nothing; what is said of it has its number and never a word of it. Pure.
"""

import re
from base64 import b64decode
from dataclasses import dataclass, field

DEFAULT_KEYS_SECRET = "hearth-api-keys"  # noqa: S105 - its name
"""The one name of Secrets that activators may read unless the controller is told others."""
DEFAULT_KEYS_ENTRY = "keys"

MAX_KEYS = 2000
"""In one entry."""
MAX_PROBLEMS = 20
"""Lines of one entry that are no keys."""
MAX_KEY_BYTES = 4096
"""A longer one is no key: it would not fit into a request's head with much else."""
MIN_KEY_BYTES = 8
"""A shorter one is guessed."""
_MOST = 2**31 - 1

_NAME = re.compile(rb"[A-Za-z0-9]([A-Za-z0-9._@-]{0,61}[A-Za-z0-9])?")
_MODEL = re.compile(r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_VISIBLE = re.compile(rb"[\x21-\x7e]+")
"""What a header field's value can have in it without a space (RFC 9110, 5.5)."""


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """None: no limit. Of one activator: `rpm` requests and `tpm` tokens a minute, requests at a time, cold starts an
    hour; `models` are NAME or NAMESPACE/NAME of the LLMServices that the key is for."""

    rpm: int | None = None
    tpm: int | None = None
    max_parallel_requests: int | None = None
    cold_starts: int | None = None
    models: frozenset[str] | None = None


NO_LIMITS = KeyLimits()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """`name` is "" where the line has none. The key itself is in no text that is made of this."""

    name: str
    secret: bytes = field(repr=False)
    limits: KeyLimits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class ReadKeys:
    """The keys of an entry, and what is wrong with the first lines that are none of them."""

    keys: tuple[ApiKey, ...]
    problems: tuple[str, ...] = ()


def read_value(value: object) -> ReadKeys:
    """The keys in the value of a Secret's entry, as its `data` has it: Base64. What no API server keeps has none."""
    try:
        return read_keys(b64decode(value)) if isinstance(value, str) else ReadKeys(())
    except ValueError:
        return ReadKeys(())


def read_keys(entry: bytes) -> ReadKeys:
    """The keys in a Secret's entry. What is behind `MAX_PROBLEMS` lines that are none is not read: it is no file of
    keys, and whoever may write a Secret has a mebibyte for it."""
    keys: list[ApiKey] = []
    problems: list[str] = []
    names: set[str] = set()
    secrets: set[bytes] = set()
    for number, line in enumerate(entry.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        if len(keys) >= MAX_KEYS:
            problems.append(f"line {number}: more than {MAX_KEYS} keys")
            break
        try:
            key = _read(words)
            if key.name and key.name in names:
                raise _Unreadable("a name that an earlier line has")
            if key.secret in secrets:
                raise _Unreadable("a key that an earlier line has")
        except _Unreadable as problem:
            problems.append(f"line {number}: {problem}")
            if len(problems) >= MAX_PROBLEMS:
                problems.append(f"line {number + 1} and what follows: not read, behind {MAX_PROBLEMS} such lines")
                break
            continue
        names.add(key.name)
        secrets.add(key.secret)
        keys.append(key)
    return ReadKeys(tuple(keys), tuple(problems))


class _Unreadable(Exception):
    """What a line has instead of what it should have."""


def _read(words: list[bytes]) -> ApiKey:
    name, secret = b"", words[0]
    before, equals, behind = secret.partition(b"=")
    if equals and behind.strip(b"="):  # not the padding with which Base64 ends
        name, secret = before, behind
    if secret.lower() == b"bearer":
        raise _Unreadable("the word Bearer, which clients send before the key; expected the key alone")
    if len(secret) > 1 and secret[:1] == secret[-1:] and secret[:1] in b"\"'`":
        raise _Unreadable("a key in quotes, which would be part of it; expected the key alone")
    if name and not _NAME.fullmatch(name):
        raise _Unreadable("a name that is not at most 63 of A-Z, a-z, 0-9, '.', '_', '@' and '-'")
    if not _VISIBLE.fullmatch(secret):
        raise _Unreadable("a key with characters that no header field can carry; expected printable ASCII")
    if not MIN_KEY_BYTES <= len(secret) <= MAX_KEY_BYTES:
        raise _Unreadable(f"a key of {len(secret)} bytes; expected {MIN_KEY_BYTES} to {MAX_KEY_BYTES}")
    return ApiKey(name.decode(), secret, _limits(words[1:]))


def _limits(words: list[bytes]) -> KeyLimits:
    numbers: dict[str, int] = {}
    models: frozenset[str] | None = None
    for word in words:
        name, equals, value = word.decode("ascii", "replace").partition("=")
        if not equals or name not in _LIMITS or name in numbers or (name == "models" and models is not None):
            raise _Unreadable(f"something behind the key that is none of {', '.join(_LIMITS)}, each once, with a value")
        if name == "models":
            models = frozenset(value.split(","))
            if not all(_MODEL.fullmatch(model) for model in models):
                raise _Unreadable("models: expected NAME or NAMESPACE/NAME of LLMServices, with commas between them")
        elif not (value.isascii() and value.isdecimal() and len(value) <= 10 and 1 <= int(value) <= _MOST):
            raise _Unreadable(f"{name}: expected a whole number from 1 to {_MOST}")
        else:
            numbers[name] = int(value)
    if not numbers and models is None:
        return NO_LIMITS
    return KeyLimits(**numbers, models=models)


_LIMITS = ("rpm", "tpm", "max_parallel_requests", "models", "cold_starts")
