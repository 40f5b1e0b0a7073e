"""KEDA as it installs itself: its own manifests, as pods. The release that the test bed builds, and the one before."""

from pathlib import Path

import yaml

from tests.cluster.controlplane import ControlPlane
from tests.cluster.node.image import provide
from tests.cluster.node.nodes import Node

NAMESPACE = "keda"
# Of each Deployment: the program, as the test bed's build scripts name it. Where it lies in its image its command says.
PROGRAMS = {
    "keda-operator": "keda-operator",
    "keda-metrics-apiserver": "keda-adapter",
    "keda-admission": "keda-admission-webhooks",
}
UID = 65532  # that of KEDA's images
NOW, BEFORE = "now", "before"


def install(plane: ControlPlane, node: Node, built: Path, release: str = NOW) -> None:
    """Install it, or take another release where one is installed. Returns when all of its pods are ready and of this
    one. `built` as build.sh leaves it. Raises CommandFailed.

    Other than in its manifests: images are not pulled but imported, and hold its program alone; probes ask earlier.
    """
    folder = built / BEFORE if release == BEFORE else built
    rendered = plane.kubectl("kustomize", str(folder / "keda-config" / "default"))
    documents = [document for document in yaml.safe_load_all(rendered) if document]
    for document in documents:
        if document["kind"] == "Deployment":
            (container,) = document["spec"]["template"]["spec"]["containers"]
            name = PROGRAMS[document["metadata"]["name"]]
            program = next(path for path in (folder / name, plane.binaries / name) if path.exists())
            container["image"] = f"{container['image'].rpartition(':')[0]}:{release}"
            provide(node, container, program, container["command"][0], UID)
    # As KEDA's documentation upgrades it: https://keda.sh/docs/2.21/deploy/#yaml
    plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump_all(documents))
    for name in PROGRAMS:
        plane.kubectl("rollout", "status", f"deployment/{name}", "-n", NAMESPACE, "--timeout=120s")
    plane.kubectl("wait", "--for=condition=Available", "apiservice/v1beta1.external.metrics.k8s.io", "--timeout=60s")
