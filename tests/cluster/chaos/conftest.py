import logging
import os
import traceback
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.cluster.chaos.besides import CASES, FEW_CASES
from tests.cluster.chaos.loads import Pace
from tests.cluster.chaos.net import marks
from tests.cluster.chaos.table import FEW, STRIKES
from tests.cluster.chaos.world import World
from tests.cluster.controlplane import ControlPlane
from tests.cluster.deployed import Deployed, deployed
from tests.cluster.e2e.conversation import new_client

WHOLE = bool(os.environ.get("HEARTH_CHAOS"))
"""`make chaos`, which says so; else `make e2e`, which has a few."""
collect_ignore = [] if WHOLE else ["test_soak.py", "test_size.py"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All strikes and cases, or a few."""
    if "strike" in metafunc.fixturenames:
        metafunc.parametrize("strike", STRIKES if WHOLE else FEW, ids=str)
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", CASES if WHOLE else FEW_CASES, ids=str)


def pytest_exception_interact(node: pytest.Item, call: pytest.CallInfo[Any]) -> None:
    """A suite of an hour tells at once what was broken (with `-o log_cli=true`)."""
    if call.excinfo is not None:
        told = "".join(traceback.format_exception(call.excinfo.value))
        logging.getLogger(__name__).error("%s: %s", node.name, told[-3000:])


@pytest.fixture(scope="package")
def hearth(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """One installation for all strikes."""
    with deployed(plane, tmp_path_factory.mktemp("nodes")) as made, marks():
        yield made


@pytest.fixture(scope="package")
def pace() -> Pace:
    """Of this machine, learned from strike to strike."""
    return Pace()


@pytest.fixture
async def world(hearth: Deployed) -> AsyncIterator[World]:
    async with new_client() as client:
        yield World(hearth, client)
