"""Which Secrets with certificates there are, and what is in them. Pure.

The authority's Secret has `tls.crt` and `tls.key` (who signs), `ca.crt` (all that are trusted), and, while a successor
becomes known, `next.crt` and `next.key`. The others have what cert-manager writes into its own: `tls.crt`, `tls.key`
and `ca.crt`, so that either of the two may make them.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from hearth.api.labels import MANAGED_BY
from hearth.controller.ownership import made_here
from hearth.kube.endpoints import endpoints
from hearth.kube.kinds import SECRET
from hearth.kube.objects import KubeObject, mapping, secret_data, text
from hearth.tls.certificates import (
    Authority,
    Lives,
    Pair,
    Unusable,
    Wanted,
    authority_now,
    certificate_now,
    certificates_in,
    check_authority,
    fingerprint,
    readable_in,
    usable,
)
from hearth.tls.names import ACTIVATOR_NAME, AUTHORITY_SECRET, KEDA_NAME, SCALER_NAME, SECRETS

Mode = Literal["off", "controller", "certManager"]
"""Who makes the certificates; off: the roles and KEDA speak plain text."""

PLAIN_PORT, TLS_PORT = "grpc", "grpc-tls"
"""Names of the scalers' ports."""
PLAIN_SCALER_PORT = 9090
"""Where scalers of before certificates listen."""


class Place(NamedTuple):
    """A Secret."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


_ACTIVATOR, _SCALER, _KEDA = (Place(*SECRETS[whose].split("/")) for whose in ("activator", "scaler", "keda"))


@dataclass(frozen=True, slots=True)
class Issuing:
    """`activator`, `scaler` and `keda` are the Secrets of their certificates, with the names that these have."""

    mode: Mode = "off"
    activator: Place = _ACTIVATOR
    scaler: Place = _SCALER
    keda: Place = _KEDA
    activator_names: tuple[str, ...] = (ACTIVATOR_NAME,)
    scaler_names: tuple[str, ...] = (SCALER_NAME,)
    lives: Lives = field(default_factory=Lives)

    @property
    def authority(self) -> Place:
        return Place(self.scaler.namespace, AUTHORITY_SECRET)

    @property
    def made_for_keda(self) -> Place:
        """Where cert-manager makes KEDA's certificate, beside the others."""
        return Place(self.scaler.namespace, self.keda.name)

    @property
    def wanted(self) -> dict[str, tuple[Place, Wanted]]:
        """What is issued, by whom it is for."""
        return {
            "activator": (self.activator, Wanted(self.activator_names)),
            "scaler": (self.scaler, Wanted(self.scaler_names)),
            "keda": (self.keda, Wanted((KEDA_NAME,))),
        }


_CERT_MANAGERS = "cert-manager.io/certificate-name"
"""An annotation of Secrets that cert-manager writes, those that somebody else made among them."""


class NotOurs(Exception):
    """A Secret that we would have to write is somebody else's. The text names it and says what to do."""


def is_ours(place: Place, found: KubeObject | None) -> None:
    """Raise NotOurs where somebody else made a Secret."""
    if found is not None and (
        not made_here(found, MANAGED_BY) or _CERT_MANAGERS in mapping(found, "metadata", "annotations")
    ):
        raise NotOurs(
            f"found Secret {place}, not of Hearth; delete it if nobody needs it, or set --tls=certManager where "
            "cert-manager makes the certificates"
        )


def authority_data(found: KubeObject | None, lives: Lives, now: datetime) -> tuple[Authority, dict[str, bytes], str]:
    """The authority as it must be now, what its Secret has then, and why it is made anew, "" where it is not."""
    before, why = _read_authority(found)
    authority = authority_now(before, lives, now)
    data = {"ca.crt": authority.bundle, "tls.crt": authority.current.certificate, "tls.key": authority.current.key}
    if authority.successor is not None:
        data |= {"next.crt": authority.successor.certificate, "next.key": authority.successor.key}
    return authority, data, why


