"""The chunked transfer coding (RFC 9112, 7.1), as far as whole chunks are passed on without a parser. Pure."""

from typing import Final

_SIZE_DIGITS: Final = 4  # what larger chunks cost is their bytes


def size_of_chunks(data: bytes) -> int:
    """The size of the data in whole chunks (RFC 9112, 7.1) with nothing behind them; 0 for anything else, also for the
    last chunk of a body, and for chunks that are larger, or written in a rarer way, than those of event streams.

    Byte by byte, which compiled is several times as fast as searching and cutting.
    """
    at, total, length = 0, 0, len(data)
    while at < length:
        size, digits_end = 0, at + _SIZE_DIGITS
        while at < length and at < digits_end:
            byte = data[at]
            if 0x30 <= byte <= 0x39:  # 0 to 9
                size = size * 16 + byte - 0x30
            elif 0x61 <= byte <= 0x66:  # a to f
                size = size * 16 + byte - 0x57
            else:
                break
            at += 1
        end = at + size + 4
        if size == 0 or end > length or data[at] != 0x0D or data[at + 1] != 0x0A:
            return 0
        if data[end - 2] != 0x0D or data[end - 1] != 0x0A:
            return 0
        at = end
        total += size
    return total


def chunks_data(raw: bytes) -> bytes:
    """The data in what `size_of_chunks` has found to be whole chunks."""
    at, parts = 0, []
    while at < len(raw):
        end = raw.index(b"\r\n", at)
        at = end + int(raw[at:end], 16) + 4
        parts.append(raw[end + 2 : at - 2])
    return b"".join(parts)


def chunk(data: bytes) -> bytes:
    """These bytes, of which there is at least one, as a chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)
