"""Which web pages may read the activator's answers: CORS, https://fetch.spec.whatwg.org/#http-cors-protocol.

Off unless origins are given. Starlette's middleware answers preflights; here is what the lane's answers say. And which
requests a page sends without a preflight: browsers ask nobody for a form, plain text, a ping or a report of a policy,
and a page that can't read the answer could still have a model started by everybody who looks at it.
"""

from collections.abc import Sequence

from hearth.http1.headers import Headers

# What a page of another origin can't send without a preflight, which it does not get an answer to. All else it may:
# https://fetch.spec.whatwg.org/#cors-safelisted-request-header and what a browser sends itself, such as reports of CSP.
_ASKED_FOR = b"application/json"
_NOT_ASKED_FOR = frozenset((b"no-cors", b"navigate"))
"""Sec-Fetch-Mode: of these requests no browser asks first, whatever their type is."""
_OWN_SITE = frozenset((b"same-origin", b"none"))
EXPOSED = (
    *("x-request-id", "request-id", "retry-after", "x-should-retry", "x-hearth-cold-start", "x-hearth-waited-seconds"),
    *(f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")),
)
"""What of an answer's head a page may read, beside what every page may: SDKs go by it in a browser, too."""
_EXPOSED = (b"access-control-expose-headers", ", ".join(EXPOSED).encode())
_DEFAULT_PORTS = (b":80", b":443")


class Origins:
    """`allowed` are origins such as https://chat.example, or `*` for every page."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self.allowed = tuple(allowed)
        self._all = "*" in self.allowed
        self._known = frozenset(origin.encode() for origin in self.allowed)

    def unasked(self, method: str, fields: dict[bytes, bytes]) -> bool:
        """Whether a page of another origin, which is not allowed, had a browser send this without a preflight.

        Browsers say where a request comes from, and no page can make them say something else: Sec-Fetch-Site, else
        Origin, which is compared with the host that was asked: https://www.w3.org/TR/fetch-metadata/
        """
        origin, site = fields.get(b"origin", b""), fields.get(b"sec-fetch-site", b"")
        if method != "POST" or self._all or origin in self._known or site in _OWN_SITE or not (origin or site):
            return False
        kind = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind == _ASKED_FOR and fields.get(b"sec-fetch-mode", b"") not in _NOT_ASKED_FOR:
            return False
        if site:
            return True
        page = _host(origin.partition(b"://")[2])
        return not page or page not in {_host(fields.get(name, b"")) for name in (b"host", b"x-forwarded-host")}

    def headers(self, fields: dict[bytes, bytes]) -> Headers:
        """What lets the page that asks read the answer to a request with these fields."""
        if not self._known or (origin := fields.get(b"origin")) is None:
            return []
        if self._all:
            return [(b"access-control-allow-origin", b"*"), _EXPOSED]
        if origin not in self._known:
            return [(b"vary", b"Origin")]
        return [(b"access-control-allow-origin", origin), (b"vary", b"Origin"), _EXPOSED]


def _host(authority: bytes) -> bytes:
    authority = authority.strip().lower()
    for port in _DEFAULT_PORTS:
        authority = authority.removesuffix(port)
    return authority
