import os
import shutil
import subprocess
import sys

import pytest

from tests.builders import ROOT
from tests.local.roles import PATIENCE

ONLY_IPV6 = 'ip link set lo up && ip address del 127.0.0.1/8 dev lo && exec "$@"'


def own_network() -> list[str]:
    """What runs a command in a network namespace of its own, whoever we are."""
    return ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]


@pytest.mark.skipif(
    not (shutil.which("unshare") and shutil.which("ip"))
    or subprocess.run([*own_network(), "true"], check=False, capture_output=True).returncode != 0,
    reason="needs a network namespace of its own (Linux, unshare, iproute2)",
)
def test_everything_runs_where_there_is_no_ipv4() -> None:
    command = [*own_network(), "bash", "-c", ONLY_IPV6, "bash", sys.executable, "-m", "tests.local.ipv6"]
    ran = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=3 * PATIENCE)
    assert ran.returncode == 0, ran.stdout + ran.stderr