def certificate_data(
    found: KubeObject | None, wanted: Wanted, authority: Authority, lives: Lives, now: datetime
) -> tuple[dict[str, bytes], str]:
    """What a certificate's Secret must have now, and why it has another certificate than it had; "" where not."""
    there = secret_data(found)
    before = Pair(there.get("tls.crt", b""), there.get("tls.key", b"")) if there else None
    pair, why = certificate_now(before, wanted, authority, lives, now)
    return {"ca.crt": authority.bundle, "tls.crt": pair.certificate, "tls.key": pair.key}, why


def secret(place: Place, data: dict[str, bytes], found: KubeObject | None) -> KubeObject | None:
    """The Secret as it is to be written; None where it is so already."""
    kind = "Opaque" if place.name == AUTHORITY_SECRET else "kubernetes.io/tls"
    if found is not None and secret_data(found) == data:
        return None
    metadata: KubeObject = {"name": place.name, "namespace": place.namespace, "labels": dict(MANAGED_BY)}
    if found is not None:  # what others put on it stays
        metadata = {**mapping(found, "metadata"), "labels": {**mapping(found, "metadata", "labels"), **MANAGED_BY}}
        metadata.pop("managedFields", None)
        kind = text(found, "type") or kind  # immutable
    encoded = {name: base64.b64encode(content).decode() for name, content in data.items()}
    return {**SECRET.names, "metadata": metadata, "type": kind, "data": encoded}


def shown(found: KubeObject | None, now: datetime) -> str:
    """The fingerprint of a certificate that KEDA is to use, and of whom it trusts. Raises Unusable."""
    there = secret_data(found)
    usable(Pair(there.get("tls.crt", b""), there.get("tls.key", b"")), now)
    certificates_in(there.get("ca.crt", b""))
    return fingerprint(there["ca.crt"], there["tls.crt"])


def about_alone(found: KubeObject) -> KubeObject:
    """What tells that a Secret has changed, without what is in it."""
    about = mapping(found, "metadata")
    kept = {name: about[name] for name in ("name", "namespace", "uid", "resourceVersion") if name in about}
    return {"metadata": kept}


def hosts(*names: str) -> tuple[str, ...]:
    """Names of a certificate: each once, and each of a Service with the shorter ones that reach it too."""
    made: dict[str, None] = {}
    for name in names:
        made[name.strip("[]")] = None
        match name.split("."):
            case [service, namespace, "svc", *_]:
                made |= dict.fromkeys((f"{service}.{namespace}.svc", f"{service}.{namespace}"))
    return tuple(made)


def lives(certificate_hours: float, authority_hours: float) -> Lives:
    """How long what is issued is valid. Short ones, as tests have, become known sooner."""
    certificate = timedelta(hours=certificate_hours)
    return Lives(certificate, timedelta(hours=authority_hours), min(Lives().known, certificate / 6))


def service_of(address: str) -> Place | None:
    """The Service that host:port names, where it is one of the cluster's."""
    match address.rpartition(":")[0].split("."):
        case [name, namespace, "svc", *_]:
            return Place(namespace, name)
    return None


def only_plain(slices: Iterable[KubeObject]) -> bool:
    """Whether there are scalers that are ready, and none of them speaks TLS: those of before an upgrade."""
    found = list(slices)
    return not _any_ready(found, TLS_PORT) and _any_ready(found, PLAIN_PORT)


def _any_ready(slices: Iterable[KubeObject], port: str) -> bool:
    return any(endpoint.listing == "ready" for item in slices for endpoint in endpoints(item, port))


def _read_authority(found: KubeObject | None) -> tuple[Authority | None, str]:
    if found is None:
        return None, "there is none"
    there = secret_data(found)
    try:
        current = Pair(there.get("tls.crt", b""), there.get("tls.key", b""))
        check_authority(current)
    except Unusable as error:
        return None, str(error)
    # What is wrong beside it costs nobody the authority that everybody trusts: a bundle is made whole again, and
    # another successor made.
    return Authority(current, _successor(there), readable_in(there.get("ca.crt", b""))), ""


def _successor(there: dict[str, bytes]) -> Pair | None:
    if not {"next.crt", "next.key"} <= there.keys():
        return None
    pair = Pair(there["next.crt"], there["next.key"])
    try:
        check_authority(pair)
    except Unusable:
        return None
    return pair
