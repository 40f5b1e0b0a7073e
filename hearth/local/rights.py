"""The rights that deploy/ gives to the roles: the same file, so that a missing right is missing here too."""

from pathlib import Path
from typing import Any

import yaml


def rights() -> list[dict[str, Any]]:
    """The accounts, roles and bindings of deploy/base/rbac.yaml."""
    package = Path(__file__).parent.parent
    # In a wheel the file lies in the package, in a checkout beside it.
    places = (package / "deploy" / "rbac.yaml", package.parent / "deploy" / "base" / "rbac.yaml")
    path = next(path for path in places if path.is_file())
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    return documents
