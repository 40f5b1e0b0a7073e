"""Fields of a multipart/form-data body (RFC 7578), such as an upload to /v1/audio/transcriptions. Pure."""

import logging
from dataclasses import dataclass
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

# A form that is none is its client's affair, and the engine says so; no line of a log for each.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)

MAX_PARTS: Final = 200
"""Of a form: OpenAI's have a dozen fields, and each costs work before anybody is asked."""
_MAX_VALUE: Final = 4096  # bytes of a part's header, or of a field that is wanted


class TooManyParts(Exception):
    """A form with more parts, or longer ones, than anybody needs."""


@dataclass(slots=True)
class FormField:
    """A field's value, and where it stands in the body."""

    value: bytes
    start: int
    end: int


@dataclass(slots=True)
class Form:
    """`fields`: those that are wanted and no files, the last one where a name comes twice; `names`: of all parts."""

    fields: dict[bytes, FormField]
    names: set[bytes]


def read_form(body: bytes, content_type: bytes, wanted: frozenset[bytes]) -> Form:
    """Empty for any other body. Raises TooManyParts."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind.lower() != b"multipart/form-data" or not boundary:
        return Form({}, set())
    reader = _Reader(wanted)
    try:
        # What comes after the last boundary is nobody's; a body without one is the engine's to refuse.
        MultipartParser(boundary, reader.callbacks()).write(body)  # type: ignore[arg-type]
    except FormParserError:
        return Form({}, set())
    return Form(reader.found, reader.names)


class _Reader:
    def __init__(self, wanted: frozenset[bytes]) -> None:
        self.found: dict[bytes, FormField] = {}
        self.names: set[bytes] = set()
        self._wanted = wanted
        self._header = b""
        self._value = b""
        self._name: bytes | None = None
        self._parts = 0
        self._fields = 0

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._part_data,
        }

    def _part_begin(self) -> None:
        self._name = None
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise TooManyParts(f"The form has more than {MAX_PARTS} parts.")

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._bound(len(self._header) + end - start)
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._bound(len(self._value) + end - start)
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._fields += 1
        if self._fields > 4 * MAX_PARTS:
            raise TooManyParts(f"The form's parts have more than {4 * MAX_PARTS} header fields.")
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            name = options.get(b"name", b"")
            self.names.add(name)
            if name in self._wanted and b"filename" not in options:
                self._name = name
                self.found.pop(name, None)
        self._header = self._value = b""

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._name is None:
            return
        if (field := self.found.get(self._name)) is None:
            self._bound(end - start)
            self.found[self._name] = FormField(data[start:end], start, end)
        else:
            self._bound(len(field.value) + end - start)
            field.value += data[start:end]
            field.end = end

    @staticmethod
    def _bound(size: int) -> None:
        if size > _MAX_VALUE:
            raise TooManyParts(f"A form's field or header is over {_MAX_VALUE} bytes.")
