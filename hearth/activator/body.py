"""What a request's body says of its way: the words `model` and `stream`, and what its prompt begins with. Pure.

What the body is decides, not its content-type: `curl -d` calls everything a form.
"""

from typing import Any, NamedTuple

import msgspec

from hearth.activator.errors import bad_request
from hearth.activator.multipart import form_fields

PREFIX_BYTES = 2048
"""Of a prompt that tell who shares an engine's prefix cache: a few hundred tokens."""
_PREFIX_MESSAGES = 2  # the system prompt and the first question: they stay when a conversation grows

_FORM_FIELDS = frozenset((b"model", b"stream"))


class Words(NamedTuple):
    """`form`: the body is a form, with its fields in parts."""

    model: str | None = None
    stream: bool = False
    form: bool = False


class _Words(msgspec.Struct):
    """Only these fields of a body are decoded; the rest is skipped over."""

    model: Any = None
    stream: Any = None


class _Prompt(msgspec.Struct):
    """Where OpenAI's and Anthropic's APIs have the prompt: chat, completions, responses, messages."""

    system: msgspec.Raw = msgspec.Raw()
    messages: list[msgspec.Raw] = []
    prompt: msgspec.Raw = msgspec.Raw()
    instructions: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()


_decode_words = msgspec.json.Decoder(_Words).decode
_decode_prompt = msgspec.json.Decoder(_Prompt).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

_NO_WORDS = Words()


def read_words(body: list[bytes], content_type: bytes) -> Words:
    """Of a JSON document or of a form, given in pieces; a body that is neither says nothing."""
    begins = next(filter(None, (piece.lstrip() for piece in body)), b"")
    if begins.startswith(b"{"):
        try:
            words = _decode_words(_whole(body))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _NO_WORDS
        return Words(words.model if isinstance(words.model, str) else None, words.stream is True)
    if not content_type.lower().startswith(b"multipart/form-data"):
        return _NO_WORDS
    fields = form_fields(_whole(body), content_type, _FORM_FIELDS)
    model, stream = fields.get(b"model"), fields.get(b"stream")
    return Words(
        model.value.decode(errors="replace") if model is not None else None,
        stream is not None and stream.value.lower() == b"true",
        form=True,
    )


def prompt_prefix(body: list[bytes]) -> bytes | None:
    """What the prompt begins with, as the client wrote it; None where the body has no prompt that is known here."""
    try:
        prompt = _decode_prompt(_whole(body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    parts = [prompt.system, *prompt.messages[:_PREFIX_MESSAGES], prompt.prompt, prompt.instructions, prompt.input]
    return b"".join(map(bytes, parts))[:PREFIX_BYTES] or None


def with_model(body: list[bytes], content_type: bytes, name: str, *, form: bool) -> bytes:
    """The body with another `model`, everything else as the client wrote it. Raises ApiError for one that turns out to
    be no JSON in a part that `read_words` skipped over."""
    whole = _whole(body)
    if form:
        field = form_fields(whole, content_type, _FORM_FIELDS)[b"model"]
        return whole[: field.start] + name.encode() + whole[field.end :]
    try:
        values = _decode_fields(whole)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise bad_request("The request's body is not valid JSON.") from None
    values["model"] = msgspec.Raw(msgspec.json.encode(name))
    return msgspec.json.encode(values)


def _whole(body: list[bytes]) -> bytes:
    return body[0] if len(body) == 1 else b"".join(body)
