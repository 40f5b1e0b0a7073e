"""The keyring: whose API keys there are, which LLMService each opens, and what a request without one is told.

Pure state, fed with LLMServices and Secrets. It decides from a request's head alone, before a body is read. A key is
looked up by a digest that only this process can make, so that no comparison's time tells of it.

A door whose keys can't be read is closed: nobody's key is wrong then, and who asks is told to come again.
"""

import contextlib
import hmac
import secrets
import time
from base64 import b64decode
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Final, NamedTuple

from hearth.activator.allowance import Allowance, KeyCounts, key_label
from hearth.activator.errors import ApiError, keys_unreadable, model_not_found, unauthorized
from hearth.api.key import ServiceKey
from hearth.api.keys import MAX_KEY_BYTES, ApiKey, read_value
from hearth.http1.headers import Headers
from hearth.kube.objects import KubeObject, mapping

CREDENTIALS: Final = frozenset((b"authorization", b"x-api-key", b"api-key"))
"""The fields in which clients send a key: OpenAI's, Anthropic's and Azure's."""

MAX_SERIES: Final = 1000
"""Keys that are counted each for itself: how many there are, tenants decide."""
OTHERS: Final = ("", "", "other")

_NOT_FOR_IT = ", or this API key is not for it; GET /v1/models lists those that it is for"

Fields = dict[bytes, bytes]
"""A request's header fields, each with its first value, by names in lower case."""


class ReadEntry(NamedTuple):
    """An entry of a Secret: its keys by their digests, each with what it is called in metrics; and all those names."""

    keys: dict[bytes, tuple[ApiKey, str]]
    labels: frozenset[str]


ReadSecret = dict[str, ReadEntry]
"""A Secret's entries."""

STEP: Final = 100
"""Keys that one step of taking a Secret handles: about a millisecond, for which streams may wait."""


class KeySource(NamedTuple):
    """An entry of a Secret that holds API keys."""

    namespace: str
    secret: str
    entry: str

    @property
    def at(self) -> tuple[str, str]:
        """Where the Secret stands."""
        return self.namespace, self.secret


class Grant:
    """An API key, in the source that has it, and what it may still do."""

    __slots__ = ("allowance", "key", "source")

    def __init__(self, source: KeySource, key: ApiKey, allowance: Allowance) -> None:
        self.source = source
        self.key = key
        self.allowance = allowance

    def is_for(self, service: ServiceKey) -> bool:
        """Whether its list of models, if it has one, names the LLMService."""
        models = self.key.limits.models
        return models is None or service.name in models or str(service) in models


