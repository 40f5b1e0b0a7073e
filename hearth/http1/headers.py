"""Header fields between a client and an upstream server: what is passed on, in both directions.

RFC 9110, 7.6.1: fields of one connection are not forwarded, nor are those that its Connection field names.
"""

Headers = list[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade".split()
)
# What a proxy says itself towards the upstream server. No accept-encoding: it may have opened the response before, and
# what it wrote itself is not compressed.
_REPLACED = _HOP_BY_HOP | frozenset(
    b"host content-length expect accept-encoding "
    b"x-forwarded-for x-forwarded-host x-forwarded-proto x-request-id".split()
)


def get(headers: Headers, name: bytes) -> bytes | None:
    """The first value of a field; names are lower case."""
    for field, value in headers:
        if field == name:
            return value
    return None


def first_of_each(headers: Headers) -> dict[bytes, bytes]:
    """Each field's first value, by its name in lower case."""
    return dict(reversed(headers))


def end_to_end(headers: Headers, dropped: frozenset[bytes] = _HOP_BY_HOP) -> Headers:
    """The fields that are not about one connection, without those that are `dropped` beside."""
    for field, value in headers:
        if field == b"connection":
            named = frozenset(token.strip().lower() for token in value.split(b","))
            if not named <= dropped:
                dropped |= named
    return [header for header in headers if header[0] not in dropped]


def add_fields(words: list[bytes], headers: Headers) -> None:
    """Add field lines to what will be joined to a head: several times as fast as to format each."""
    for name, value in headers:
        words.append(name)
        words.append(b": ")
        words.append(value)
        words.append(b"\r\n")


def for_upstream(
    headers: Headers, host: str, body_length: int | None, client: str, scheme: str, request_id: str
) -> Headers:
    """The fields of the request to the upstream server at `host`, from those of the client's. `body_length` is None
    where there is no body and none is expected (RFC 9110, 8.6)."""
    fields = first_of_each(headers)
    forwarded = client.encode()
    if b"x-forwarded-for" in fields:
        forwarded = b", ".join([value for field, value in headers if field == b"x-forwarded-for"] + [forwarded])
    made = [
        (b"host", host.encode()),
        *end_to_end(headers, _REPLACED),
        (b"x-forwarded-for", forwarded),
        (b"x-forwarded-host", fields.get(b"x-forwarded-host") or fields.get(b"host", b"")),
        (b"x-forwarded-proto", fields.get(b"x-forwarded-proto") or scheme.encode()),
        (b"x-request-id", request_id.encode("latin-1")),
    ]
    if body_length is not None:
        made.append((b"content-length", b"%d" % body_length))
    if b"forwarded" in fields:  # whoever keeps such a chain gets its next link (RFC 7239, 4)
        address = f'"[{client}]"' if ":" in client else client
        made.append((b"forwarded", f"for={address};proto={scheme}".encode()))
    return made
