import pytest
from hypothesis import settings

# Machines differ in speed; what a property must do is hold, not hurry.
settings.register_profile("hearth", deadline=None)
settings.load_profile("hearth")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))
