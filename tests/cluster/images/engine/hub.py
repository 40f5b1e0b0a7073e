"""What the simulated image has in place of huggingface_hub and modelscope: a download without a hub."""

import os
from pathlib import Path

_BYTES = 1 << 20


def snapshot_download(model: str, revision: str | None = None) -> str:
    """Write something that stands for a model's weights where the real client would; returns the folder."""
    hub = "HF_HOME" if __name__ == "huggingface_hub" else "MODELSCOPE_CACHE"
    folder = Path(os.environ[hub]) / "hub" / f"models--{model.replace('/', '--')}" / "snapshots" / (revision or "main")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(bytes(_BYTES))
    return str(folder)
