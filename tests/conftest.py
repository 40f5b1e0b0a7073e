from pathlib import Path

import pytest
from hypothesis import settings

HERE = Path(__file__).parent

# Machines differ in speed; what a property must do is hold, not hurry.
settings.register_profile("hearth", deadline=None)
settings.load_profile("hearth")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What shares a test bed stays on one worker: `--dist loadgroup` runs tests/cluster beside tests/clients, one by one each."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(item.path.relative_to(HERE).parts[0]))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))
