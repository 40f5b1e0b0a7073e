"""What a request's body says of its way: the words `model` and `stream`, and what its prompt begins with. Pure.

One reader for what the engine reads too: what the body is decides, not its content-type (`curl -d` calls everything a
form), and what two readers could take for two things is refused or made one. It is looked into once.
"""

import codecs
import zlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import zstandard

from hearth.activator.errors import bad_request, body_too_large, unsupported_encoding
from hearth.activator.multipart import TooManyParts, form_fields

PREFIX_BYTES = 2048
"""Of a prompt that tell who shares an engine's prefix cache: a few hundred tokens."""
_PREFIX_MESSAGES = 2  # the system prompt and the first question: they stay when a conversation grows

_FORM_FIELDS = frozenset((b"model", b"stream"))

# What engines take for true: pydantic's rule, https://docs.pydantic.dev/latest/api/standard_library_types/#booleans
_TRUE = frozenset(("1", "on", "t", "true", "y", "yes"))

_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class _Fields(msgspec.Struct):
    """Only these fields of a body are decoded, or noted as they stand; the rest is skipped over."""

    model: Any = None
    stream: Any = None
    # Where OpenAI's and Anthropic's APIs have the prompt: chat, completions, responses, messages.
    system: msgspec.Raw = msgspec.Raw()
    messages: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()
    instructions: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()
    # What else a request may ask about: embeddings, rerank, score, tokenize.
    prompt_embeds: msgspec.Raw = msgspec.Raw()
    query: msgspec.Raw = msgspec.Raw()
    queries: msgspec.Raw = msgspec.Raw()
    documents: msgspec.Raw = msgspec.Raw()
    text_1: msgspec.Raw = msgspec.Raw()
    data_1: msgspec.Raw = msgspec.Raw()
    tokens: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Fields).decode
_decode_messages = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_all = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Words(NamedTuple):
    """`form`: the body is a form, with its fields in parts. `asks`: whether it has a field that asks something."""

    model: str | None = None
    stream: bool = False
    form: bool = False
    asks: bool = True
    prefix: bytes | None = None


_NOTHING: Final = frozenset((b"", b"null", b"[]", b"{}", b'""'))


def read_words(
    body: bytearray, content_type: bytes, *, form: bool = False, prefix: bool = False, needs: Sequence[str] = ()
) -> Words:
    """Of a JSON document or, where `form` may be, of a form; `prefix`: what the prompt begins with is wanted too;
    `needs`: it asks something with one of these fields.

    Raises ApiError 400 for a body that is neither, or that is no object.
    """
    if form and content_type.lower().startswith(b"multipart/form-data"):
        return _form_words(body, content_type)
    try:
        fields = _decode(body)
    except _UNREADABLE as error:
        raise bad_request(_unreadable(error)) from None
    return Words(
        fields.model if isinstance(fields.model, str) else None,
        fields.stream is True or fields.stream == 1 or str(fields.stream).lower() in _TRUE,
        asks=not needs or any(_begin(getattr(fields, name), 5) not in _NOTHING for name in needs),
        prefix=_prefix(fields) if prefix else None,
    )


def _form_words(body: bytearray, content_type: bytes) -> Words:
    try:
        fields = form_fields(bytes(body), content_type, _FORM_FIELDS)
    except TooManyParts as error:
        raise bad_request(str(error)) from None
    model, stream = fields.get(b"model"), fields.get(b"stream")
    return Words(
        model.value.decode(errors="replace") if model is not None else None,
        stream is not None and stream.value.decode("latin-1").lower() in _TRUE,
        form=True,
    )


