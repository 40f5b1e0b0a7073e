"""What a request's body says of its way: the words `model` and `stream`, and what its prompt begins with. Pure.

One reader for what the engine reads too: what the body is decides, not its content-type (`curl -d` calls everything a
form), and what two readers could take for two things is refused or made one. It is looked into once.
"""

import codecs
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from typing import Any, Final, NamedTuple

import msgspec
import zstandard

from hearth.activator.errors import bad_request, too_many_fields, unsupported_encoding
from hearth.activator.multipart import TooManyParts, read_form

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

    model: msgspec.Raw = msgspec.Raw()
    stream: msgspec.Raw = msgspec.Raw()
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
    # Of forms, where an engine takes a document in their place.
    file: msgspec.Raw = msgspec.Raw()
    image: msgspec.Raw = msgspec.Raw()
    # vLLM's `bytes` and `bytes_only` are answered with an octet stream.
    encoding_format: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Fields).decode
_decode_messages = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_word = msgspec.json.Decoder().decode
_decode_all = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Words(NamedTuple):
    """`form`: the body is a form, with its fields in parts. `asks`: whether it has a field that asks something.
    `binary`: it asks for bytes, as embeddings can be had. `no_name`: what there is where `model` should be a name."""

    model: str | None = None
    stream: bool = False
    form: bool = False
    asks: bool = True
    binary: bool = False
    no_name: str = ""
    fields: Any = None  # what `prompt_prefix` looks at; it holds the whole body


_MAX_WORD: Final = 1024  # bytes of `model` as they stand in a body
_MAX_CONVERSATION: Final = 256 * 1024  # bytes of messages up to which the first two are looked for
_MAX_TRANSCODED: Final = 2**20
_MAX_FIELDS: Final = 50_000  # in a body whose model is renamed: each costs an object

_NOTHING: Final = frozenset((b"", b"null", b"false", b"[]", b"{}", b'""'))
_BLANK_BYTES: Final = 256  # of a value that are looked at whether there is anything in it


def read_words(body: bytes, content_type: bytes = b"", *, form: bool = False, needs: Sequence[str] = ()) -> Words:
    """Of a JSON document or, where `form` may be, of a form; `needs`: it asks something with one of these fields.

    Raises ApiError 400 for a body that is neither, or that is no object.
    """
    if form and content_type.lower().startswith(b"multipart/form-data"):
        return _form_words(body, content_type, needs)
    try:
        fields = _decode(body)
        model, stream = _word(fields.model), _word(fields.stream)
    except _UNREADABLE as error:
        raise bad_request(_unreadable(error, body)) from None
    return Words(
        model if isinstance(model, str) else None,
        stream is True or (stream is not False and stream is not None and _is_true(stream)),
        False,
        not needs or _asks(fields, needs),
        bytes(memoryview(fields.encoding_format)[:6]) == b'"bytes',
        _no_name(fields.model, model),
        fields,
    )


def _is_true(word: Any) -> bool:
    return word == 1 or str(word).lower() in _TRUE


def _asks(fields: _Fields, needs: Sequence[str]) -> bool:
    for name in needs:
        value = memoryview(getattr(fields, name, b""))  # what only a form can have, no document has
        if len(value) > _BLANK_BYTES:
            return True
        if bytes(value).translate(None, b" \t\r\n") not in _NOTHING:
            return True
    return False


_LONG: Final = f"a string of more than {_MAX_WORD} bytes"
_KINDS: Final = {"{": "an object", "[": "a list", '"': _LONG, "t": "true", "f": "false"}
_NO_PART: Final = "no part of a form (its content-type must name the boundary that the body begins with)"


def _no_name(raw: msgspec.Raw, model: object) -> str:
    begin = bytes(memoryview(raw)[:1]).decode("ascii", "replace") if raw else ""
    return "" if isinstance(model, str) or begin in ("", "n") else _KINDS.get(begin, "a number")


def _word(raw: msgspec.Raw) -> Any:
    """A value that a word can be; None for one that is longer than any name, whatever it is."""
    return _decode_word(raw) if raw and len(memoryview(raw)) <= _MAX_WORD else None


def _form_words(body: bytes, content_type: bytes, needs: Sequence[str]) -> Words:
    try:
        form = read_form(body, content_type, _FORM_FIELDS)
    except TooManyParts as error:
        raise bad_request(str(error)) from None
    model, stream = form.fields.get(b"model"), form.fields.get(b"stream")
    return Words(
        model.value.decode(errors="replace") if model is not None else None,
        stream is not None and stream.value.decode("latin-1").lower() in _TRUE,
        form=True,
        asks=not needs or any(name.encode() in form.names for name in needs),
        no_name="" if form.names else _NO_PART,
    )


_CUT: Final = "Input data was truncated"  # msgspec's words, of what ends too soon, and of half a pair at a string's end


