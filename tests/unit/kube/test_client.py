"""The client on an API server that answers what no API server should."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kubernetes.aio import client

from hearth.kube.client import KubeClient
from hearth.kube.errors import Unanswered, Unavailable


async def first(changes: AsyncIterator[object]) -> object:
    return await anext(changes)


async def test_a_change_that_is_too_long_for_a_line_asks_for_a_list() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"type":"ADDED","object":{"metadata":{"name":"' + b"x" * (5 << 20) + b'"}}}\n'
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    kube = KubeClient(client.ApiClient(client.Configuration(host=f"http://127.0.0.1:{port}")))
    try:
        with pytest.raises(Unavailable, match="/things: found a change that can't be read") as raised:
            await asyncio.wait_for(first(kube.watch_objects("/things", "1")), 10)
        assert not isinstance(raised.value, Unanswered), "after which the informer would watch from the same version"
    finally:
        await kube.close()
        server.close()


@pytest.mark.parametrize("written", ["", "[]", "7", "a: [", "contexts: 7\ncurrent-context: a", "{}"])
async def test_a_kubeconfig_that_says_nothing_is_said_in_words(tmp_path: Path, written: str) -> None:
    file = tmp_path / "config"
    file.write_text(written)
    with pytest.raises(Unanswered, match="no way to the API server"):
        await KubeClient.connect(file)


@pytest.mark.parametrize(
    ("plugin", "says"),
    [("./nowhere", "No such file"), ("/bin/false", "returned 1"), ("/bin/true", "exec: ")],
)
async def test_a_plugin_without_credentials_is_told_and_nobody_is_asked_without_them(
    tmp_path: Path, plugin: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [
            {"name": "u", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": plugin}}}
        ],
    }
    (tmp_path / "config").write_text(json.dumps(document))
    with pytest.raises(Unanswered, match=r"users\[\].user.exec: ") as raised:
        await KubeClient.connect(tmp_path / "config")
    assert says in str(raised.value)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("environment", "written", "by_proxy"),
    [
        ({}, {}, False),
        ({"http_proxy": "PROXY"}, {}, True),
        ({"http_proxy": "PROXY", "no_proxy": "api.invalid"}, {}, False),
        ({"http_proxy": "PROXY", "no_proxy": "*"}, {}, False),
        ({"https_proxy": "PROXY"}, {}, False),
        ({"http_proxy": "http://127.0.0.1:1"}, {"proxy-url": "PROXY"}, True),
    ],
)
async def test_the_proxy_of_the_environment_is_taken_unless_the_kubeconfig_names_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    written: dict[str, str],
    by_proxy: bool,
) -> None:
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[0])
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    proxy = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value.replace("PROXY", proxy))
    cluster = {"server": "http://api.invalid:1"}
    cluster |= {name: value.replace("PROXY", proxy) for name, value in written.items()}
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {}}],
    }
    (tmp_path / "config").write_text(json.dumps(document))
    kube = await KubeClient.connect(tmp_path / "config")
    try:
        if by_proxy:
            assert await kube.get_object("/things") == {}
            assert asked == ["GET http://api.invalid:1/things HTTP/1.1"]
        else:
            with pytest.raises(Unanswered):
                await kube.get_object("/things")
            assert asked == []
    finally:
        await kube.close()
        server.close()
