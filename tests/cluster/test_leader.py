"""Two controllers and one Lease, on a real API server: who takes over, and how soon."""

import json
import time
from collections.abc import Callable

from tests.cluster.installed import SYSTEM, Installed
from tests.cluster.kubectl import NAMESPACE, Cluster

LEASE = ("--lease", f"{SYSTEM}/hearth-controller", "--scaler-address", "127.0.0.1:9")


def holder(cluster: Cluster) -> str:
    text = cluster.plane.kubectl("get", "lease", "hearth-controller", "-n", SYSTEM, "-o", "json", "--ignore-not-found")
    return str(json.loads(text)["spec"].get("holderIdentity") or "") if text else ""


def taken_over(cluster: Cluster, before: str) -> Callable[[], bool]:
    return lambda: holder(cluster) not in ("", before)


def test_a_killed_leader_is_followed_when_its_lease_ends_and_one_that_stops_sooner(installed: Installed) -> None:
    cluster = Cluster(installed.plane)
    with installed.role("controller", *LEASE, "--identity", "second") as second:
        cluster.until(lambda: holder(cluster) == "second", "the first to come leads")
        with installed.role("controller", *LEASE, "--identity", "third"):
            cluster.apply(name="one")
            cluster.until(lambda: cluster.get("deployment", "one"), "the leader works")
            began = time.monotonic()
            second.terminate()
            assert second.wait(10) == 0
            cluster.until(taken_over(cluster, "second"), "the other one leads")
            handed = time.monotonic() - began
            cluster.apply(name="two")
            cluster.until(lambda: cluster.get("deployment", "two"), "and works")
    assert holder(cluster) == "", "given back"
    with installed.killed("controller", *LEASE, "--identity", "fourth") as fourth:
        cluster.until(lambda: holder(cluster) == "fourth", "a lonely one leads")
        with installed.role("controller", *LEASE, "--identity", "fifth"):
            began = time.monotonic()
            fourth.kill()
            cluster.until(taken_over(cluster, "fourth"), "the survivor leads")
            followed = time.monotonic() - began
    print(f"handed over in {handed:.1f} s, followed a killed one in {followed:.1f} s")
    # A Lease of 10 s, asked for each second: who waits for it must, who is given it need not.
    assert followed > 5
    assert handed < followed
    assert cluster.plane.kubectl("get", "llmservice", "-n", NAMESPACE, "-o", "name").count("/") == 2
