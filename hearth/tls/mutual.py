"""gRPC with certificates on both sides: each handshake is made with what the role's folder holds then.

https://grpc.io/docs/guides/auth/: a server asks for a client's certificate and hears nobody without one of its
authorities'. A channel keeps what it was made with, so that whoever has one makes another when the folder has changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from hearth.tls.certificates import Lives, Wanted, authority_now, certificate_now, ends
from hearth.tls.credentials import CertificateFolder, Held, utc_now

HANDSHAKE_SECONDS = 10.0
MOST_CONNECTIONS = 2000
"""Of a port, those in their handshake among them: strangers can't take all of a process' descriptors."""

_OPTIONS = (
    ("grpc.server_handshake_timeout_ms", int(HANDSHAKE_SECONDS * 1000)),
    ("grpc.max_allowed_incoming_connections", MOST_CONNECTIONS),
)


@dataclass(frozen=True, slots=True)
class Mutual:
    """A role's side of a port: its `folder`, and the name that the other side's certificate must have."""

    folder: CertificateFolder
    peer: str


def new_server(mutual: Mutual | None) -> grpc.aio.Server:
    """A server with bounds on strangers, where it is one that speaks TLS."""
    return grpc.aio.server(options=_OPTIONS if mutual is not None else None)


def add_port(server: grpc.aio.Server, address: str, mutual: Mutual | None) -> int:
    """Let a server listen on host:port, in plain text without `mutual`; its port is the answer.

    Raises OSError where the address can't be bound.
    """
    try:
        if mutual is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, server_credentials(mutual.folder))
    except RuntimeError as error:  # what grpc raises for an address in use
        raise OSError(f"cannot listen on {address}: is the port in use?") from error


async def admit(context: grpc.aio.ServicerContext, mutual: Mutual | None) -> None:  # type: ignore[type-arg]
    """End a call of whoever has a certificate, but not for the name that may call: PERMISSION_DENIED."""
    if mutual is not None and mutual.peer not in (names := names_of_peer(context)):
        found = ", ".join(sorted(names)) or "no name"
        await context.abort(
            grpc.StatusCode.PERMISSION_DENIED, f"the client's certificate is for {found}; expected {mutual.peer}"
        )


def server_credentials(folder: CertificateFolder) -> grpc.ServerCredentials:
    """Of a server that hears nobody without a certificate of the folder's authorities. Each handshake is made with what
    the folder holds then; until it holds something, with a certificate that nobody can trust, for nobody."""
    told = folder.held

    def changed() -> grpc.ServerCertificateConfiguration | None:  # called in threads of gRPC's
        nonlocal told
        now = folder.held
        if now is told or now is None:
            return None
        told = now
        return _configuration(now)

    first = _configuration(told or _nobodys())
    return grpc.dynamic_ssl_server_credentials(first, changed, require_client_authentication=True)  # type: ignore[arg-type]


def _configuration(held: Held) -> grpc.ServerCertificateConfiguration:
    pairs = [(held.pair.key, held.pair.certificate)]
    return grpc.ssl_server_certificate_configuration(pairs, root_certificates=held.authorities)


def _nobodys() -> Held:
    """What no handshake comes about with: its authority is forgotten at once."""
    now, lives = utc_now(), Lives()
    authority = authority_now(None, lives, now)
    pair, _ = certificate_now(None, Wanted(("nobody",)), authority, lives, now)
    return Held(pair, authority.bundle, ends(pair.certificate), 0.0)


def channel_to(address: str, held: Held | None, name: str, options: Sequence[tuple[str, int]] = ()) -> grpc.aio.Channel:
    """A channel to host:port; with `held` the other side must have a certificate of its authorities for `name`."""
    # Nothing of ours leaves the cluster by a proxy; gRPC would ask the environment for one.
    options = (*options, ("grpc.enable_http_proxy", 0))
    if held is None:
        return grpc.aio.insecure_channel(address, options=list(options))
    credentials = grpc.ssl_channel_credentials(held.authorities, held.pair.key, held.pair.certificate)
    named: list[tuple[str, int | str]] = [*options, ("grpc.ssl_target_name_override", name)]
    return grpc.aio.secure_channel(address, credentials, options=named)


def names_of_peer(context: grpc.aio.ServicerContext) -> set[str]:  # type: ignore[type-arg]
    """The DNS names in the certificate of who calls; none where the port is plain."""
    found = context.auth_context().get("x509_subject_alternative_name") or ()
    return {name.decode(errors="replace") for name in found}
