"""The Helm chart in deploy/chart, from the manifests in deploy/base and deploy/crds: the two can't differ.

What users set is taken out of the manifests and becomes the chart's values, with the manifests' own figures as their
defaults. Everything else is copied as it is.
"""

import json
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]

NAMESPACE = "hearth-system"
ROLES = ("controller", "activator", "scaler")
_CLUSTER_SCOPED = ("ClusterRole", "ClusterRoleBinding")
_HEAD = "# Generated from deploy/base by `make generate`.\n"


def chart_files(deploy: Path, version: str) -> dict[str, str]:
    """The chart's files, by path; `deploy` is the folder that has base/ and crds/."""
    values: Document = {"image": _image(deploy)}
    files: dict[str, str] = {}
    for source in sorted((deploy / "base").glob("*.yaml")):
        if source.name in ("kustomization.yaml", "namespace.yaml"):
            continue  # Helm installs into a namespace that it is given
        documents = [_templated(document, values) for document in yaml.safe_load_all(source.read_text())]
        text = yaml.safe_dump_all(documents, sort_keys=False, width=1000)
        files[f"templates/{source.name}"] = _HEAD + _expressions(text)
    for crd in sorted((deploy / "crds").glob("*.yaml")):
        files[f"crds/{crd.name}"] = crd.read_text()
    files["Chart.yaml"] = _HEAD + yaml.safe_dump(
        {
            "apiVersion": "v2",
            "name": "hearth",
            "description": "Private LLMs on Kubernetes at zero idle cost",
            "type": "application",
            "version": version,
            "appVersion": version,
            "kubeVersion": ">=1.31.0-0",
        },
        sort_keys=False,
    )
    files["values.yaml"] = _HEAD + yaml.safe_dump(values, sort_keys=False)
    files["values.schema.json"] = json.dumps(_schema(), indent=2) + "\n"
    return files


def _image(deploy: Path) -> Document:
    (image,) = yaml.safe_load((deploy / "kustomization.yaml").read_text())["images"]
    return {"repository": image["newName"], "tag": image["newTag"]}


def _templated(document: Document, values: Document) -> Document:
    if document["kind"] not in _CLUSTER_SCOPED:
        document["metadata"]["namespace"] = NAMESPACE
    if document["kind"] == "Deployment":
        spec = document["spec"]
        (container,) = spec["template"]["spec"]["containers"]
        role = container["name"]
        values[role] = {"replicas": spec["replicas"], "resources": container["resources"]}
        spec["replicas"] = f"VALUE__{role}.replicas__"
        container["resources"] = f"VALUE__{role}.resources__"
        container["image"] = "VALUE__image__"
    return document


def _expressions(text: str) -> str:
    text = text.replace(NAMESPACE, "{{ .Release.Namespace }}")
    text = text.replace("VALUE__image__", '"{{ .Values.image.repository }}:{{ .Values.image.tag }}"')
    for role in ROLES:
        text = text.replace(f"VALUE__{role}.replicas__", f"{{{{ .Values.{role}.replicas }}}}")
        text = text.replace(f"VALUE__{role}.resources__", f"{{{{ toJson .Values.{role}.resources }}}}")
    return text


def _schema() -> Document:
    """A value with a wrong name or type is refused by helm itself."""
    text = {"type": "string", "minLength": 1}
    role = _object({"replicas": {"type": "integer", "minimum": 0}, "resources": {"type": "object"}})
    image = _object({"repository": text, "tag": text})
    # What helm itself adds for charts that are parts of others.
    also = {"global": {"type": "object"}}
    top = _object({"image": image, **dict.fromkeys(ROLES, role), **also})
    return {"$schema": "http://json-schema.org/draft-07/schema#", **top}


def _object(properties: Document) -> Document:
    return {"type": "object", "properties": properties, "additionalProperties": False}
