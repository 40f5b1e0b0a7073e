from pathlib import Path

import pytest

from hearth.kube.clusterdomain import cluster_domain, in_domain


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("search hearth-system.svc.k8s.example svc.k8s.example k8s.example\nnameserver 10.0.0.10\n", "k8s.example"),
        (
            "nameserver 10.0.0.10\nsearch hearth-system.svc.cluster.local. svc.cluster.local. cluster.local.",
            "cluster.local",
        ),
        ("search corp.example\n", "cluster.local"),
        ("search svc.old.example\nsearch svc.new.example", "new.example"),
        ("search svc.\n", "cluster.local"),
        ("", "cluster.local"),
        ("\n \nsearch\n", "cluster.local"),
    ],
)
def test_the_resolver_knows_the_domain(text: str, domain: str, tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(text)
    assert cluster_domain(file) == domain


def test_without_a_resolver_it_is_the_usual_one(tmp_path: Path) -> None:
    assert cluster_domain(tmp_path / "none") == "cluster.local"


@pytest.mark.parametrize(
    ("address", "qualified"),
    [
        ("hearth-scaler.hearth-system.svc:9090", "hearth-scaler.hearth-system.svc.k8s.example:9090"),
        ("hearth-activator.hearth-system.svc", "hearth-activator.hearth-system.svc.k8s.example"),
        ("hearth-activator.hearth-system.svc.cluster.local", "hearth-activator.hearth-system.svc.cluster.local"),
        ("10.200.0.1:9090", "10.200.0.1:9090"),
    ],
)
def test_only_a_services_short_name_gets_it(address: str, qualified: str) -> None:
    assert in_domain(address, "k8s.example") == qualified
