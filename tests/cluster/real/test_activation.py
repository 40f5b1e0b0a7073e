"""The figures of a cold start where a kubelet runs everything: the roles' pods, and the engines'."""

import pytest

from benchmarks.figures import Figure, percentiles, write
from tests.builders import ROOT
from tests.cluster.e2e.activations import activations
from tests.cluster.real.deployed import Deployed

COLD_STARTS = 20


@pytest.mark.timeout(900)
async def test_a_cold_request_sets_the_replicas_soon(hearth: Deployed) -> None:
    """Measured and written to build/nodes.json; how fast it was is the machine's."""
    figures: list[Figure] = percentiles("nodes_activation", await activations(hearth.cluster, COLD_STARTS), "")
    write(figures, ROOT / "build" / "nodes.json")
    print(*(f"{figure.name} = {figure.value:.1f}" for figure in figures))
