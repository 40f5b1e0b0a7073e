"""Fields of a multipart/form-data body (RFC 7578), such as an upload to /v1/audio/transcriptions. Pure."""

import logging
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

# A form that is none is its client's affair, and the engine says so; no line of a log for each.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


@dataclass(slots=True)
class FormField:
    """A field's value, and where it stands in the body."""

    value: bytes
    start: int
    end: int


def form_fields(body: bytes, content_type: bytes, wanted: frozenset[bytes]) -> dict[bytes, FormField]:
    """The wanted fields that are no files; the last one where a name comes twice. Empty for any other body."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind.lower() != b"multipart/form-data" or not boundary:
        return {}
    reader = _Reader(wanted)
    try:
        # What comes after the last boundary is nobody's; a body without one is the engine's to refuse.
        MultipartParser(boundary, reader.callbacks()).write(body)  # type: ignore[arg-type]
    except FormParserError:
        return {}
    return reader.found


class _Reader:
    def __init__(self, wanted: frozenset[bytes]) -> None:
        self.found: dict[bytes, FormField] = {}
        self._wanted = wanted
        self._header = b""
        self._value = b""
        self._name: bytes | None = None

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

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            name = options.get(b"name")
            if name in self._wanted and b"filename" not in options:
                self._name = name
                self.found.pop(name, None)
        self._header = self._value = b""

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._name is None:
            return
        if (field := self.found.get(self._name)) is None:
            self.found[self._name] = FormField(data[start:end], start, end)
        else:
            field.value += data[start:end]
            field.end = end