def _unreadable(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "The request's body is nested too deeply."
    reason = str(error) if isinstance(error, msgspec.DecodeError) else "it is not UTF-8"
    return f"The request's body is not a JSON object: {reason}."


def _prefix(fields: _Fields) -> bytes | None:
    """What the prompt begins with, as the client wrote it; None where the body has no prompt that is known here."""
    try:
        messages = _decode_messages(fields.messages) if fields.messages else []
    except _UNREADABLE:
        messages = []
    parts = [fields.system, *messages[:_PREFIX_MESSAGES], fields.prompt, fields.instructions, fields.input]
    return b"".join(_begin(part, PREFIX_BYTES) for part in parts)[:PREFIX_BYTES] or None


def _begin(part: msgspec.Raw, size: int) -> bytes:
    return bytes(memoryview(part)[:size])


def with_model(body: bytearray, content_type: bytes, name: str, *, form: bool) -> bytearray:
    """The body with another `model`, everything else as the client wrote it. Raises ApiError for one that turns out to
    be no JSON in a part that `read_words` skipped over."""
    if form:
        field = form_fields(bytes(body), content_type, _FORM_FIELDS)[b"model"]
        return body[: field.start] + name.encode() + body[field.end :]
    try:
        values = _decode_all(body)
    except _UNREADABLE as error:
        raise bad_request(_unreadable(error)) from None
    values["model"] = msgspec.Raw(msgspec.json.encode(name))
    return bytearray(msgspec.json.encode(values))


def in_utf8(body: bytearray) -> bytearray | None:
    """A JSON text in UTF-8, where it is written otherwise or begins with a byte order mark; None where it is as it
    should be (RFC 8259, 8.1). Raises ApiError 400 for one that is not what its beginning says."""
    begin = bytes(body[:4])
    encoding = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if begin.startswith(mark)), None)
    if encoding is None:
        # Without a mark the zeros tell, since the first two characters of JSON are ASCII (RFC 4627, 3).
        match [byte == 0 for byte in begin]:
            case [True, True, True, False]:
                encoding = "utf-32-be"
            case [True, False, *_]:
                encoding = "utf-16-be"
            case [False, True, True, True]:
                encoding = "utf-32-le"
            case [False, True, *_]:
                encoding = "utf-16-le"
            case _:
                return None
    try:
        text = codecs.decode(bytes(body), encoding).removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise bad_request(f"The request's body begins as {encoding} and is not.") from None
    return bytearray(text.encode())


_ZSTD_WINDOW: Final = 2**25  # bytes of memory that a body may ask of its reader; common levels ask for 2 to 8 MiB


def decoded(body: bytearray, coding: bytes, limit: int) -> bytearray:
    """The body without its content coding (RFC 9110, 8.4): gzip, deflate or zstd, one of them.

    Takes as long as the body is large: call it off the event loop. Raises ApiError: 415 for another coding, 400 for a
    body that is not what it says, 413 for one that is over `limit` bytes.
    """
    name = coding.strip().lower().decode("latin-1")
    try:
        if name in {"gzip", "x-gzip"}:
            whole = _inflated(body, zlib.MAX_WBITS | 16, limit)
        elif name == "deflate":
            whole = _inflated(body, zlib.MAX_WBITS, limit)
        elif name == "zstd":
            whole = _unfolded(bytes(body), limit)
        else:
            raise unsupported_encoding(name)
    except (zlib.error, zstandard.ZstdError, EOFError):
        raise bad_request(f"The request's body is not in its content-encoding, {name}.") from None
    if len(whole) > limit:
        raise body_too_large(limit)
    return whole


def _inflated(body: bytearray, window_bits: int, limit: int) -> bytearray:
    machine = zlib.decompressobj(window_bits)
    whole = bytearray(machine.decompress(body, limit + 1))
    if len(whole) <= limit and (not machine.eof or machine.unused_data):
        raise EOFError  # cut short, or something behind it that an engine might read otherwise
    return whole


def _unfolded(body: bytes, limit: int) -> bytearray:
    machine = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    # A reader can be told where to stop, but not whether the frame was whole; a decompressor tells that.
    with machine.stream_reader(body) as reader:
        whole = bytearray(reader.read(limit + 1))
    if len(whole) <= limit:
        again = machine.decompressobj()
        again.decompress(body)
        if not again.eof or again.unused_data:
            raise EOFError
    return whole
