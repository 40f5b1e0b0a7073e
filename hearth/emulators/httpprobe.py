"""An httpGet probe as the kubelet asks it: what it sends, which redirects it follows, and what counts as success.

From the kubelet's pkg/probe/http: a new connection each time, no look at certificates, redirects followed to the same
host and at most ten, 10 KiB of the body read. 200 to 399 is success; a redirect to elsewhere is one with a warning.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

import httptools

from hearth.logs import fields as log_fields

log = logging.getLogger(__name__)

_REDIRECTS = 10
_REDIRECTING = (301, 302, 303, 307, 308)
_BODY_BYTES = 10 * 1024
_UNVERIFIED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_UNVERIFIED.check_hostname = False
_UNVERIFIED.verify_mode = ssl.CERT_NONE


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """What is asked. `fields` are the probe's httpHeaders, in lower case."""

    scheme: str
    address: str
    port: int
    path: str
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        path = self.path if self.path.startswith("/") else f"/{self.path}"
        return f"{self.scheme}://{self.address}:{self.port}{path}"


async def ask_http(probe: HttpProbe) -> bool:
    """Whether it succeeds. Raises OSError where nobody answers; the time limit is the caller's."""
    url = probe.url
    for _ in range(_REDIRECTS + 1):
        answer = await _get(url, probe.fields)
        if answer is None or not 200 <= answer.status < 400:
            return False
        if answer.status not in _REDIRECTING or not answer.location:
            return True
        following = urljoin(url, answer.location)
        if urlsplit(following).hostname != probe.address:
            log.warning(
                "probe was redirected to another host, which counts as success", extra=log_fields(url=following)
            )
            return True
        url = following
    return False  # the kubelet's client: stopped after 10 redirects


class _Answer:
    """What is kept of a response while it is parsed."""

    def __init__(self) -> None:
        self.status = 0
        self.location = ""
        self.complete = False
        self.enough = False
        self._seen = self._framed = False
        self._body = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    @property
    def until_the_end(self) -> bool:
        """Whether the end of the connection is the end of the body."""
        return self._seen and not self._framed

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"location":
                self.location = value.decode("latin-1")
            case b"content-length" | b"transfer-encoding":
                self._framed = True

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._seen = True

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        self.enough = self._body >= _BODY_BYTES

    def on_message_complete(self) -> None:
        self.complete = True


async def _get(url: str, given: Mapping[str, str]) -> _Answer | None:
    """One GET on a connection of its own; None: what came is no whole answer.

    By hand, since a held request waits for this: a tenth of what an HTTP client takes.
    """
    parts = urlsplit(url)
    secure = _UNVERIFIED if parts.scheme == "https" else None
    port = parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = {"host": parts.netloc, "user-agent": "kube-probe/1.36", "accept": "*/*", **given, "connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        writer.write(f"GET {target} HTTP/1.1\r\n{head}\r\n".encode())
        answer = _Answer()
        with contextlib.suppress(httptools.HttpParserError):
            while data := await reader.read(_BODY_BYTES):
                answer.feed(data)
                if answer.complete or answer.enough:
                    return answer
            return answer if answer.until_the_end else None
        return answer if answer.complete else None
    finally:
        writer.close()
