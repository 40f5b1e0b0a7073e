"""What the activator reads of a request: its head, its body, and the two words in the body that decide its way."""

import random
from dataclasses import dataclass, field
from typing import Any

import msgspec

from hearth.activator.errors import Dialect, bad_request
from hearth.activator.headers import Headers, first_of_each
from hearth.activator.multipart import form_fields

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


class _Words(msgspec.Struct):
    """Only these fields of a body are decoded; the rest is skipped over."""

    model: Any = None
    stream: Any = None


PREFIX_BYTES = 2048
"""Of a prompt that tell who shares an engine's prefix cache: a few hundred tokens."""
_PREFIX_MESSAGES = 2  # the system prompt and the first question: they stay when a conversation grows


class _Prompt(msgspec.Struct):
    """Where OpenAI's and Anthropic's APIs have the prompt: chat, completions, responses, messages."""

    system: msgspec.Raw = msgspec.Raw()
    messages: list[msgspec.Raw] = []
    prompt: msgspec.Raw = msgspec.Raw()
    instructions: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()


_decode_prompt = msgspec.json.Decoder(_Prompt).decode

_FORM_FIELDS = frozenset((b"model", b"stream"))

_decode_words = msgspec.json.Decoder(_Words).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


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

    @property
    def chat(self) -> bool:
        return self.path.endswith("/chat/completions")

    def target(self) -> bytes:
        """The request target of the engine's request line."""
        path = self.path.encode()
        return path + b"?" + self.query if self.query else path

    def read_words(self) -> None:
        """Set `model`, `stream` and `form` from a JSON body or a form; one that is neither leaves them as they are.

        What the body is decides, not its content-type: `curl -d` calls everything a form.
        """
        if self.method != "POST" or not self.body:
            return
        first = self.body[0]
        if first.startswith(b"{") or first.lstrip().startswith(b"{"):
            try:
                words = _decode_words(b"".join(self.body))
            except (msgspec.DecodeError, UnicodeDecodeError):
                return
            if isinstance(words.model, str):
                self.model = words.model
            self.stream = words.stream is True
        elif self._form_type is not None:
            self.form = True
            fields = form_fields(b"".join(self.body), self._form_type, _FORM_FIELDS)
            if b"model" in fields:
                self.model = fields[b"model"].value.decode(errors="replace")
            self.stream = b"stream" in fields and fields[b"stream"].value.lower() == b"true"

    def prompt_prefix(self) -> bytes | None:
        """What the prompt begins with, as the client wrote it; None where the body has no prompt that is known here."""
        try:
            prompt = _decode_prompt(b"".join(self.body))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        parts = [prompt.system, *prompt.messages[:_PREFIX_MESSAGES], prompt.prompt, prompt.instructions, prompt.input]
        return b"".join(map(bytes, parts))[:PREFIX_BYTES] or None

    def rename_model(self, name: str) -> None:
        """Write another `model` into the body, everything else as the client wrote it. Raises ApiError for a body that
        turns out to be no JSON in a part that `read_words` skipped over."""
        whole = b"".join(self.body)
        if self.form:
            assert self._form_type is not None
            field = form_fields(whole, self._form_type, _FORM_FIELDS)[b"model"]
            self.body = [whole[: field.start] + name.encode() + whole[field.end :]]
        else:
            try:
                values = _decode_fields(whole)
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise bad_request("The request's body is not valid JSON.") from None
            values["model"] = msgspec.Raw(msgspec.json.encode(name))
            self.body = [msgspec.json.encode(values)]
        self.length = len(self.body[0])

    @property
    def _form_type(self) -> bytes | None:
        """The content-type of a multipart body."""
        content_type = self.fields.get(b"content-type", b"")
        return content_type if content_type.lower().startswith(b"multipart/form-data") else None


def dialect_of(path: str) -> Dialect:
    return "anthropic" if path.endswith("/v1/messages") else "openai"
