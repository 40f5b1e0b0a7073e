"""A body while it comes: its parts as they were read, joined once when it is whole. Pure."""

from typing import Final

_SMALL: Final = 4 * 1024
"""Bytes up to which a part is copied: an object for each chunk of a few bytes would be more than they are."""


class Gathering:
    """`size` is what has come, in bytes."""

    __slots__ = ("_parts", "_small", "size")

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[bytes] = []
        self._small = bytearray()

    def add(self, part: bytes) -> None:
        """Take what comes next."""
        if not self.size and part:  # a short body is mostly this one
            self._parts.append(part)
        elif len(part) < _SMALL:
            self._small += part
        else:
            self._seal()
            self._parts.append(part)
        self.size += len(part)

    def whole(self) -> bytes:
        """The body, which is over; the next one may come."""
        self._seal()
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self.clear()
        return body

    def clear(self) -> None:
        """Drop what has come."""
        if self.size:
            self.size = 0
            self._parts = []
            if self._small:
                self._small = bytearray()

    def _seal(self) -> None:
        if self._small:
            self._parts.append(bytes(self._small))
            self._small = bytearray()
