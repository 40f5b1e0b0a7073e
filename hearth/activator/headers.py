"""Header fields between a client and an engine: what is passed on, in both directions.

RFC 9110, 7.6.1: fields of one connection are not forwarded, nor are those that its Connection field names.
"""

Headers = list[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade".split()
)
# What the activator says itself towards the engine. No accept-encoding: heartbeats may have opened the response
# before the engine is asked, and they are not compressed.
_REPLACED = frozenset(
    (b"host", b"content-length", b"expect", b"accept-encoding", b"x-forwarded-proto", b"x-forwarded-host")
)


def get(headers: Headers, name: bytes) -> bytes | None:
    """The first value of a field; names are lower case."""
    for field, value in headers:
        if field == name:
            return value
    return None


def preflight_answer(method: str, headers: Headers) -> Headers | None:
    """The fields that answer a browser's CORS preflight, None where it is none (Fetch Standard, 3.2.2).

    Engines allow every origin unless they are told otherwise; a cold one can't be asked.
    """
    asked = get(headers, b"access-control-request-method")
    if method != "OPTIONS" or asked is None or get(headers, b"origin") is None:
        return None
    return [
        *cross_origin(headers),
        (b"access-control-allow-methods", asked),
        (b"access-control-allow-headers", get(headers, b"access-control-request-headers") or b"*"),
        (b"access-control-max-age", b"600"),
    ]


def cross_origin(headers: Headers) -> Headers:
    """What lets a page of another origin read an answer of ours, to a request with these fields."""
    return [(b"access-control-allow-origin", b"*")] if get(headers, b"origin") is not None else []


def end_to_end(headers: Headers) -> Headers:
    """The fields that are not about one connection."""
    named = {token.strip().lower() for field, value in headers if field == b"connection" for token in value.split(b",")}
    return [(field, value) for field, value in headers if field not in _HOP_BY_HOP and field not in named]


def for_engine(headers: Headers, host: str, body_length: int, client: str, scheme: str, request_id: str) -> Headers:
    """The fields of the request to the engine at `host`, from those of the client's request."""
    forwarded = [value for field, value in headers if field == b"x-forwarded-for"]
    passed = [
        (field, value)
        for field, value in end_to_end(headers)
        if field not in _REPLACED and field not in (b"x-forwarded-for", b"x-request-id")
    ]
    return [
        (b"host", host.encode()),
        *passed,
        (b"content-length", str(body_length).encode()),
        (b"x-forwarded-for", b", ".join([*forwarded, client.encode()])),
        (b"x-forwarded-host", get(headers, b"x-forwarded-host") or get(headers, b"host") or b""),
        (b"x-forwarded-proto", scheme.encode()),
        (b"x-request-id", request_id.encode()),
    ]
