"""Secrets with certificates: what is written, what is not, and what KEDA is told, one look after the other."""

import asyncio
import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import generate_latest

from hearth.controller import certificates as module
from hearth.controller.certificates import Certificates
from hearth.controller.issuing import Issuing, Place, hosts, lives, only_plain, service_of
from hearth.controller.ownership import MANAGER
from hearth.kube.client import KubeClient
from hearth.kube.errors import AlreadyExists, Conflict, Forbidden, KubeError
from hearth.kube.objects import KubeObject, secret_data
from hearth.metrics import RoleRegistry
from hearth.tls.certificates import Lives, certificates_in
from tests.builders import endpoint_slice

NOW = datetime(2026, 11, 30, tzinfo=UTC)
LIVES = Lives(timedelta(days=90), timedelta(days=900), timedelta(hours=1))
PATHS = {
    "authority": "/api/v1/namespaces/hearth-system/secrets/hearth-ca",
    "activator": "/api/v1/namespaces/hearth-system/secrets/hearth-activator-tls",
    "scaler": "/api/v1/namespaces/hearth-system/secrets/hearth-scaler-tls",
    "keda": "/api/v1/namespaces/keda/secrets/hearth-keda-tls",
}
MADE_FOR_KEDA = "/api/v1/namespaces/hearth-system/secrets/hearth-keda-tls"


class Secrets(KubeClient):
    """Secrets by path, each with a version; `fails` are paths that are answered so."""

    def __init__(self) -> None:
        self.objects: dict[str, KubeObject] = {}
        self.writes: list[str] = []
        self.fails: dict[str, KubeError] = {}
        self.before_write: Callable[[str], None] = lambda path: None

    async def get_object(self, path: str, label_selector: str = "") -> KubeObject | None:
        return self.objects.get(path)

    async def create_object(self, collection: str, item: KubeObject, manager: str = "") -> KubeObject:
        path = f"{collection}/{item['metadata']['name']}"
        return self._put(path, item, manager, self.objects.get(path) is None)

    async def replace_object(self, path: str, item: KubeObject, manager: str = "") -> KubeObject:
        return self._put(path, item, manager, True)

    def _put(self, path: str, item: KubeObject, manager: str, free: bool) -> KubeObject:
        self.before_write(path)
        if path in self.fails:
            raise self.fails[path]
        found = self.objects.get(path)
        if not free:
            raise AlreadyExists("409", 409)
        if found is not None and found["metadata"]["resourceVersion"] != item["metadata"].get("resourceVersion"):
            raise Conflict("409", 409)
        self.writes.append(path)
        self.put(path, item, manager)
        return item

    def put(self, path: str, item: KubeObject, manager: str) -> None:
        """As the API server keeps it."""
        version = str(len(self.writes) + 1000 + len(self.objects))
        about = {**item["metadata"], "resourceVersion": version, "managedFields": [{"manager": manager}]}
        self.objects[path] = {**item, "metadata": about}

    def data(self, what: str) -> dict[str, bytes]:
        return secret_data(self.objects.get(PATHS[what]))


class Seen:
    def __init__(self, **changes: Any) -> None:
        self.now = NOW
        self.api = Secrets()
        self.told: list[str] = []
        issuing = Issuing(**{"mode": "controller", "lives": LIVES, **changes})
        self.certificates = Certificates(self.api, issuing, self._tell, lambda: self.now)

    def _tell(self) -> None:
        self.told.append(self.certificates.shown)

    async def look(self, after: timedelta = timedelta()) -> list[str]:
        """What one look writes."""
        self.now += after
        before = len(self.api.writes)
        await self.certificates.look()
        return self.api.writes[before:]


async def test_all_are_made_once_and_then_left_alone() -> None:
    seen = Seen()
    assert await seen.look() == list(PATHS.values())
    assert await seen.look(timedelta(days=59)) == []
    for path, item in seen.api.objects.items():
        assert item["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "hearth"}
        assert item["type"] == ("Opaque" if path == PATHS["authority"] else "kubernetes.io/tls")
    assert "tls.key" in seen.api.data("authority")
    for name in ("activator", "scaler", "keda"):
        data = seen.api.data(name)
        assert sorted(data) == ["ca.crt", "tls.crt", "tls.key"]
        assert data["ca.crt"] == seen.api.data("authority")["ca.crt"]
    assert len(seen.told) == 1


async def test_certificates_are_renewed_and_keda_is_told_a_while_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.05)
    seen = Seen()
    await seen.look()
    assert await seen.look(timedelta(days=60)) == [PATHS["activator"], PATHS["scaler"], PATHS["keda"]]
    assert len(seen.told) == 1, "its operator may not have seen the Secret yet"
    async with asyncio.timeout(5):
        while len(seen.told) == 1:
            await asyncio.sleep(0.01)
    assert seen.told[0] != seen.told[1]


