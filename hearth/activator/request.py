"""A client's request, and what its head and its body say of its way."""

import random
from dataclasses import dataclass, field

from hearth.activator.body import prompt_prefix, read_words, with_model
from hearth.activator.errors import Dialect
from hearth.activator.headers import Headers, first_of_each

# Paths whose successful answer is one JSON document, so that white space may come before it.
# https://platform.openai.com/docs/api-reference ; vLLM's own: rerank, score, classify, pooling, tokenize.
_JSON_ANSWERS = frozenset(
    [
        "chat/completions",
        "completions",
        "embeddings",
        "responses",
        "moderations",
        "messages",
        "rerank",
        "score",
        "classify",
        "pooling",
        "tokenize",
        "detokenize",
    ]
)


@dataclass(slots=True)
class Request:
    """A client's request; `body` is filled as it comes, in pieces.

    `path` is the engine's, still percent-encoded: what routing by path consumed is off. `fields` are the first value of
    each header field.
    """

    method: str
    path: str
    query: bytes
    headers: Headers
    body: list[bytes] = field(default_factory=list)
    length: int = 0
    client: str = ""
    scheme: str = "http"
    request_id: str = ""
    model: str | None = None
    stream: bool = False
    form: bool = False
    fields: dict[bytes, bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.fields = first_of_each(self.headers)
        # An id is to be told apart, not to be secret: no system call for it.
        given = self.request_id or self.fields.get(b"x-request-id", b"").decode("latin-1")[:128]
        self.request_id = given or f"{random.getrandbits(128):032x}"

    @property
    def starts_models(self) -> bool:
        """Whether the request may wake a sleeping model: one that asks for tokens does, a look does not."""
        return self.method == "POST"

    @property
    def answers_json(self) -> bool:
        """Whether a successful answer, when not streamed, is one JSON document."""
        path = self.path.removeprefix("/v1")
        return self.method == "POST" and not self.stream and path.strip("/") in _JSON_ANSWERS

    @property
    def dialect(self) -> Dialect:
        """Whose API it speaks, which decides what heartbeats and errors look like."""
        return dialect_of(self.path)

    def target(self) -> bytes:
        """The request target of the engine's request line."""
        path = self.path.encode()
        return path + b"?" + self.query if self.query else path

    def read_words(self) -> None:
        """Set `model`, `stream` and `form` from the body."""
        if self.method == "POST" and self.body:
            self.model, self.stream, self.form = read_words(self.body, self._content_type)

    def prompt_prefix(self) -> bytes | None:
        """What the prompt begins with; None without one."""
        return prompt_prefix(self.body)

    def rename_model(self, name: str) -> None:
        """Write another `model` into the body. Raises ApiError."""
        renamed = with_model(self.body, self._content_type, name, form=self.form)
        self.body, self.length = [renamed], len(renamed)

    @property
    def _content_type(self) -> bytes:
        return self.fields.get(b"content-type", b"")


def dialect_of(path: str) -> Dialect:
    return "anthropic" if path.endswith("/v1/messages") else "openai"
