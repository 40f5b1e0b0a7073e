"""What the activator reads of a request: its head, its body, and the two words in the body that decide its way."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from hearth.activator.errors import body_too_large
from hearth.activator.headers import Headers, get

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


class ClientGone(Exception):
    """The client closed its connection while its body was read."""


class _Words(msgspec.Struct):
    """Only these fields of a body are decoded; the rest is skipped over."""

    model: Any = None
    stream: Any = None


_decode_words = msgspec.json.Decoder(_Words).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(slots=True)
class Request:
    """A client's request, its body whole.

    `path` is the engine's, still percent-encoded: what routing by path consumed is off.
    """

    method: str
    path: str
    query: bytes
    headers: Headers
    body: list[bytes]
    length: int
    client: str
    scheme: str
    request_id: str
    model: str | None = None
    stream: bool = False

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
    def chat(self) -> bool:
        return self.path.endswith("/chat/completions")

    def target(self) -> bytes:
        """The request target of the engine's request line."""
        path = self.path.encode()
        return path + b"?" + self.query if self.query else path

    def read_words(self) -> None:
        """Set `model` and `stream` from a JSON body; a body that is none leaves them as they are.

        What the body is decides, not its content-type: `curl -d` calls everything a form.
        """
        if self.method != "POST" or not self.body or not self.body[0].lstrip().startswith(b"{"):
            return
        try:
            words = _decode_words(b"".join(self.body))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if isinstance(words.model, str):
            self.model = words.model
        self.stream = words.stream is True

    def rename_model(self, name: str) -> None:
        """Write another `model` into the JSON body, every other field as the client wrote it."""
        values = _decode_fields(b"".join(self.body))
        values["model"] = msgspec.Raw(msgspec.json.encode(name))
        self.body = [msgspec.json.encode(values)]
        self.length = len(self.body[0])


async def read_body(receive: Callable[[], Awaitable[Any]], headers: Headers, limit: int) -> tuple[list[bytes], int]:
    """The body's pieces and their length. Raises ApiError 413 over `limit` bytes, ClientGone."""
    announced = get(headers, b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > limit:
        raise body_too_large(limit)
    pieces: list[bytes] = []
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        if piece := message.get("body"):
            pieces.append(piece)
            length += len(piece)
            if length > limit:
                raise body_too_large(limit)
        if not message.get("more_body"):
            return pieces, length
