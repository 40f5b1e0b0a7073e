"""A request as it was read from a connection, and why one is refused."""

from typing import Final, NamedTuple

from hearth.http1.headers import Headers, first_of_each


class Refusal(NamedTuple):
    """Why a request is not served: a status (RFC 9110, 15), a word for programs, a sentence for people."""

    status: int
    code: str
    text: str


OVERLOADED: Final = Refusal(503, "overloaded", "Too many bytes of requests are waiting here already; try again later.")
"""The bodies of all requests are over their budget."""


def body_too_large(limit: int) -> Refusal:
    """A body of more than `limit` bytes."""
    return Refusal(413, "request_too_large", f"The request's body is over {limit} bytes.")


class Request:
    """A client's request; `body` is set when it is whole. `fields` are the first value of each header field.

    `path` and `query` are as the client wrote them, percent-encoded. `client` is the peer's IP address, "" where there
    is none.
    """

    __slots__ = ("body", "client", "fields", "headers", "http11", "method", "path", "query", "scheme")

    def __init__(
        self,
        method: str,
        path: str,
        query: bytes,
        headers: Headers,
        *,
        http11: bool = True,
        client: str = "",
        scheme: str = "http",
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.fields = first_of_each(headers)
        self.http11 = http11
        self.client = client
        self.scheme = scheme
        self.body = b""

    def drop_body(self) -> None:
        """Nobody needs the body any more. (A transport may still hold what it has not written of it.)"""
        self.body = b""


def why_refused(version: str, method: str, headers: Headers) -> Refusal | None:
    """Why a request that could be read is not served, whatever it is about; None where it may be."""
    if version not in {"1.1", "1.0"}:
        return Refusal(505, "http_version_not_supported", f"HTTP/{version} is not spoken here; use HTTP/1.1.")
    if method in {"CONNECT", "TRACE"}:  # no tunnels; and an echo of the fields would show keys (RFC 9110, 9.3.8)
        return Refusal(405, "method_not_allowed", f"{method} requests are not served here.")
    hosts = 0
    for name, _ in headers:
        if name == b"host":
            hosts += 1
    if hosts > 1 or (hosts == 0 and version == "1.1"):  # RFC 9112, 3.2
        return Refusal(400, "bad_request", f"A request has one Host field, this one has {hosts}.")
    return None
