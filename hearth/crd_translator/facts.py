"""What the translation must know of the cluster, gathered by the caller."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class EngineClient(NamedTuple):
    """Pods that may reach engines: those of a namespace with the label app.kubernetes.io/name=`name`; all where it is
    empty."""

    namespace: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """Facts about the cluster that the objects are for.

    `accelerators` holds the extended resources that some node can allocate; None means that it is not known, and
    every vendor counts as present. `exhausted` are those that nodes name and have none of now; `node_labels` are the
    labels of each node. `activator_host` and `scaler_address` (host:port) are where Hearth's own roles are reached
    from any namespace. `engine_clients` may reach engines; where there are none, everybody may.
    `scaler_authentication` is the ClusterTriggerAuthentication by which KEDA has a certificate for the scaler, "" where
    they speak plain text; `scaler_certificate` differs where that certificate does.
    """

    activator_host: str = "hearth-activator.hearth-system.svc.cluster.local"
    scaler_address: str = "hearth-scaler.hearth-system.svc.cluster.local:9090"
    accelerators: frozenset[str] | None = None
    exhausted: frozenset[str] = frozenset()
    node_labels: tuple[Mapping[str, str], ...] = ()
    engine_clients: tuple[EngineClient, ...] = ()
    scaler_authentication: str = ""
    scaler_certificate: str = ""
