"""A request for an LLMService: the client's request, and what its path and its body say of its way."""

import random
from typing import Final

from hearth.activator.body import Words, in_utf8, read_words, with_model
from hearth.activator.errors import ApiError
from hearth.activator.keyring import Grant
from hearth.activator.lane.skim import skim
from hearth.activator.lane.tokens import TokenUsage, guessed
from hearth.activator.paths import Dialect, Path
from hearth.http1.headers import Headers
from hearth.http1.message import Request

_MAX_ID: Final = 1024  # bytes of a client's own request id; a longer one is another header field to us


def given_id(request: Request) -> bytes:
    """What a client calls its request; empty where it does not."""
    given = request.fields.get(b"x-request-id", b"")
    return given if len(given) <= _MAX_ID else b""


def new_id() -> str:
    """An id is to be told apart, not to be secret: no system call for it."""
    return f"{random.getrandbits(128):032x}"


ID_NAMES: Final = (b"x-request-id", b"request-id")


def id_fields(request_id: bytes, dialect: Dialect) -> Headers:
    """What an answer says of its request's id: to Anthropic's SDKs by the name that they read, too.
    https://docs.anthropic.com/en/api/errors#request-id"""
    fields = [(b"x-request-id", request_id)]
    return [*fields, (b"request-id", request_id)] if dialect == "anthropic" else fields


class Inference:
    """`path` is the engine's, still percent-encoded; `prefix` is what routing by path consumed in front of it."""

    __slots__ = (
        *(
            "asks",
            "binary",
            "form",
            "given_id",
            "grant",
            "known",
            "model",
            "path",
            "prefix",
            "prompt",
            "request",
            "request_id",
        ),
        *("no_name", "stream", "usage"),
    )

    def __init__(self, request: Request, path: str, prefix: str, known: Path) -> None:
        self.request = request
        self.path = path
        self.prefix = prefix
        self.known = known
        self.model: str | None = None
        self.stream = False
        self.form = False
        self.no_name = ""  # what its body has where `model` should be a name
        self.binary = False  # whether it asks for bytes in place of a document
        self.asks = True  # whether its body has what its path asks about
        self.prompt: bytes | None = None
        self.grant: Grant | None = None  # the API key that lets it in, where it needs one
        self.usage: TokenUsage | None = None  # what its answer says of tokens, where somebody counts them
        self.given_id = given_id(request)
        self.request_id = self.given_id.decode("latin-1") or new_id()

    @property
    def method(self) -> str:
        return self.request.method

    @property
    def starts_models(self) -> bool:
        """Whether the request may wake a sleeping model: one that asks for tokens does, a look does not."""
        return self.request.method == "POST" and self.known.wakes

    @property
    def is_demand(self) -> bool:
        """Whether it counts for the replicas that a model gets: what could not have woken one keeps none awake."""
        return self.asks and self.starts_models

    @property
    def answers_json(self) -> bool:
        """Whether a successful answer, when not streamed, is one JSON document."""
        return self.known.document and not (self.stream or self.binary) and self.request.method == "POST"

    @property
    def dialect(self) -> Dialect:
        """Whose API it speaks, which decides what heartbeats and errors look like."""
        return self.known.dialect

    def count_tokens(self) -> None:
        """A replica gets the request: from now on its key pays for it, where there is one and tokens are made."""
        if self.grant is None or not self.known.tokens or self.request.method != "POST":
            return
        if self.usage is None:
            body = self.request.body
            self.usage = TokenUsage(0 if self.form else guessed(body), len(body))
        else:
            self.usage.again()

    def target(self) -> bytes:
        """The request target of the engine's request line."""
        path = self.path.encode("latin-1")
        return path + b"?" + self.request.query if self.request.query else path

    def read_words(self) -> Words:
        """Set what the body says, and return it: not to be kept, since it holds the body. Raises ApiError."""
        request = self.request
        known = self.known
        if request.method != "POST":
            return Words()
        if not request.body:
            self.asks = False
            return Words()
        if not known.form and (body := in_utf8(request.body)) is not None:
            request.body = body
        words = self._words(request.body)
        self.model, self.form, self.asks, self.binary = words.model, words.form, words.asks, words.binary
        self.no_name = words.no_name
        self.stream = words.stream and known.streams
        return words

    def _words(self, body: bytes) -> Words:
        known = self.known
        if known.form:
            return read_words(body, self._content_type, form=True, needs=known.needs)
        text = skim(body)
        try:
            return read_words(text, needs=known.needs)
        except ApiError:
            if text is body:
                raise
            return read_words(body, needs=known.needs)  # whose error says where in the body it is

    def rename_model(self, name: str) -> None:
        """Write another `model` into the body. Raises ApiError."""
        self.request.body = with_model(self.request.body, self._content_type, name, form=self.form)

    @property
    def _content_type(self) -> bytes:
        return self.request.fields.get(b"content-type", b"")