async def test_a_successor_is_in_every_bundle_before_it_signs() -> None:
    seen = Seen()
    await seen.look()
    first = seen.api.data("authority")
    await seen.look(timedelta(days=600))
    known = seen.api.data("authority")
    assert known["tls.crt"] == first["tls.crt"]
    assert {"next.crt", "next.key"} <= known.keys()
    assert len(certificates_in(seen.api.data("keda")["ca.crt"])) == 2
    await seen.look(timedelta(hours=1))
    after = seen.api.data("authority")
    assert (after["tls.crt"], after["tls.key"]) == (known["next.crt"], known["next.key"])
    assert "next.key" not in after
    assert len(certificates_in(seen.api.data("scaler")["ca.crt"])) == 2
    await seen.look(timedelta(days=301))
    assert certificates_in(seen.api.data("scaler")["ca.crt"]) == (after["tls.crt"],)


FOREIGN: KubeObject = {
    "metadata": {"name": "hearth-scaler-tls", "namespace": "hearth-system"},
    "data": {"mine": "MQ=="},
}
LABELS = {"app.kubernetes.io/managed-by": "hearth"}
CERT_MANAGERS = {"cert-manager.io/certificate-name": "hearth-scaler-tls"}


@pytest.mark.parametrize(
    ("about", "manager"),
    [({}, MANAGER), ({"labels": LABELS}, "kubectl"), ({"labels": LABELS, "annotations": CERT_MANAGERS}, MANAGER)],
)
async def test_what_somebody_else_made_is_never_written_nor_one_that_must_agree_with_it(
    about: dict[str, Any], manager: str
) -> None:
    """Activators, scalers and KEDA know each other by one authority: of two, nobody knows anybody."""
    seen = Seen()
    seen.api.put(PATHS["scaler"], {**FOREIGN, "metadata": {**FOREIGN["metadata"], **about}}, manager)
    assert await seen.look() == [PATHS["authority"]]
    assert await seen.look() == []
    registry = RoleRegistry()
    seen.certificates.register(registry)
    told = generate_latest(registry).decode()
    for name, value in (("authority", "0.0"), ("activator", "1.0"), ("scaler", "1.0"), ("keda", "1.0")):
        assert f'hearth_certificate_unusable{{certificate="{name}",role="controller"}} {value}' in told
    assert seen.told == []
    del seen.api.objects[PATHS["scaler"]]
    assert await seen.look() == [PATHS["activator"], PATHS["scaler"], PATHS["keda"]]
    assert len(seen.told) == 1


async def test_one_that_becomes_somebody_elses_leaves_the_others_as_they_are() -> None:
    """As cert-manager does when it takes them over, one after the other."""
    seen = Seen()
    await seen.look()
    before = {path: item for path, item in seen.api.objects.items() if path != PATHS["scaler"]}
    seen.api.put(PATHS["scaler"], FOREIGN, "cert-manager-certificates-issuing")
    assert await seen.look(timedelta(days=80)) == []
    assert {path: item for path, item in seen.api.objects.items() if path != PATHS["scaler"]} == before


@pytest.mark.parametrize(
    "broken",
    [
        {"ca.crt": ""},
        {"ca.crt": None},
        {"next.crt": "AAAA", "next.key": "AAAA"},
        {"next.crt": "AAAA"},
    ],
)
async def test_what_is_wrong_beside_an_authority_costs_nobody_the_authority(broken: dict[str, Any]) -> None:
    seen = Seen()
    await seen.look()
    before = seen.api.data("authority")
    seen.api.objects[PATHS["authority"]]["data"] |= broken
    assert await seen.look() == [PATHS["authority"]]
    assert seen.api.data("authority") == before


async def test_of_a_bundle_what_can_be_read_is_kept() -> None:
    seen = Seen()
    await seen.look()
    before = seen.api.data("authority")
    odd = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    bundle = base64.b64encode(odd + before["ca.crt"] + b"a word").decode()
    seen.api.objects[PATHS["authority"]]["data"]["ca.crt"] = bundle
    assert await seen.look() == [PATHS["authority"]]
    assert seen.api.data("authority") == before


async def test_without_the_authoritys_secret_nothing_is_signed() -> None:
    seen = Seen()
    seen.api.put(PATHS["authority"], {"metadata": {"name": "hearth-ca", "namespace": "hearth-system"}}, "kubectl")
    assert await seen.look() == []


async def test_a_namespace_that_is_not_kedas_costs_the_others_nothing() -> None:
    seen = Seen()
    seen.api.fails[PATHS["keda"]] = Forbidden("403: secrets is forbidden", 403)
    assert await seen.look() == [PATHS["authority"], PATHS["activator"], PATHS["scaler"]]
    assert seen.told == []
    del seen.api.fails[PATHS["keda"]]
    assert await seen.look() == [PATHS["keda"]]
    assert len(seen.told) == 1


