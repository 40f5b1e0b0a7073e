"""Whom the client takes for the API server: as kubectl and the kubelet do, on any Python."""

import asyncio
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from hearth.kube.client import KubeClient
from hearth.kube.errors import Unanswered

LIST = b'{"kind": "PodList", "items": [], "metadata": {"resourceVersion": "7"}}'


def authority(folder: Path, name: str) -> Path:
    """A certificate (.crt) and its key of an authority that says no key usage, as clusters' often do."""
    made = folder / name
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    subprocess.run([*command, "-keyout", f"{made}.key", "-out", f"{made}.crt"], check=True, capture_output=True)
    return made


def signed(folder: Path, by: Path) -> Path:
    made = folder / "server"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=kube-apiserver"]
    command += ["-CA", f"{by}.crt", "-CAkey", f"{by}.key", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run([*command, "-keyout", f"{made}.key", "-out", f"{made}.crt"], check=True, capture_output=True)
    return made


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(LIST) + LIST)
    await writer.drain()
    writer.close()


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default context as Python 3.13 makes it."""
    lenient = ssl.create_default_context

    def context(*arguments: Any, **named: Any) -> ssl.SSLContext:
        made = lenient(*arguments, **named)
        made.verify_flags |= ssl.VERIFY_X509_STRICT
        return made

    monkeypatch.setattr(ssl, "create_default_context", context)


@pytest.mark.usefixtures("strict")
async def test_an_authority_without_key_usage_is_believed_and_another_is_not(tmp_path: Path) -> None:
    ours, other = authority(tmp_path, "ours"), authority(tmp_path, "other")
    certificate = signed(tmp_path, ours)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{certificate}.crt", f"{certificate}.key")
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        assert await resource_version(tmp_path, port, ours) == "7"
        with pytest.raises(Unanswered, match="CERTIFICATE_VERIFY_FAILED"):
            await resource_version(tmp_path, port, other)
    finally:
        server.close()


async def resource_version(folder: Path, port: int, trusted: Path) -> str:
    kubeconfig = folder / "kubeconfig"
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": f"{trusted}.crt"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    kubeconfig.write_text(yaml.safe_dump(document))
    kube = await KubeClient.connect(kubeconfig)
    try:
        return (await kube.list_objects("/api/v1/pods")).resource_version
    finally:
        await kube.close()
