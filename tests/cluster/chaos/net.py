"""Faults of the network between pods, KEDA and the control plane: nothing passes, some of it is lost, or it comes late.

netem is not in every kernel. What is dropped, nftables drops; what is late waits in a queue of netfilter's that delay.py empties. A
pod is cut off from everybody but its node: the kubelet's probes stay on the node. Connections of KEDA's are known by its user.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence

from tests.builders import ROOT
from tests.cluster.controlplane import HOST, KEDA_USER, run

KEDA_MARK = 7
_CLIENTS, _APISERVER, _DNS, _ETCD = 8080, 6443, 53, 2379
QUEUE = 1

_MARKS = f"""
table inet chaos-marks {{
  chain output {{ type filter hook output priority -160; meta skuid {KEDA_USER} ct mark set {KEDA_MARK}; }}
}}
"""


@contextlib.contextmanager
def marks() -> Iterator[None]:
    """While it is open, KEDA's connections are known."""
    run("nft", "-f", "-", stdin=_MARKS)
    try:
        yield
    finally:
        run("nft", "delete", "table", "inet", "chaos-marks")


def of_pod(address: str) -> dict[str, list[str]]:
    """By hook, what of the traffic is a pod's with others, without its node's probes."""
    there = [f"tcp dport {_CLIENTS}", f"tcp sport {_APISERVER}", f"udp sport {_DNS}", f"ct mark {KEDA_MARK}"]
    back = [f"tcp sport {_CLIENTS}", f"tcp dport {_APISERVER}", f"udp dport {_DNS}", f"ct mark {KEDA_MARK}"]
    return {
        "forward": [f"ip saddr {address}", f"ip daddr {address}"],
        "output": [f"ip daddr {address} {rest}" for rest in there],
        "input": [f"ip saddr {address} {rest}" for rest in back],
    }


def of_keda() -> dict[str, list[str]]:
    """What KEDA says, and what it is told."""
    return {"output": [f"meta skuid {KEDA_USER}"], "input": [f"ct mark {KEDA_MARK}"]}


def of_port(part: str) -> dict[str, list[str]]:
    """All traffic of the API server or of etcd; on `lo` each packet passes both hooks."""
    port = {"kube-apiserver": _APISERVER, "etcd": _ETCD}[part]
    return {"input": [f"tcp dport {port}", f"tcp sport {port}"]}


def of_pods_with_apiserver() -> dict[str, list[str]]:
    """What pods and KEDA say to the API server and hear of it; the test bed itself still reaches it."""
    return {
        "input": [f"ip saddr != {HOST} ip saddr != 127.0.0.1 tcp dport {_APISERVER}"],
        "output": [f"ip daddr != {HOST} ip daddr != 127.0.0.1 tcp sport {_APISERVER}"],
    }


@contextlib.contextmanager
def dropped(matches: Sequence[dict[str, list[str]]], percent: int = 100) -> Iterator[None]:
    """Drop this share of the packets."""
    share = "" if percent == 100 else f"numgen random mod 100 < {percent} "
    chains = [
        f"chain {hook} {{ type filter hook {hook} priority -5;\n"
        + "".join(f"{match} {share}drop;\n" for found in matches for match in found.get(hook, ()))
        + "}"
        for hook in ("input", "output", "forward")
    ]
    run("nft", "-f", "-", stdin="table inet chaos {\n" + "\n".join(chains) + "\n}\n")
    try:
        yield
    finally:
        run("nft", "delete", "table", "inet", "chaos")


@contextlib.contextmanager
def delayed(matches: Sequence[dict[str, list[str]]], seconds: float) -> Iterator[None]:
    """Let each packet wait. Raises CommandFailed where the kernel has no queue for packets."""
    waiting = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.chaos.delay", str(QUEUE), str(seconds)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    done: list[tuple[str, ...]] = []
    try:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == b"ready\n", "nothing empties the queue"
        for found in matches:
            for hook, rules in found.items():
                for rule in rules:
                    words = (hook.upper(), *_iptables(rule), "-j", "NFQUEUE", "--queue-num", str(QUEUE))
                    run("iptables", "-t", "mangle", "-A", *words)
                    done.append(words)
        yield
    finally:
        for words in done:
            run("iptables", "-t", "mangle", "-D", *words)
        waiting.terminate()
        waiting.communicate()  # its output is closed too


def _iptables(match: str) -> list[str]:
    """A match of nftables' in iptables' words: of queues, kernels have only the latter's."""
    words: list[str] = []
    rest = match.split()
    while rest:
        match rest[:2]:
            case ["ip", "saddr"]:
                words += ["-s", rest[2]]
            case ["ip", "daddr"]:
                words += ["-d", rest[2]]
            case [("tcp" | "udp") as protocol, ("dport" | "sport") as port]:
                words += ["-p", protocol, f"--{port}", rest[2]]
            case ["ct", "mark"]:
                words += ["-m", "connmark", "--mark", rest[2]]
            case ["meta", "skuid"]:
                words += ["-m", "owner", "--uid-owner", rest[2]]
            case _:
                raise ValueError(f"{match!r}: not known in iptables' words")
        rest = rest[3:]
    return words
