"""A real control plane with a real KEDA, as plain processes on addresses of their own.

etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy, CoreDNS, KEDA's operator and metrics adapter
run from the binaries of build.sh, inside the namespaces that `isolated` makes. There is no node: pods stay pending,
unless tests/cluster/node has some.
"""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.cluster.users import mapped

HOST = "10.200.0.1"  # on `lo`; the API server takes no loopback addresses in EndpointSlices
SERVICES = "10.201.0.0/24"
START_SECONDS = 90.0
KEDA_USER = 1000
"""KEDA's processes run as a user of their own, as in its image, where the test bed has users: their connections can be told apart."""
# What is the test bed's own they may read.
_AS_KEDA_USER = (
    *("setpriv", f"--reuid={KEDA_USER}", f"--regid={KEDA_USER}", "--clear-groups"),
    *("--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
)

# Each write of a ServiceAccount, once it is answered: who wrote what is told apart by nothing else.
AUDIT = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts:hearth-system"]
  verbs: [create, update, patch, delete, deletecollection]
- level: None
"""

# What a cluster's DNS is asked for, and nothing else.
COREFILE = """
cluster.local:53 {
  errors
  ready 127.0.0.1:8181
  kubernetes cluster.local {
    kubeconfig %s
    ttl 1
  }
}
"""

METRICS_API = """
apiVersion: v1
kind: Service
metadata: {name: keda-metrics-apiserver, namespace: keda}
spec: {ports: [{name: https, port: 443, targetPort: 6444}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: keda-metrics-apiserver
  namespace: keda
  labels: {kubernetes.io/service-name: keda-metrics-apiserver}
addressType: IPv4
ports: [{name: https, port: 6444, protocol: TCP}]
endpoints: [{addresses: [%s], conditions: {ready: true}}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.external.metrics.k8s.io}
spec:
  service: {name: keda-metrics-apiserver, namespace: keda, port: 443}
  group: external.metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
"""


class CommandFailed(Exception):
    """A command of the test bed failed; the text has what it wrote."""


def run(*command: str, stdin: str | None = None, env: dict[str, str] | None = None) -> str:
    """Standard output of a command. Raises CommandFailed."""
    made = subprocess.run(command, input=stdin, env=env, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise CommandFailed(f"{' '.join(command[:4])} … exited with {made.returncode}:\n{made.stdout}{made.stderr}")
    return made.stdout


@dataclass
class ControlPlane:
    """`binaries` as build.sh leaves them; `state` is an empty folder."""

    binaries: Path
    state: Path
    _processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    _kept: set[str] = field(default_factory=set)  # those that start again where they end

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the cluster's admin. Raises CommandFailed."""
        env = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        return run(str(self.binaries / "kubectl"), *arguments, stdin=stdin, env=env)

    def start(self) -> None:
        """Start everything but KEDA, and wait until it is ready. Raises CommandFailed, TimeoutError."""
        run("ip", "link", "set", "lo", "up")
        run("ip", "address", "replace", f"{HOST}/32", "dev", "lo")
        # Services' addresses need a route for a packet to come to where kube-proxy's rules turn it.
        run("ip", "route", "replace", SERVICES, "dev", "lo", "src", HOST)
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        self._make_certificates()
        self._write_kubeconfig()
        (self.state / "audit.yaml").write_text(AUDIT)
        pki = self.state / "pki"
        self.start_etcd()
        self.start_apiserver()
        self._spawn(
            *["kube-controller-manager", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false"],
            *[f"--service-account-private-key-file={pki}/sa.key", f"--root-ca-file={pki}/ca.crt"],
            "--use-service-account-credentials=true",
        )
        self._spawn("kube-scheduler", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false")
        (self.state / "Corefile").write_text(COREFILE % self.kubeconfig)
        self._spawn("coredns", f"-conf={self.state}/Corefile")
        self._until(lambda: httpx.get("http://127.0.0.1:8181/ready", trust_env=False).raise_for_status())

    def install_keda(self) -> None:
        """As processes of the test bed; wait until KEDA's metrics are served. Raises CommandFailed, TimeoutError."""
        self.kubectl("create", "namespace", "keda")
        self.kubectl("apply", "--server-side", "-f", str(self.binaries / "keda-crds"))
        self.kubectl("apply", "-f", "-", stdin=METRICS_API % HOST)
        self.start_keda()
        self._until(lambda: self.kubectl("get", "--raw=/apis/external.metrics.k8s.io/v1beta1"))

    def start_etcd(self) -> None:
        """Start etcd; the API server waits for it."""
        self._spawn(
            *["etcd", "--data-dir", str(self.state / "etcd"), "--unsafe-no-fsync"],
            *["--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379"],
            "--listen-peer-urls=http://127.0.0.1:2380",
        )

    def start_apiserver(self) -> None:
        """Start the API server, and wait until it is ready."""
        pki = self.state / "pki"
        self._spawn(
            *["kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", "--secure-port=6443"],
            *[f"--advertise-address={HOST}", f"--service-cluster-ip-range={SERVICES}"],
            *[f"--tls-cert-file={pki}/apiserver.crt", f"--tls-private-key-file={pki}/apiserver.key"],
            *[f"--client-ca-file={pki}/ca.crt", "--authorization-mode=Node,RBAC"],
            # For `kubectl logs` and `exec`; and a kubelet may change what is of its own node alone.
            *[f"--kubelet-client-certificate={pki}/admin.crt", f"--kubelet-client-key={pki}/admin.key"],
            *["--kubelet-preferred-address-types=InternalIP", "--enable-admission-plugins=NodeRestriction"],
            *[f"--service-account-key-file={pki}/sa.key", f"--service-account-signing-key-file={pki}/sa.key"],
            "--service-account-issuer=https://kubernetes.default.svc",
            *["--enable-aggregator-routing=true", f"--requestheader-client-ca-file={pki}/front-ca.crt"],
            *["--requestheader-allowed-names=front", "--requestheader-username-headers=X-Remote-User"],
            *["--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-"],
            *[f"--proxy-client-cert-file={pki}/front.crt", f"--proxy-client-key-file={pki}/front.key"],
            *[f"--audit-policy-file={self.state}/audit.yaml", f"--audit-log-path={self.state}/audit.log"],
        )
        self._until(lambda: self.kubectl("get", "--raw=/readyz"))

    def start_keda(self) -> None:
        """Start KEDA's operator and metrics adapter, and wait until the operator is ready."""
        certs = self.state / "certs"
        namespaces = {"WATCH_NAMESPACE": "", "POD_NAMESPACE": "keda", "KEDA_CLUSTER_OBJECT_NAMESPACE": "keda"}
        self._keep(
            *["keda-operator", f"--cert-dir={certs}", "--metrics-bind-address=127.0.0.1:8090"],
            *["--health-probe-bind-address=127.0.0.1:8091", "--metrics-service-bind-address=127.0.0.1:9666"],
            *["--enable-apiservice-patching=false", "--enable-webhook-patching=false"],
            # As docs/install.md advises: by default KEDA's client waits after 20 requests a second.
            *["--kube-api-qps=100", "--kube-api-burst=200"],
            "--leader-elect",  # as its manifests and its chart run it
            **namespaces,
            # A successor of one that was killed does not wait for 15 s here.
            KEDA_OPERATOR_LEADER_ELECTION_LEASE_DURATION="3s",
            KEDA_OPERATOR_LEADER_ELECTION_RENEW_DEADLINE="2s",
            KEDA_OPERATOR_LEADER_ELECTION_RETRY_PERIOD="500ms",
        )
        self._keep(
            *["keda-adapter", "--secure-port=6444", "--port=8092", f"--client-ca-file={certs}/ca.crt"],
            *[f"--cert-dir={certs}", f"--tls-cert-file={certs}/tls.crt", f"--tls-private-key-file={certs}/tls.key"],
            *["--metrics-service-address=127.0.0.1:9666"],
            "--metrics-service-grpc-authority=keda-operator.keda.svc.cluster.local",
            *[f"--{use}kubeconfig={self.kubeconfig}" for use in ("", "lister-", "authentication-", "authorization-")],
            **namespaces,
        )
        self._until(lambda: httpx.get("http://127.0.0.1:8091/readyz", trust_env=False).raise_for_status())

    def start_proxy(self, node: str) -> None:
        """Start kube-proxy for a node that there is: Services' addresses lead to pods from here on."""
        self._spawn(
            *["kube-proxy", f"--kubeconfig={self.kubeconfig}", "--proxy-mode=nftables", f"--hostname-override={node}"],
            # Its sysctls are the machine's, not the namespace's.
            *[
                f"--conntrack-{limit}=0"
                for limit in ("max-per-core", "tcp-timeout-established", "tcp-timeout-close-wait")
            ],
        )
        self._until(lambda: httpx.get("http://127.0.0.1:10256/healthz", trust_env=False).raise_for_status())

    def kubeconfig_of(self, namespace: str, account: str) -> Path:
        """A kubeconfig with a ServiceAccount's token, good for an hour."""
        document = yaml.safe_load(self.kubeconfig.read_text())
        token = self.kubectl("create", "token", account, "-n", namespace, "--duration=1h").strip()
        document["users"] = [{"name": "admin", "user": {"token": token}}]
        made = self.state / f"kubeconfig-{account}"
        made.write_text(yaml.safe_dump(document))
        return made

    def writes_of(self, account: str) -> list[str]:
        """Each write of one of Hearth's ServiceAccounts until now: VERB RESOURCE[/SUBRESOURCE] NAMESPACE/NAME."""
        written = []
        for line in (self.state / "audit.log").read_text().splitlines():
            told = json.loads(line)
            tried = "dryRun=All" in told["requestURI"]
            if told["user"]["username"] == f"system:serviceaccount:hearth-system:{account}" and not tried:
                about = told["objectRef"]
                what = "/".join(filter(None, (about["resource"], about.get("subresource"))))
                written.append(f"{told['verb']} {what} {about.get('namespace', '')}/{about.get('name', '')}")
        return written

    def cpu_seconds(self) -> dict[str, float]:
        """What each process has used of a core until now, by its name. See proc(5), /proc/[pid]/stat."""
        used = {}
        for name, process in self._processes.items():
            after_its_name = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            used[name] = sum(map(int, after_its_name[11:13])) / os.sysconf("SC_CLK_TCK")
        return used

    def certificate(self, name: str, subject: str, names: str = "", authority: str = "ca") -> tuple[Path, Path]:
        """(key, certificate) signed by one of the cluster's authorities; `names` are its alternative ones."""
        pki = self.state / "pki"
        made = (pki / f"{name}.key", pki / f"{name}.crt")
        run(
            *["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", subject],
            *["-CA", str(pki / f"{authority}.crt"), "-CAkey", str(pki / f"{authority}.key")],
            *["-addext", f"subjectAltName={names or f'DNS:{name}'}", "-addext", "basicConstraints=critical,CA:FALSE"],
            *["-keyout", str(made[0]), "-out", str(made[1])],
        )
        return made

    def kill(self, name: str) -> None:
        """End one of the processes as a lost node would; it is not started again."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send one of the processes a signal; one of KEDA's that ends by it is started again."""
        self._processes[name].send_signal(number)

    def stop(self) -> None:
        """End every process, the last started first."""
        for name in reversed(list(self._processes)):
            self.kill(name)

    def log(self, name: str, lines: int = 30) -> str:
        """The end of a process' log."""
        return "\n".join((self.state / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])

    def _keep(self, name: str, *arguments: str, **env: str) -> None:
        """Start a process, and start it again where it ends by itself, as its pod's kubelet would: one that leads ends
        when it can't renew its Lease."""
        self._spawn(name, *arguments, **env)
        self._kept.add(name)
        process = self._processes[name]

        def start_again() -> None:
            nonlocal process
            while True:
                process.wait()
                time.sleep(0.5)  # one that ends at once is not started in a circle
                if self._processes.get(name) is not process:
                    return  # it was killed
                self._spawn(name, *arguments, **env)
                process = self._processes[name]

        threading.Thread(target=start_again, daemon=True).start()

    def _spawn(self, name: str, *arguments: str, **env: str) -> None:
        user = _AS_KEDA_USER if name.startswith("keda-") and os.getuid() == 0 and mapped(KEDA_USER) else ()
        with (self.state / f"{name}.log").open("ab") as output:
            self._processes[name] = subprocess.Popen(
                [*user, str(self.binaries / name), *arguments],
                env={**os.environ, "KUBECONFIG": str(self.kubeconfig), **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def _until(self, probe: Callable[[], object]) -> None:
        """Ask until there is no error. Raises TimeoutError with the log of a process that ended, or the last error."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                probe()
            except (CommandFailed, httpx.HTTPError) as error:
                for name, process in self._processes.items():
                    if process.poll() is not None and name not in self._kept:
                        raise TimeoutError(f"{name} ended:\n{self.log(name)}") from error
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not ready in {START_SECONDS:g} s: {error}") from error
                time.sleep(0.2)  # a server that is not there yet has no event to wait for
            else:
                return

    def _make_certificates(self) -> None:
        pki, certs = self.state / "pki", self.state / "certs"
        for folder in (pki, certs):
            folder.mkdir()
        for name in ("ca", "front-ca"):
            run(
                *["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}"],
                *["-keyout", str(pki / f"{name}.key"), "-out", str(pki / f"{name}.crt")],
            )
        keda = "DNS:keda-operator.keda.svc.cluster.local,DNS:keda-metrics-apiserver.keda.svc"
        api = "DNS:localhost,DNS:kubernetes.default.svc,IP:10.201.0.1"
        addresses = f"IP:127.0.0.1,IP:{HOST}"
        for name, authority, subject, names in (
            ("apiserver", "ca", "/CN=kube-apiserver", f"{api},{addresses}"),
            ("front", "front-ca", "/CN=front", ""),
            ("admin", "ca", "/O=system:masters/CN=admin", ""),
            ("keda", "ca", "/CN=keda-operator", f"{keda},DNS:localhost,{addresses}"),
        ):
            self.certificate(name, subject, names, authority)
        run("openssl", "genrsa", "-out", str(pki / "sa.key"), "2048")
        for source, target in (("ca.crt", "ca.crt"), ("keda.crt", "tls.crt"), ("keda.key", "tls.key")):
            (certs / target).write_bytes((pki / source).read_bytes())

    def _write_kubeconfig(self) -> None:
        pki = self.state / "pki"
        cluster = {"server": "https://127.0.0.1:6443", "certificate-authority": str(pki / "ca.crt")}
        user = {"client-certificate": str(pki / "admin.crt"), "client-key": str(pki / "admin.key")}
        document: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "e2e", "cluster": cluster}],
            "users": [{"name": "admin", "user": user}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "admin"}}],
            "current-context": "e2e",
        }
        self.kubeconfig.write_text(yaml.safe_dump(document))


@contextlib.contextmanager
def running(binaries: Path, state: Path, *, keda: bool = True) -> Iterator[ControlPlane]:
    """A started control plane, with KEDA or without; every process is gone when the context is left."""
    plane = ControlPlane(binaries, state)
    try:
        plane.start()
        if keda:
            plane.install_keda()
        yield plane
    finally:
        plane.stop()
