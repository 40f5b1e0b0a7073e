from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

# Machines differ in speed; what a property must do is hold, not hurry.
settings.register_profile("hearth", deadline=None)
settings.load_profile("hearth")


class _TestBeds(LoadScopeScheduling):  # type: ignore[misc]
    """`--dist loadscope`: what shares a test bed stays on one worker, one after the other; tests/cluster runs beside
    tests/clients."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.split("/")[1]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _TestBeds | None:
    """https://pytest-xdist.readthedocs.io/en/stable/distribution.html; the other distributions are xdist's own."""
    return _TestBeds(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))
