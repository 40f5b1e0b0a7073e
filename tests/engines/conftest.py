import os
from pathlib import Path

import pytest

from tests.engines.serving import Mounted


@pytest.fixture(scope="session")
def llamacpp() -> Mounted:
    """llama.cpp's server and its model, as `make up ENGINE=llamacpp` has them."""
    folder = os.environ.get("HEARTH_LLAMACPP")
    assert folder, "HEARTH_LLAMACPP: found nothing; it is the folder that tools/llamacpp/build.sh prints: use make e2e"
    return Mounted({"/app": folder}, {"smollm2-cache-cpu": str(Path(folder) / "models")})
