"""What the programs of a node are told: their configuration files, as text. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.controlplane import HOST

REGISTRY = f"{HOST}:5000"
SANDBOX_IMAGE = "local/pause:1"
KUBELET_PORT, HEALTH_PORT = 10250, 10248

CONTAINERD = """
version = 3
[plugins."io.containerd.cri.v1.images"]
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{sandbox}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{folder}/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true  # a machine may let nobody lower it
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{programs}"]
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = "{programs}/runc"
      SystemdCgroup = false
"""

# Every registry's host is served by the test bed's.
HOSTS = f"""
server = "http://{REGISTRY}"
[host."http://{REGISTRY}"]
  capabilities = ["pull", "resolve"]
"""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node: its number makes its addresses. `devices` are what its device plugin announces, by extended resource;
    `driver_files` are what a vendor's driver puts on it (paths without the leading slash)."""

    name: str
    number: int
    resource: str
    devices: int = 8
    driver_files: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        return f"10.200.0.{1 + self.number}"

    @property
    def pods(self) -> str:
        """The range of its pods' addresses."""
        return f"10.200.{self.number}.0/24"


NODES = (
    NodeSpec("gpu-1", 1, "nvidia.com/gpu"),
    NodeSpec("gpu-2", 2, "nvidia.com/gpu"),
    NodeSpec("npu-1", 3, "huawei.com/Ascend910", driver_files=("usr/local/bin/npu-smi", "etc/ascend_install.info")),
)


def files(node: NodeSpec, folder: Path, programs: Path) -> dict[str, str]:
    """The files of a node's folder that stay as they are, by path."""
    return {
        "containerd.toml": CONTAINERD.format(programs=programs, folder=folder, sandbox=SANDBOX_IMAGE),
        "certs.d/_default/hosts.toml": HOSTS,
        "cni/10-pods.conflist": network(node),
    }


def network(node: NodeSpec) -> str:
    """CNI: routed, not bridged. What one pod sends another passes the namespace where kube-proxy's rules are."""
    ipam = {"type": "host-local", "ranges": [[{"subnet": node.pods}]], "routes": [{"dst": "0.0.0.0/0"}]}
    plugins = [{"type": "ptp", "ipMasq": False, "ipam": ipam}]
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": plugins})


def kubelet(node: NodeSpec, cgroup: str, authority: str, more: Mapping[str, Any]) -> str:
    """KubeletConfiguration. `authority` is the file of who signs the API server's client certificate; `more` replaces
    what stands here."""
    return yaml.safe_dump(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": node.address,
            "port": KUBELET_PORT,
            "healthzBindAddress": node.address,
            "healthzPort": HEALTH_PORT,
            "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": authority}},
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cgroup}",
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            "failCgroupV1": False,
            "clusterDNS": [HOST],
            "clusterDomain": "cluster.local",
            "resolvConf": "",  # what pods ask is the cluster's DNS alone
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            # The disk is the machine's, and what else lies on it is not the node's to judge.
            "evictionHard": dict.fromkeys(
                ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available"), "0%"
            ),
            "imageGCHighThresholdPercent": 100,
            "seccompDefault": True,
            **more,
        }
    )


def meminfo(machine: str, gibibytes: int) -> str:
    """/proc/meminfo of a machine with so much memory; `machine` is the true one."""
    lines = machine.splitlines()
    told = {"MemTotal": gibibytes * 2**20, "MemFree": gibibytes * 2**20, "MemAvailable": gibibytes * 2**20}
    return "".join(
        f"{name}:{told[name]:>15} kB\n" if (name := line.partition(":")[0]) in told else f"{line}\n" for line in lines
    )
