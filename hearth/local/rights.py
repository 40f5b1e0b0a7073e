"""What deploy/ gives to the roles and to KEDA: the same files, so that what is missing there is missing here too."""

from pathlib import Path
from typing import Any

import yaml


def rights() -> list[dict[str, Any]]:
    """The accounts, roles and bindings of deploy/base and deploy/keda."""
    return [*_documents("base", "rbac.yaml"), *_documents("keda", "rbac.yaml")]


def authentication() -> dict[str, Any]:
    """The ClusterTriggerAuthentication by which KEDA has its certificate."""
    (document,) = _documents("keda", "authentication.yaml")
    return document


def _documents(folder: str, name: str) -> list[dict[str, Any]]:
    package = Path(__file__).parent.parent
    # In a wheel the files lie in the package, in a checkout beside it.
    places = [deploy / folder / name for deploy in (package / "deploy", package.parent / "deploy")]
    path = next(path for path in places if path.is_file())
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    return documents