class Keyring:
    """`everywhere` has the keys of all LLMServices that have none of their own. `on_wanted(at, wanted)` is called when
    a Secret, (namespace, name), begins or ends to matter. `now` is a clock's time: that of the gates."""

    def __init__(self, everywhere: KeySource | None = None) -> None:
        self.counts: dict[tuple[str, str, str], KeyCounts] = {}
        """By the namespace and the name of their Secret, and what the key is called; OTHERS beyond MAX_SERIES."""
        self.now: Callable[[], float] = time.monotonic
        self.on_wanted: Callable[[tuple[str, str], bool], None] = lambda at, wanted: None
        self.locked = everywhere is not None
        """Whether any LLMService needs a key; where none does, nobody has to ask."""
        self._everywhere = everywhere
        self._salt = secrets.token_bytes(32)
        self._own: dict[ServiceKey, KeySource] = {}
        self._keyless: set[ServiceKey] = set()
        self._uses: Counter[KeySource] = Counter()
        self._sources: defaultdict[tuple[str, str], set[KeySource]] = defaultdict(set)  # by their Secret
        self._secrets: dict[tuple[str, str], ReadSecret] = {}  # those that are there
        self._read: dict[KeySource, dict[bytes, Grant]] = {}  # by digest, of those sources that have keys
        self._grants: dict[bytes, list[Grant]] = {}  # by digest
        self._past: dict[
            KeySource, dict[bytes, Allowance]
        ] = {}  # of sources that have no keys just now: what those had
        if everywhere is not None:
            self._use(everywhere)

    @property
    def unreadable(self) -> int:
        """How many sources that somebody names have no key: nobody is let in there."""
        return len(self._uses) - len(self._read)

    @property
    def wanted(self) -> set[tuple[str, str]]:
        """The Secrets that matter."""
        return set(self._sources)

    # what there is

    def put_service(self, service: ServiceKey, own: KeySource | None) -> None:
        """Take an LLMService as it is now."""
        before = self._own.get(service)
        if own is None:
            self._own.pop(service, None)
            self._keyless.add(service)
        else:
            self._own[service] = own
            self._keyless.discard(service)
        self._change(before, own)

    def remove_service(self, service: ServiceKey) -> None:
        """An LLMService is gone."""
        self._keyless.discard(service)
        self._change(self._own.pop(service, None), None)

    def read(self, item: KubeObject) -> ReadSecret:
        """What a Secret holds. It takes as long as there are keys, and may be done in any thread."""
        made: ReadSecret = {}
        for entry, value in mapping(item, "data").items():
            keys = {self._digest(key.secret): (key, key_label(key.name)) for key in read_value(value).keys}
            made[entry] = ReadEntry(keys, frozenset(label for _, label in keys.values()))
        return made

    def put_secret(self, at: tuple[str, str], read: ReadSecret | None) -> None:
        """Take a Secret as it is now; None: it is gone."""
        for _ in self.taking(at, read):
            pass

    def taking(self, at: tuple[str, str], read: ReadSecret | None) -> Iterator[None]:
        """The same in short steps, between which others may ask: a key that goes is refused from its step on, one that
        stays opens what it did all the time."""
        if at not in self._sources:
            return
        self._secrets.pop(at, None)
        if read is not None:
            self._secrets[at] = read
        for source in list(self._sources[at]):
            yield from self._taking(source)
        self._drop_series(at)

    def _change(self, before: KeySource | None, after: KeySource | None) -> None:
        if after != before:
            if after is not None:
                self._use(after)
            if before is not None:
                self._use_no_more(before)
        self.locked = self._everywhere is not None or bool(self._own)

    def _use(self, source: KeySource) -> None:
        self._uses[source] += 1
        if self._uses[source] == 1:
            new = source.at not in self._sources
            self._sources[source.at].add(source)
            self._take(source)
            if new:
                self.on_wanted(source.at, True)

    def _use_no_more(self, source: KeySource) -> None:
        self._uses[source] -= 1
        if self._uses[source]:
            return
        del self._uses[source]
        self._forget(source)
        self._past.pop(source, None)
        self._sources[source.at].discard(source)
        if not self._sources[source.at]:
            del self._sources[source.at]
            self._secrets.pop(source.at, None)
            self._drop_series(source.at)
            self.on_wanted(source.at, False)

    def _taking(self, source: KeySource) -> Iterator[None]:
        """Take a source anew; a key that was there goes on with what it has used."""
        # A Secret that is deleted and made again gives nobody a new minute.
        used = self._past.pop(source, {})
        entry = self._secrets.get(source.at, {}).get(source.entry)
        wanted = entry.keys if entry is not None else {}
        table = self._read.get(source, {})
        if wanted:
            self._read[source] = table
        else:
            self._read.pop(source, None)  # from here on it is closed
            self._past[source] = used | {digest: grant.allowance for digest, grant in table.items()}
        for number, digest in enumerate([digest for digest in table if digest not in wanted]):
            if number % STEP == STEP - 1:
                yield
            if (gone := table.pop(digest, None)) is not None:
                self._drop(digest, gone)
        for number, (digest, (key, label)) in enumerate(wanted.items()):
            if number % STEP == STEP - 1:
                yield
            if self._read.get(source) is not table:
                return  # nobody names it any more
            before = table.get(digest)
            allowance = before.allowance if before is not None else used.get(digest)
            counts = self._counts_of(source, label)
            if allowance is None:
                allowance = Allowance(key.limits, counts, self.now())
            else:
                allowance.relimit(key.limits, self.now())
                allowance.counts = counts  # its name may be another, or its series have gone with the Secret
            table[digest] = grant = Grant(source, key, allowance)
            if before is not None:
                self._drop(digest, before)
            self._grants.setdefault(digest, []).append(grant)

    def _take(self, source: KeySource) -> None:
        for _ in self._taking(source):
            pass
        self._drop_series(source.at)

    def _drop_series(self, at: tuple[str, str]) -> None:
        """Forget the figures of keys that are gone: others need the room."""
        entries = self._secrets.get(at, {})
        live = [entries[source.entry].labels for source in self._sources.get(at, ()) if source.entry in entries]
        gone = [
            series for series in self.counts if series[:2] == at and not any(series[2] in labels for labels in live)
        ]
        for series in gone:
            del self.counts[series]

    def _counts_of(self, source: KeySource, label: str) -> KeyCounts:
        series = (*source.at, label)
        if series not in self.counts and len(self.counts) >= MAX_SERIES:
            series = OTHERS
        return self.counts.setdefault(series, KeyCounts())

    def _forget(self, source: KeySource) -> None:
        for digest, grant in self._read.pop(source, {}).items():
            self._drop(digest, grant)

    def _drop(self, digest: bytes, grant: Grant) -> None:
        left = [other for other in self._grants.pop(digest) if other is not grant]
        if left:
            self._grants[digest] = left

    # who asks

    def presented(self, fields: Fields) -> list[Grant]:
        """What the keys of a request are, in all sources that have them."""
        return [
            grant
            for token in _tokens(fields)
            for grant in self._grants.get(self._digest(token), ())
            if hmac.compare_digest(grant.key.secret, token)
        ]

    def admit(self, service: ServiceKey, fields: Fields, named: str | None = None) -> Grant | None:
        """The key with which a request may ask this LLMService, which it `named` so; None where it needs none. Raises
        ApiError: 401, 404 as for one that is not there, 503 where the keys can't be read."""
        source = self._source(service)
        if source is None:
            return None
        presented = self.presented(fields)
        if source not in self._read and any(_tokens(fields)):
            raise keys_unreadable()
        for grant in presented:
            if grant.source == source and grant.is_for(service):
                return grant
        raise self.nobodys(named or str(service), fields, presented)

    def check_head(self, service: ServiceKey | None, fields: Fields) -> None:
        """Raise ApiError where its head alone says that a request will not be served; `service`: the one that is
        addressed, None where the body names it."""
        if service is not None:
            self.admit(service, fields)
        elif not self._opens_something(fields):
            self._turn_away(fields)

    def nobodys(self, model: str, fields: Fields, presented: list[Grant] | None = None) -> ApiError:
        """What a request for a model is answered that is not there, or not for it: the same, so that nobody learns by
        asking what there is."""
        if not self.locked:
            return model_not_found(model)
        if presented is None:
            presented = self.presented(fields)
        return model_not_found(model, _NOT_FOR_IT) if presented else unauthorized(any(_tokens(fields)))

    def sees(self, fields: Fields) -> Callable[[ServiceKey], bool]:
        """Which LLMServices a request may know of. Raises ApiError where it may know of none."""
        if self.locked and not self._opens_something(fields):
            self._turn_away(fields)
        return self.view(fields)

    def view(self, fields: Fields) -> Callable[[ServiceKey], bool]:
        """Which LLMServices a request may know of, be it none."""
        presented = self.presented(fields) if self.locked else []

        def seen(service: ServiceKey) -> bool:
            source = self._source(service)
            return source is None or any(grant.source == source and grant.is_for(service) for grant in presented)

        return seen

    def without_ours(self, headers: Headers) -> Headers:
        """Header fields without those that have a key of ours, be it for another LLMService and in any line or scheme:
        no engine is told it."""
        if not self.locked:
            return headers
        return [(name, value) for name, value in headers if name not in CREDENTIALS or not self._is_ours(value)]

    def _is_ours(self, value: bytes) -> bool:
        _, _, behind = value.strip().partition(b" ")
        said = [value.strip(), behind.strip()]
        with contextlib.suppress(ValueError):
            said += b64decode(behind, validate=True).split(b":", 1)  # Basic
        return any(self._digest(token) in self._grants for token in said)

    def _opens_something(self, fields: Fields) -> bool:
        return bool(self._everywhere is None and self._keyless) or bool(self.presented(fields))

    def _turn_away(self, fields: Fields) -> None:
        given = any(_tokens(fields))
        if given and self._sources.keys() - self._secrets.keys():
            raise keys_unreadable()  # it may be in one of those that are not there, or not heard of
        raise unauthorized(given)

    def _source(self, service: ServiceKey) -> KeySource | None:
        return self._own.get(service, self._everywhere)

    def _digest(self, token: bytes) -> bytes:
        return blake2b(token, key=self._salt, digest_size=32).digest()


def _tokens(fields: Fields) -> Iterator[bytes]:
    """The keys that a request has. A scheme's name has no case (RFC 9110, 11.1)."""
    scheme, _, token = fields.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer" and 0 < len(token := token.strip()) <= MAX_KEY_BYTES:
        yield token
    if 0 < len(token := fields.get(b"x-api-key", b"").strip()) <= MAX_KEY_BYTES:
        yield token