async def test_a_pair_that_may_sign_nothing_is_no_authority() -> None:
    """As a restore of the wrong Secret leaves it: well formed, its own key, and nobody would trust what it signs."""
    seen = Seen()
    await seen.look()
    leaf = seen.api.objects[PATHS["scaler"]]["data"]
    seen.api.objects[PATHS["authority"]]["data"] |= {"tls.crt": leaf["tls.crt"], "tls.key": leaf["tls.key"]}
    assert await seen.look() == list(PATHS.values())
    bundle = seen.api.data("scaler")["ca.crt"]
    assert seen.api.data("authority")["tls.crt"] in certificates_in(bundle)
    assert await seen.look() == []


@pytest.mark.parametrize(
    "broken", [{}, {"tls.crt": "AAAA", "tls.key": "!"}, {"tls.crt": None, "tls.key": 7, "ca.crt": []}]
)
@pytest.mark.parametrize("what", ["authority", "scaler", "keda"])
async def test_what_is_broken_is_made_anew(what: str, broken: dict[str, Any]) -> None:
    seen = Seen()
    await seen.look()
    item = seen.api.objects[PATHS[what]]
    seen.api.put(PATHS[what], {**item, "data": broken}, MANAGER)
    assert PATHS[what] in await seen.look()
    assert await seen.look() == []


async def test_two_that_think_they_lead_do_not_overwrite_each_other() -> None:
    seen, other = Seen(), Seen()
    other.certificates._kube = seen.api

    async def both() -> None:
        await asyncio.gather(seen.certificates.look(), other.certificates.look())

    await both()
    authority = seen.api.data("authority")
    await both()
    await both()
    assert seen.api.data("authority") == authority
    for name in ("activator", "scaler", "keda"):
        assert seen.api.data(name)["ca.crt"] == authority["ca.crt"]


async def test_one_that_changes_between_reading_and_writing_is_not_written() -> None:
    seen = Seen()
    await seen.look()

    def meddle(path: str) -> None:
        seen.api.before_write = lambda path: None
        seen.api.put(path, {**seen.api.objects[path], "data": {"mine": "MQ=="}}, "kubectl")

    seen.api.before_write = meddle
    await seen.look(timedelta(days=60))
    assert seen.api.data("activator") == {"mine": b"1"}


async def test_what_others_put_on_a_secret_stays() -> None:
    seen = Seen()
    await seen.look()
    item = seen.api.objects[PATHS["scaler"]]
    item["metadata"]["annotations"] = {"backup": "no"}
    await seen.look(timedelta(days=60))
    assert seen.api.objects[PATHS["scaler"]]["metadata"]["annotations"] == {"backup": "no"}


async def test_what_cert_manager_made_for_keda_is_brought_to_keda_and_nothing_else_is_written() -> None:
    maker = Seen()
    await maker.look()
    seen = Seen(mode="certManager")
    assert await seen.look() == []
    assert (
        seen.certificates._troubles["keda"]
        == "no certificate: " + seen.certificates._troubles["keda"].partition(": ")[2]
    )
    made = maker.api.objects[PATHS["keda"]]
    source = {**made, "metadata": {"name": "hearth-keda-tls", "namespace": "hearth-system"}}
    seen.api.put(MADE_FOR_KEDA, source, "cert-manager-certificates-issuing")
    assert await seen.look() == [PATHS["keda"]]
    assert seen.api.data("keda") == maker.api.data("keda")
    assert len(seen.told) == 1
    assert await seen.look() == []


def test_scalers_of_before_are_asked_while_they_alone_are_ready() -> None:
    plain = {**endpoint_slice("s", "hearth-system", "10.0.0.1:9090"), "ports": [{"name": "grpc", "port": 9090}]}
    secure = {**endpoint_slice("t", "hearth-system", "10.0.0.2:9443"), "ports": [{"name": "grpc-tls", "port": 9443}]}
    starting = {**secure, "endpoints": [{"addresses": ["10.0.0.2"], "conditions": {"ready": False}}]}
    assert only_plain([plain])
    assert only_plain([plain, starting])
    assert not only_plain([plain, secure])
    assert not only_plain([secure])
    assert not only_plain([starting])
    assert not only_plain([]), "a new installation, or scalers that are away"


def test_names_and_lives() -> None:
    short = ("hearth-scaler.hearth-system.svc", "hearth-scaler.hearth-system")
    assert hosts("hearth-scaler.hearth-system.svc.k8s.example") == (
        "hearth-scaler.hearth-system.svc.k8s.example",
        *short,
    )
    assert hosts("10.0.0.1", "[fd00::1]", "10.0.0.1") == ("10.0.0.1", "fd00::1")
    assert service_of("hearth-scaler.hearth-system.svc.cluster.local:9443") == Place("hearth-system", "hearth-scaler")
    assert service_of("10.0.0.1:9443") is None
    assert lives(2160, 43800) == Lives()
    assert lives(1, 24).known == timedelta(minutes=10)
    assert base64.b64encode(b"") == b""