def _unreadable(error: Exception, body: bytes) -> str:
    if isinstance(error, RecursionError):
        return "The request's body is nested too deeply."
    reason = str(error) if isinstance(error, msgspec.DecodeError) else "it is not UTF-8"
    if reason == _CUT and body.rstrip().endswith(b"}"):
        reason = "a string has half of a surrogate pair, \\ud800 to \\udbff without its other half"
    return f"The request's body is not a JSON object: {reason}."


def prompt_prefix(words: Words) -> bytes | None:
    """What the prompt begins with, as the client wrote it; None where the body has no prompt that is known here."""
    fields = words.fields
    if not isinstance(fields, _Fields):
        return None
    messages = [fields.messages]
    if len(memoryview(fields.messages)) <= _MAX_CONVERSATION:
        try:
            messages = _decode_messages(fields.messages) if fields.messages else []
        except _UNREADABLE:
            messages = []
    parts = [fields.system, *messages[:_PREFIX_MESSAGES], fields.prompt, fields.instructions, fields.input]
    return b"".join(_begin(part, PREFIX_BYTES) for part in parts)[:PREFIX_BYTES] or None


def _begin(part: msgspec.Raw, size: int) -> bytes:
    return bytes(memoryview(part)[:size])


def with_model(body: bytes, content_type: bytes, name: str, *, form: bool) -> bytes:
    """The body with another `model`, everything else as the client wrote it. Raises ApiError for one that turns out to
    be no JSON in a part that `read_words` skipped over."""
    if form:
        field = read_form(body, content_type, _FORM_FIELDS).fields[b"model"]
        return body[: field.start] + name.encode() + body[field.end :]
    if body.count(b'":') > _MAX_FIELDS:
        raise too_many_fields(name)
    try:
        values = _decode_all(body)
    except _UNREADABLE as error:
        raise bad_request(_unreadable(error, body)) from None
    values["model"] = msgspec.Raw(msgspec.json.encode(name))
    return msgspec.json.encode(values)


def in_utf8(body: bytes) -> bytes | None:
    """A JSON text in UTF-8, where it is written otherwise or begins with a byte order mark; None where it is as it
    should be (RFC 8259, 8.1). Raises ApiError 400 for one that is not what its beginning says, or is longer than can be
    changed while others' tokens go on."""
    if len(body) > 1 and 0 < body[0] < 0x80 and body[1]:
        return None  # neither a mark nor a zero: as it mostly is
    begin = body[:4]
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
    if encoding == "utf-8":
        return body.removeprefix(codecs.BOM_UTF8)
    if len(body) > _MAX_TRANSCODED:
        raise bad_request(f"The request's body is {encoding}; one of more than {_MAX_TRANSCODED} bytes must be UTF-8.")
    try:
        text = codecs.decode(body, encoding).removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise bad_request(f"The request's body begins as {encoding} and is not.") from None
    return text.encode()


_ZSTD_WINDOW: Final = 2**25  # bytes of memory that a body may ask of its reader; common levels ask for 2 to 8 MiB
_STEP: Final = 256 * 1024  # bytes that one step gives at most
_SLICE: Final = 64 * 1024  # bytes that one step takes at most


def decoding(body: bytes, coding: bytes) -> Callable[[], bytes]:
    """What takes the content coding off a body (RFC 9110, 8.4), one of gzip, deflate and zstd: each call gives the next
    bytes of it, b"" at its end.

    A call works for about a millisecond, without Python's lock: call it off the event loop, and count what comes.
    Raises ApiError: 415 for another coding; the calls 400 for a body that is not what it says.
    """
    name = coding.strip().lower().decode("latin-1")
    if name in {"gzip", "x-gzip"}:
        read = _Inflating(body, zlib.MAX_WBITS | 16).read
    elif name == "deflate":
        read = _Inflating(body, zlib.MAX_WBITS).read
    elif name == "zstd":
        # A frame that is cut short ends early here. What it holds is no whole JSON then, and refused as that.
        machine = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        read = partial(machine.stream_reader(BytesIO(body)).read, _STEP)
    else:
        raise unsupported_encoding(name)

    def step() -> bytes:
        try:
            return read()
        except (zlib.error, zstandard.ZstdError, EOFError):
            raise bad_request(f"The request's body is not in its content-encoding, {name}.") from None

    return step


class _Inflating:
    def __init__(self, body: bytes, window_bits: int) -> None:
        self._body = memoryview(body)
        self._machine = zlib.decompressobj(window_bits)

    def read(self) -> bytes:
        machine = self._machine
        while not machine.eof:
            taken = machine.unconsumed_tail
            if not taken:
                taken, self._body = bytes(self._body[:_SLICE]), self._body[_SLICE:]
                if not taken:
                    raise EOFError  # cut short
            if given := machine.decompress(taken, _STEP):
                return given
        if machine.unused_data or self._body:
            raise EOFError  # something behind it, which an engine might read otherwise
        return b""
