"""Clients over TLS: everything that holds in plain text holds here, and a handshake has its bounds.

The suites of test_http.py and test_rude.py run here once more, each connection over TLS.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from hearth.activator.https import HttpsListener
from hearth.tls.certificates import Unusable, ends
from hearth.tls.credentials import Held
from tests.certificates import issue, new_authority, self_signed
from tests.component import harness
from tests.component.harness import ActivatorHarness, ScriptedEngine, Stream
from tests.component.test_http import *  # noqa: F403
from tests.component.test_rude import *  # noqa: F403

PATIENCE = 10.0
SERVERS = ("over TLS",)


@pytest.fixture(autouse=True)
def over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness.ActivatorHarness, "usual", "over TLS")


@contextlib.asynccontextmanager
async def shaking(seconds: float, most: int) -> AsyncIterator[tuple[HttpsListener, ssl.SSLContext, int]]:
    """A listener that echoes, and what trusts it."""
    authority = new_authority()
    listening = socket.create_server(("127.0.0.1", 0))

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)  # type: ignore[attr-defined]

    made = HttpsListener(listening, Echo, handshake_seconds=seconds, most=most)
    pair = issue(authority, "127.0.0.1")
    made.take(Held(pair, b"", ends(pair.certificate), 0.0))
    try:
        yield made, ssl.create_default_context(cadata=authority.bundle.decode()), made.port
    finally:
        await made.stop()


async def echoed(port: int, trust: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
    writer.write(b"hello")
    try:
        return await reader.readexactly(5)
    finally:
        writer.close()


def _is_over(connection: socket.socket) -> bool:
    """Whether the other side has closed it."""
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


class TestHandshakes:
    async def test_who_says_nothing_is_closed_in_time(self) -> None:
        async with shaking(0.3, 100) as (listener, trust, port), asyncio.timeout(PATIENCE):
            strangers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
            assert await echoed(port, trust) == b"hello"
            for reader, writer in strangers:
                assert await reader.read() == b""
                writer.close()
            while listener.shaking:
                await asyncio.sleep(0.01)

    async def test_the_oldest_goes_where_there_are_too_many(self) -> None:
        async with shaking(60, 10) as (listener, trust, port), asyncio.timeout(PATIENCE):
            strangers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
            for reader, _ in strangers[:40]:
                assert await reader.read() == b""
            assert listener.shaking <= 10
            assert await echoed(port, trust) == b"hello", "who shakes hands at once is let in all the same"
            for _, writer in strangers:
                writer.close()

    async def test_a_burst_leaves_no_more_of_them_than_there_may_be(self) -> None:
        """Hundreds are taken in one turn of the loop, and whoever is told to end ends turns later."""
        async with shaking(60, 20) as (listener, _, port), asyncio.timeout(PATIENCE):
            with contextlib.ExitStack() as held:
                # No turn of the loop is between them: all wait to be taken.
                sockets = [held.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(90)]
                for each in sockets:
                    each.setblocking(False)
                most, ended = 0, 0
                while ended < len(sockets) - 20:
                    await asyncio.sleep(0)
                    most = max(most, listener.shaking)
                    ended = sum(_is_over(each) for each in sockets)
                assert most == 20

    async def test_plain_text_is_no_handshake(self) -> None:
        async with shaking(60, 10) as (_, trust, port), asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert not (await reader.read()).startswith(b"HTTP/")
            writer.close()
            assert await echoed(port, trust) == b"hello"

    async def test_the_end_does_not_wait_for_a_handshake(self) -> None:
        async with shaking(60, 10) as (listener, _, port), asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while not listener.shaking:
                await asyncio.sleep(0.01)
            await listener.stop()
            assert await reader.read() == b""
            writer.close()

    async def test_another_certificate_counts_from_the_next_handshake_on(self) -> None:
        async with shaking(5, 10) as (listener, trust, port), asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
            other = new_authority()
            pair = issue(other, "127.0.0.1", life=timedelta(hours=1))
            listener.take(Held(pair, b"", ends(pair.certificate), 0.0))
            with pytest.raises(ssl.SSLCertVerificationError):
                await echoed(port, trust)
            assert await echoed(port, ssl.create_default_context(cadata=other.bundle.decode())) == b"hello"
            writer.write(b"still")
            assert await reader.readexactly(5) == b"still", "what is made stays"
            writer.close()

    @pytest.mark.parametrize("kind", ["DSA:2048", "brainpoolP256r1"])
    async def test_a_certificate_that_openssl_loads_and_no_client_can_use_is_not_taken(
        self, tmp_path: Path, kind: str
    ) -> None:
        async with shaking(5, 10) as (listener, trust, port), asyncio.timeout(PATIENCE):
            pair = self_signed(tmp_path, kind)
            with pytest.raises(Unusable, match="no client can shake hands with it"):
                listener.take(Held(pair, b"", ends(pair.certificate), 0.0))
            assert await echoed(port, trust) == b"hello", "what was in use stays so"

    @pytest.mark.parametrize("kind", ["RSA:2048", "P-384", "ED25519"])
    async def test_any_kind_of_key_that_a_client_can_use_is_taken(self, tmp_path: Path, kind: str) -> None:
        async with shaking(5, 10) as (listener, _, port), asyncio.timeout(PATIENCE):
            pair = self_signed(tmp_path, kind)
            listener.take(Held(pair, b"", ends(pair.certificate), 0.0))
            assert await echoed(port, ssl.create_default_context(cadata=pair.certificate.decode())) == b"hello"

    async def test_old_versions_are_refused_and_http_1_1_is_what_is_spoken(self) -> None:
        async with shaking(5, 10) as (_, trust, port), asyncio.timeout(PATIENCE):
            trust.set_alpn_protocols(["h2", "http/1.1"])
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            writer.close()
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
            old.set_ciphers("ALL:@SECLEVEL=0")
            with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
                old.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection("127.0.0.1", port, ssl=old)


async def test_a_client_of_httpx_streams_and_keeps_its_connection(
    activator: ActivatorHarness, engine: ScriptedEngine
) -> None:
    activator.service()
    activator.ready(engine)
    url = f"https://127.0.0.1:{activator.port}/v1/chat/completions"
    async with httpx.AsyncClient(verify=activator.trust, trust_env=False) as client:
        for _ in range(3):
            assert (await client.post(url, json=harness.HELLO)).status_code == 200


async def test_an_idle_connection_does_not_hold_the_end(activator: ActivatorHarness) -> None:
    client = await activator.client()
    assert (await client.ask("GET", "/v1/models")).status == 200
    activator.stop()
    async with asyncio.timeout(PATIENCE):
        await activator.stopped()
        assert await client.rest() == b""


async def test_a_large_answer_arrives_whole_though_it_is_read_slowly(
    activator: ActivatorHarness, engine: ScriptedEngine
) -> None:
    large = bytes(range(256)) * 8192

    async def answer(request: object, stream: Stream) -> None:
        await stream.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(large), large)

    engine.handler = answer
    activator.service()
    activator.ready(engine)
    client = await activator.client()
    await client.chat()
    await asyncio.sleep(0.2)  # the client's own pace
    assert (await client.message()).body == large
