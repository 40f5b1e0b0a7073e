import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def installed() -> Path:
    """The folder of the clients that can't share Hearth's own environment."""
    folder = os.environ.get("HEARTH_CLIENTS")
    if folder is None:
        pytest.fail(
            "HEARTH_CLIENTS is not set: run this by `make e2e`, or set it to what tests/clients/install.sh prints"
        )
    return Path(folder)
