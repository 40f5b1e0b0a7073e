"""The Helm chart in deploy/chart, from what is in deploy/base, monitoring, dashboards and crds: they can't differ.

What users set is taken out of the manifests and becomes the chart's values, with the manifests' own figures as their
defaults: with default values the chart is what `kubectl apply -k deploy/` applies. Everything else is copied as it is.

A marker stands in a document where an expression belongs, and is put in its place in the document's text:
- `SET__path` as a value: the value;
- `WITH__key__path` as a key: a field that is there where the value is not empty;
- `ELSE__key__path` as a key: a field whose list stands where the value is empty;
- `MORE__path` as a key or an item: what is added to the mapping or list that it is in;
- `GRACE__n`: the activator's grace and n seconds;
- `KEYSECRETS__`, `KEYSOFALL__`, `KEYREADER__`: flags about API keys; `ENGINECLIENTS__`: about who reaches engines;
- `SECURE__word` as an item: there unless tls.mode is off; `TLS__secure__plain`: one or the other;
- `VOLUMES__role`, `MOUNTS__role`: what the role's certificates, and its values, put there.
"""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from hearth.api.keys import DEFAULT_KEYS_SECRET
from tools.alerts import RUNBOOKS

Document = dict[str, Any]

NAMESPACE = "hearth-system"
ROLES = ("controller", "activator", "scaler")
_LOOKING_AFTER = ("controller", "activator")  # the LLMServices of all namespaces, or of some
_NAMESPACED_NAMES = re.compile(rf"hearth-({'|'.join((*ROLES, 'view', 'edit', 'engines'))})\b")
_ACCOUNT = "hearth-system/hearth-activator"
_CLUSTER_SCOPED = ("ClusterRole", "ClusterRoleBinding")
_HEAD = "# Generated from deploy/base by `make generate`.\n"
_NAME = '{{ include "hearth.name" $ }}'

_HELPERS = """{{- /* What every object's name begins with: `hearth`, unless an override says otherwise. */ -}}
{{- define "hearth.name" -}}
{{ .Values.fullnameOverride | default .Values.nameOverride | default "hearth" }}
{{- end }}
{{- define "hearth.image" -}}
{{- with .Values.image.registry | default (dig "imageRegistry" "" (.Values.global | default dict)) -}}
{{ . }}/
{{- end -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}
{{- end }}
{{- /* The release's pull secrets and those of all charts, whose items are names or {name: …}. */ -}}
{{- define "hearth.pullSecrets" -}}
{{- $secrets := list -}}
{{- range concat .Values.imagePullSecrets (dig "imagePullSecrets" list (.Values.global | default dict)) -}}
{{- if kindIs "string" . -}}
{{- $secrets = append $secrets (dict "name" .) -}}
{{- else -}}
{{- $secrets = append $secrets . -}}
{{- end -}}
{{- end -}}
{{ $secrets | uniq | toJson }}
{{- end }}
{{- /* What the role in .role has mounted: its certificates, and the volumes that its values name. */ -}}
{{- define "hearth.volumes" -}}
{{- $volumes := (get .root.Values .role).extraVolumes | default list -}}
{{- if and (ne .root.Values.tls.mode "off") (ne .role "controller") -}}
{{- $name := printf "%s-%s-tls" (include "hearth.name" .root) .role -}}
{{- $volumes = append $volumes (dict "name" "tls" "secret" (dict "secretName" $name)) -}}
{{- end -}}
{{- if eq .role "activator" -}}
{{- with .root.Values.activator.tlsSecretName -}}
{{- $volumes = append $volumes (dict "name" "clients-tls" "secret" (dict "secretName" .)) -}}
{{- end -}}
{{- end -}}
{{ $volumes | toJson }}
{{- end }}
{{- define "hearth.mounts" -}}
{{- $mounts := (get .root.Values .role).extraVolumeMounts | default list -}}
{{- if and (ne .root.Values.tls.mode "off") (ne .role "controller") -}}
{{- $mounts = append $mounts (dict "name" "tls" "mountPath" "/etc/hearth/tls" "readOnly" true) -}}
{{- end -}}
{{- if and (eq .role "activator") .root.Values.activator.tlsSecretName -}}
{{- $mounts = append $mounts (dict "name" "clients-tls" "mountPath" "/etc/hearth/clients-tls" "readOnly" true) -}}
{{- end -}}
{{ $mounts | toJson }}
{{- end }}
"""

_RUNTIMES = """{{- range .Values.runtimes }}
---
{{ $.Files.Get (printf "runtimes/%s.yaml" .) }}
{{- end }}
"""

_RULES = """{{- if .Values.prometheusRule.enabled }}
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {{ include "hearth.name" . }}
  namespace: {{ .Release.Namespace }}
  {{- with .Values.prometheusRule.labels }}
  labels: {{ toJson . }}
  {{- end }}
spec:
{{ .Files.Get "files/rules.yaml" | replace "RUNBOOKS" (.Values.prometheusRule.runbookUrl | trimSuffix "/") |
replace "SYSTEM" .Release.Namespace | indent 2 }}
{{- end }}
"""

_DASHBOARDS = """{{- if .Values.dashboards.enabled }}
{{- range $path, $_ := .Files.Glob "files/*.json" }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "hearth.name" $ }}-dashboard-{{ base $path | trimSuffix ".json" | trimPrefix "hearth-" }}
  namespace: {{ $.Release.Namespace }}
  {{- with $.Values.dashboards.labels }}
  labels: {{ toJson . }}
  {{- end }}
  {{- with $.Values.dashboards.annotations }}
  annotations: {{ toJson . }}
  {{- end }}
data:
  {{ base $path }}: {{ $.Files.Get $path | toJson }}
{{- end }}
{{- end }}
"""

_NOTES = """Hearth is in namespace {{ .Release.Namespace }}.

{{- if not (.Capabilities.APIVersions.Has "keda.sh/v1alpha1") }}
It needs KEDA, which this cluster has not: https://keda.sh/docs/latest/deploy/
{{- end }}
{{- if not .Values.runtimes }}
No InferenceRuntime was installed: `--set runtimes={nvidia-vllm}` installs a bundled one, or apply your own.
{{- end }}

Inside the cluster every model answers, by its name, at
http://{{ include "hearth.name" . }}-activator.{{ .Release.Namespace }}.svc/v1
A first model: kubectl create namespace ai-prod; kubectl apply -f examples/deepseek-v3-small.yaml
Whether all that Hearth needs is there: hearth doctor
"""

_SAID: dict[str, str] = {
    "image": "The image of all roles: registry/repository:tag. A digest, where given, takes the place of the tag.\n"
    "# global.imageRegistry and global.imagePullSecrets, which charts of charts set, are taken too.",
    "imagePullSecrets": "Secrets of the registry, such as [{name: registry}].",
    "nameOverride": "What names begin with in place of `hearth`; fullnameOverride says the same and wins.",
    "clusterDomain": "The domain of the cluster's Services; read from the controller's resolver where empty.",
    "namespaces": "Those whose LLMServices are looked after, with rights there alone; all where empty.",
    "apiKeySecrets": "Names of the Secrets, in any namespace, that activators may be let read for API keys.",
    "tls": "Who makes the certificates of activators, scalers and KEDA: controller, certManager, or off for plain\n"
    "# text, as where a mesh encrypts. kedaNamespace is where KEDA runs, and has its certificate.",
    "networkPolicy": "Who may reach which port of the roles; with `engines`, who may reach engines:\n"
    "# activators, and the pods of the namespaces in `from` (or NAMESPACE/NAME, the label app.kubernetes.io/name),\n"
    "# such as Prometheus', and no other pod.",
    "podMonitor": "For Prometheus' operator: it scrapes the roles, and with `engines` the engines too. labels are\n"
    "# what it selects by; kube-prometheus-stack selects by {release: THE NAME OF ITS RELEASE}.",
    "prometheusRule": "The alerts, for Prometheus' operator. runbookUrl is where the folder of the runbooks is read.",
    "dashboards": "ConfigMaps with Grafana's dashboards; labels are what its sidecar selects by.",
    "runtimes": "Bundled InferenceRuntimes to install, such as [nvidia-vllm].",
    "activator": "apiKeys is NAME or NAME/KEY of a Secret in the release's namespace, one of apiKeySecrets: its keys\n"
    "# open every LLMService that has none of its own; where it is empty, those need no key. tlsSecretName is a\n"
    "# Secret with tls.crt and tls.key, by which clients are served over TLS too, at port 443. extraArgs are any\n"
    "# flags of `hearth ROLE --help`, in each of the roles. graceSeconds is how long answers may go on when an\n"
    "# activator ends: its flag, its pods' grace period and the scaler's flag follow.",
}

_OWN_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/part-of", "app.kubernetes.io/component")
"""Of pods: what Services, policies and budgets select by."""
_OWN_FLAGS = (
    "^--(grace-seconds|activator-grace-seconds|api-keys|api-key-secret|activator-account|engine-client|tls|clients-tls)"
    "(=.*)?$"
)
"""Those that activator.graceSeconds, activator.apiKeys, apiKeySecrets, networkPolicy.engines, tls and
activator.tlsSecretName set."""
KEDA_NAMESPACE = "keda"
_NAMED = "kubernetes.io/metadata.name"
"""A label that each namespace has: its name."""
_SCALER = "--scaler-address=hearth-scaler.hearth-system.svc"
_SECURE = ("--demand-listen=[::]:9443", "--tls=/etc/hearth/tls", "--listen=[::]:9443")
"""Arguments that are there unless plain text is spoken."""
_EITHER = {
    f"{_SCALER}:9443": f"{_SCALER}:TLS__9443__9090",
    "--tls=controller": "--tls=MODE__",
    "--keda-certificate=keda/hearth-keda-tls": "--keda-certificate=KEDANAMESPACE__/hearth-keda-tls",
}
"""Arguments that follow `tls`."""
_PORTS = {
    "demand-tls": {"name": "SECUREPORT__demand-tls", "containerPort": 9443},
    "grpc-tls": {"name": "TLS__grpc-tls__grpc", "containerPort": "TLS__9443__9090"},
}
_HTTPS = {
    "CLIENTSTLS__": ("- --clients-tls=/etc/hearth/clients-tls",),
    "HTTPSPORT__": ("- name: https", "  containerPort: 8443"),
    "HTTPSSERVICE__": ("- name: https", "  port: 443", "  targetPort: https"),
}
"""What is there where clients are served over TLS."""
_OBJECT_NAME = "^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
_PODS = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(/[a-zA-Z0-9]([-_.a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)?$"
"""NAMESPACE or NAMESPACE/NAME: a name of a namespace, and a label's value."""
_BEYOND_GRACE = 30
"""Seconds of an activator's grace period beside its --grace-seconds: --drain-delay-seconds, and its own end."""


def chart_files(deploy: Path, runtimes: Path, version: str) -> dict[str, str]:
    """The chart's files, by path; `deploy` is the folder that has base/, monitoring/,
    dashboards/ and crds/."""
    values: Document = {
        "image": _image(deploy),
        "imagePullSecrets": [],
        "nameOverride": "",
        "fullnameOverride": "",
        "clusterDomain": "",
        "namespaces": [],
        "apiKeySecrets": [DEFAULT_KEYS_SECRET],
        "tls": {"mode": "controller", "kedaNamespace": KEDA_NAMESPACE},
        "networkPolicy": {"enabled": True, "engines": {"enabled": True, "from": ["monitoring"]}},
        "podMonitor": {"enabled": False, "engines": True, "labels": {}},
        "prometheusRule": {"enabled": False, "labels": {}, "runbookUrl": RUNBOOKS},
        "dashboards": {"enabled": False, "labels": {"grafana_dashboard": "1"}, "annotations": {}},
        "runtimes": [],
    }
    files: dict[str, str] = {}
    for source in sorted((deploy / "base").glob("*.yaml")):
        if source.name in ("kustomization.yaml", "namespace.yaml"):
            continue  # Helm installs into a namespace that it is given
        documents = [_template(document, values) for document in yaml.safe_load_all(source.read_text())]
        files[f"templates/{source.name}"] = _HEAD + "".join(documents)
    for source in sorted(path for path in (deploy / "keda").glob("*.yaml") if path.name != "kustomization.yaml"):
        documents = [_keda(document) for document in yaml.safe_load_all(source.read_text())]
        files[f"templates/keda-{source.name}"] = _HEAD + "".join(documents)
    certificates = yaml.safe_load_all((deploy / "cert-manager" / "certificates.yaml").read_text())
    files["templates/certificates.yaml"] = _HEAD + "".join(
        _where('eq $.Values.tls.mode "certManager"', _expressions(_yaml(document))) for document in certificates
    )
    monitors = yaml.safe_load_all((deploy / "monitoring" / "podmonitors.yaml").read_text())
    files["templates/podmonitors.yaml"] = _HEAD + "".join(_template(monitor, values) for monitor in monitors)
    rules = (deploy / "monitoring" / "rules.yaml").read_text().partition("\n")[2]
    assert not re.search("RUNBOOKS|SYSTEM", rules), "words that stand for values"
    files["files/rules.yaml"] = rules.replace(RUNBOOKS, "RUNBOOKS").replace(NAMESPACE, "SYSTEM")
    files["templates/prometheusrule.yaml"] = _RULES
    for board in sorted((deploy / "dashboards").glob("*.json")):
        files[f"files/{board.name}"] = board.read_text()
    files["templates/dashboards.yaml"] = _DASHBOARDS
    for crd in sorted((deploy / "crds").glob("*.yaml")):
        files[f"crds/{crd.name}"] = crd.read_text()
    for runtime in sorted(runtimes.glob("*.yaml")):
        files[f"runtimes/{runtime.name}"] = runtime.read_text()
    files["templates/runtimes.yaml"] = _RUNTIMES
    files["templates/_helpers.tpl"] = _HELPERS
    files["templates/NOTES.txt"] = _NOTES
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
    files["values.yaml"] = _HEAD + "".join(
        (f"# {_SAID[name]}\n" if name in _SAID else "") + yaml.safe_dump({name: value}, sort_keys=False)
        for name, value in values.items()
    )
    files["values.schema.json"] = (
        json.dumps(_schema(sorted(path.stem for path in runtimes.glob("*.yaml"))), indent=2) + "\n"
    )
    return files


def _image(deploy: Path) -> Document:
    (image,) = yaml.safe_load((deploy / "kustomization.yaml").read_text())["images"]
    return {"registry": "", "repository": image["newName"], "tag": image["newTag"], "digest": "", "pullPolicy": ""}


def _template(document: Document, values: Document) -> str:
    """The text of one document, with what decides whether it is there."""
    metadata, kind = document["metadata"], document["kind"]
    role = _role(metadata["name"])
    condition = None
    if kind not in _CLUSTER_SCOPED:
        metadata["namespace"] = NAMESPACE
    for rule in document.get("rules") or []:
        if rule.get("resourceNames") == [DEFAULT_KEYS_SECRET] and rule["resources"] == ["secrets"]:
            rule["resourceNames"] = "SET__apiKeySecrets"
    match kind:
        case "Deployment":
            _deployment(document, role, values)
        case "ServiceAccount":
            condition = f"$.Values.{role}.serviceAccount.create"
            metadata["name"] = f"ACCOUNT__{role}"
            metadata[f"WITH__annotations__{role}.serviceAccount.annotations"] = None
        case "RoleBinding" | "ClusterRoleBinding":
            for subject in document["subjects"]:
                subject["name"] = f"ACCOUNT__{_role(subject['name'])}"
        case "NetworkPolicy":
            condition = "$.Values.networkPolicy.enabled"
            _let_keda_in(document)
        case "PodMonitor":
            condition = "$.Values.podMonitor.enabled"
            if "namespaceSelector" in document["spec"]:  # of engines, which are where LLMServices are
                condition = f"and {condition} $.Values.podMonitor.engines"
            metadata["WITH__labels__podMonitor.labels"] = None
        case "Service" if role == "activator":
            metadata["WITH__annotations__activator.service.annotations"] = None
            document["spec"] = {"WITH__type__activator.service.type": None, **document["spec"]}
            document["spec"]["ports"].append("HTTPSSERVICE__")
            (http,) = [
                port for port in document["spec"]["ports"] if port != "HTTPSSERVICE__" and port["name"] == "http"
            ]
            values["activator"]["service"]["port"] = http["port"]
            http["port"] = "SET__activator.service.port"
    text = _expressions(_yaml(document))
    if kind == "ClusterRoleBinding" and role in _LOOKING_AFTER:
        # Of its own name: the release's namespace may be one of these, and has a binding of the role's.
        metadata["namespace"], metadata["name"] = "EACH__", f"{metadata['name']}-llmservices"
        each = _expressions(_yaml({**document, "kind": "RoleBinding"}))
        return (
            "{{- range $namespace := $.Values.namespaces }}\n"
            f"---\n{each.replace('EACH__', '{{ $namespace }}')}{{{{- else }}}}\n---\n{text}{{{{- end }}}}\n"
        )
    return f"---\n{text}" if condition is None else _where(condition, text)


def _let_keda_in(policy: Document) -> None:
    for rule in policy["spec"]["ingress"]:
        for peer in rule.get("from", []):
            labels = peer.get("namespaceSelector", {}).get("matchLabels", {})
            if labels.get(_NAMED) == KEDA_NAMESPACE:
                labels[_NAMED] = "SET__tls.kedaNamespace"


def _keda(document: Document) -> str:
    """The text of a document that is KEDA's, or in its namespace."""
    if "namespace" in document["metadata"]:
        document["metadata"]["namespace"] = "SET__tls.kedaNamespace"
    for subject in document.get("subjects", []):
        subject["name"] = f"ACCOUNT__{_role(subject['name'])}"
    return _where('ne $.Values.tls.mode "off"', _expressions(_yaml(document)))


def _yaml(document: Document) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=1000)


def _where(condition: str, text: str) -> str:
    return f"{{{{- if {condition} }}}}\n---\n{text}{{{{- end }}}}\n"


def _role(name: str) -> str:
    return name.removeprefix("hearth-")


def _deployment(document: Document, role: str, values: Document) -> None:
    spec = document["spec"]
    pod, metadata = spec["template"]["spec"], spec["template"]["metadata"]
    (container,) = pod["containers"]
    for word in (*_SECURE, *_EITHER):  # of these roles; what is not there is none of its words
        if word in container["args"]:
            at = container["args"].index(word)
            container["args"][at] = _EITHER.get(word, f"SECURE__{word}")
    container["ports"] = [_PORTS.get(port["name"], port) for port in container["ports"]]
    values[role] = {
        "replicas": spec["replicas"],
        "resources": container["resources"],
        "extraArgs": [],
        "env": [],
        "extraVolumes": [],
        "extraVolumeMounts": [],
        "nodeSelector": {},
        "tolerations": [],
        "affinity": {},
        "topologySpreadConstraints": [],
        "priorityClassName": "",
        "podLabels": {},
        "podAnnotations": {},
        "podSecurityContext": pod["securityContext"],
        "containerSecurityContext": container["securityContext"],
        "serviceAccount": {"create": True, "name": "", "annotations": {}},
    }
    if role == "activator":
        at = container["args"].index("--grace-seconds") + 1
        values[role] |= {"graceSeconds": int(container["args"][at]), "service": {"type": "", "annotations": {}}}
        assert pod["terminationGracePeriodSeconds"] == values[role]["graceSeconds"] + _BEYOND_GRACE
        container["args"][at] = "GRACE__0 as text"
        container["args"] += ["KEYSOFALL__", "CLIENTSTLS__"]
        values[role] |= {"apiKeys": "", "tlsSecretName": ""}
        container["ports"].append("HTTPSPORT__")
        pod["terminationGracePeriodSeconds"] = f"GRACE__{_BEYOND_GRACE}"
    if role == "scaler":
        container["args"] = [
            re.sub("(?<=^--activator-grace-seconds=).*", f"GRACE__{_BEYOND_GRACE}", word) for word in container["args"]
        ]
    spec["replicas"] = f"SET__{role}.replicas"
    container["resources"] = f"SET__{role}.resources"
    container["securityContext"] = f"SET__{role}.containerSecurityContext"
    container["image"] = "IMAGE__"
    container["WITH__imagePullPolicy__image.pullPolicy"] = None
    container[f"WITH__env__{role}.env"] = None
    container.pop("volumeMounts", None)
    container[f"MOUNTS__{role}"] = None
    if role == "controller":
        made = {
            f"--api-key-secret={DEFAULT_KEYS_SECRET}": "KEYSECRETS__",
            f"--activator-account={_ACCOUNT}": "KEYREADER__",
            f"--engine-client={_ACCOUNT}": "ENGINECLIENTS__",
        }
        assert made.keys() <= set(container["args"])
        rest = [f"--engine-client={each}" for each in values["networkPolicy"]["engines"]["from"]]
        assert set(rest) <= set(container["args"])
        container["args"] = [made.get(word, word) for word in container["args"] if word not in rest] + ["DOMAIN__"]
    if role in _LOOKING_AFTER:
        container["args"].append("NAMESPACES__")
    container["args"].append(f"MORE__{role}.extraArgs")
    metadata["labels"][f"MORE__{role}.podLabels"] = None
    metadata[f"WITH__annotations__{role}.podAnnotations"] = None
    pod["serviceAccountName"] = f"ACCOUNT__{role}"
    pod["securityContext"] = f"SET__{role}.podSecurityContext"
    pod[f"ELSE__topologySpreadConstraints__{role}.topologySpreadConstraints"] = pod.pop("topologySpreadConstraints")
    pod.pop("volumes", None)
    pod[f"VOLUMES__{role}"] = None
    for name in ("nodeSelector", "tolerations", "affinity", "priorityClassName"):
        pod[f"WITH__{name}__{role}.{name}"] = None
    pod["PULL__"] = None


def _expressions(text: str) -> str:
    """The text with its markers made expressions, our namespace the release's, our names those that were asked for."""
    text = _NAMESPACED_NAMES.sub(rf"{_NAME}-\1", text).replace("name: hearth\n", f"name: {_NAME}\n")
    text = text.replace(NAMESPACE, "{{ $.Release.Namespace }}")
    account = (
        r'$.Values.\1.serviceAccount.name | default (ternary (printf "%s-\1" (include "hearth.name" $)) "default" '
        r"$.Values.\1.serviceAccount.create)"
    )
    text = text.replace("KEYREADER__", "--activator-account={{ $.Release.Namespace }}/READER__activator")
    text = re.sub(r"READER__(\w+)", rf"{{{{ {account} }}}}", text)
    text = re.sub(r"ACCOUNT__(\w+)", rf"{{{{ {account} | toJson }}}}", text)
    for kind, field in (("VOLUMES", "volumes"), ("MOUNTS", "volumeMounts")):
        text = re.sub(
            rf"(?m)^( *){kind}__(\w+): null\n",
            rf'\1{{{{- with include "hearth.{kind.lower()}" (dict "root" $ "role" "\2") | fromJsonArray }}}}\n'
            rf"\1{field}: {{{{ toJson . }}}}\n\1{{{{- end }}}}\n",
            text,
        )
    text = re.sub(r"(?m)^( *)- SECURE__(.*)\n", r'\1{{- if ne $.Values.tls.mode "off" }}\n\1- \2\n\1{{- end }}\n', text)
    text = re.sub(
        r"(?m)^( *)- name: SECUREPORT__(.*)\n( *containerPort: .*)\n",
        r'\1{{- if ne $.Values.tls.mode "off" }}\n\1- name: \2\n\3\n\1{{- end }}\n',
        text,
    )
    text = re.sub(r"'?TLS__([\w:.-]+?)__([\w:.-]+)'?", r'{{ ternary "\2" "\1" (eq $.Values.tls.mode "off") }}', text)
    text = text.replace("MODE__", "{{ $.Values.tls.mode }}").replace(
        "KEDANAMESPACE__", "{{ $.Values.tls.kedaNamespace }}"
    )
    for marker, lines in _HTTPS.items():
        text = re.sub(
            rf"(?m)^( *)- {marker}\n",
            lambda found, lines=lines: (  # type: ignore[misc]
                f"{found[1]}{{{{- if $.Values.activator.tlsSecretName }}}}\n"
                + "".join(f"{found[1]}{line}\n" for line in lines)
                + f"{found[1]}{{{{- end }}}}\n"
            ),
            text,
        )
    text = text.replace("IMAGE__", '{{ include "hearth.image" $ }}')
    text = re.sub(
        r"(?m)^( *)PULL__: null\n",
        r'\1{{- with include "hearth.pullSecrets" $ | fromJsonArray }}\n'
        r"\1imagePullSecrets: {{ toJson . }}\n\1{{- end }}\n",
        text,
    )
    text = re.sub(r"GRACE__(\d+) as text", r"{{ add $.Values.activator.graceSeconds \1 | toString | toJson }}", text)
    text = re.sub(r"GRACE__(\d+)", r"{{ add $.Values.activator.graceSeconds \1 }}", text)
    text = re.sub(
        r"(?m)^( *)ELSE__(\w+?)__([\w.]+):\n((?:\1[ -].*\n)+)",
        r"\1{{- with $.Values.\3 }}\n\1\2: {{ toJson . }}\n\1{{- else }}\n\1\2:\n\4\1{{- end }}\n",
        text,
    )
    text = re.sub(
        r"(?m)^( *)any: true\n",
        r"\1{{- with $.Values.namespaces }}\n\1matchNames: {{ toJson . }}\n\1{{- else }}\n\1any: true\n\1{{- end }}\n",
        text,
    )
    text = re.sub(r"SET__([\w.]+)", r"{{ toJson $.Values.\1 }}", text)
    text = re.sub(
        r"(?m)^( *)WITH__(\w+?)__([\w.]+): null\n",
        r"\1{{- with $.Values.\3 }}\n\1\2: {{ toJson . }}\n\1{{- end }}\n",
        text,
    )
    text = re.sub(
        r"(?m)^( *)- DOMAIN__\n",
        r'\1{{- with $.Values.clusterDomain }}\n\1- {{ printf "--cluster-domain=%s" . | toJson }}\n\1{{- end }}\n',
        text,
    )
    text = re.sub(
        r"(?m)^( *)- KEYSECRETS__\n",
        r"\1{{- range $.Values.apiKeySecrets }}\n\1- --api-key-secret={{ . }}\n\1{{- end }}\n",
        text,
    )
    text = re.sub(
        r"(?m)^( *)- ENGINECLIENTS__\n",
        r'\1{{- if and $.Values.networkPolicy.enabled (dig "engines" "enabled" false $.Values.networkPolicy) }}\n'
        rf"\1- --engine-client={{{{ $.Release.Namespace }}}}/{_NAME}-activator\n"
        r'\1{{- range dig "engines" "from" list $.Values.networkPolicy }}\n'
        r"\1- --engine-client={{ . }}\n\1{{- end }}\n\1{{- end }}\n",
        text,
    )
    text = re.sub(
        r"(?m)^( *)- KEYSOFALL__\n",
        r"\1{{- with $.Values.activator.apiKeys }}\n\1- --api-keys={{ $.Release.Namespace }}/{{ . }}\n\1{{- end }}\n",
        text,
    )
    text = re.sub(
        r"(?m)^( *)- NAMESPACES__\n",
        r"\1{{- range $.Values.namespaces }}\n\1- --namespace={{ . }}\n\1{{- end }}\n",
        text,
    )
    text = re.sub(
        r"(?m)^( *)- MORE__([\w.]+)\n", r"\1{{- range $.Values.\2 }}\n\1- {{ toJson . }}\n\1{{- end }}\n", text
    )
    return re.sub(
        r"(?m)^( *)MORE__([\w.]+): null\n",
        r"\1{{- range $key, $value := $.Values.\2 }}\n\1{{ toJson $key }}: {{ toJson $value }}\n\1{{- end }}\n",
        text,
    )


def _schema(runtimes: list[str]) -> Document:
    """A value with a wrong name or type is refused by helm itself."""
    text, filled, flag = {"type": "string"}, {"type": "string", "minLength": 1}, {"type": "boolean"}
    objects = {"type": "array", "items": {"type": "object"}}
    anything = {"type": "object"}
    texts = {"type": "object", "additionalProperties": text}
    role = {
        "replicas": {"type": "integer", "minimum": 0},
        "resources": anything,
        "extraArgs": {"type": "array", "items": {**text, "not": {"pattern": _OWN_FLAGS}}},
        "env": objects,
        "extraVolumes": objects,
        "extraVolumeMounts": objects,
        "nodeSelector": texts,
        "tolerations": objects,
        "affinity": anything,
        "topologySpreadConstraints": objects,
        "priorityClassName": text,
        "podLabels": {**texts, "propertyNames": {"not": {"enum": list(_OWN_LABELS)}}},
        "podAnnotations": texts,
        "podSecurityContext": anything,
        "containerSecurityContext": anything,
        "serviceAccount": _object({"create": flag, "name": text, "annotations": texts}),
    }
    kinds = {"enum": ["", "ClusterIP", "NodePort", "LoadBalancer"]}
    port = {"type": "integer", "minimum": 1, "maximum": 65535}
    service = _object({"type": kinds, "annotations": texts, "port": port})
    name = {"type": "string", "maxLength": 40, "pattern": "^([a-z]([-a-z0-9]*[a-z0-9])?)?$"}
    digest = {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"}
    keys = {"type": "string", "pattern": rf"^({_OBJECT_NAME[1:-1]}(/[-._a-zA-Z0-9]+)?)?$"}
    pull = {"enum": ["", "Always", "IfNotPresent", "Never"]}
    top = {
        "image": _object({"registry": text, "repository": filled, "tag": filled, "digest": digest, "pullPolicy": pull}),
        "imagePullSecrets": {"type": "array", "items": _object({"name": filled})},
        "nameOverride": name,
        "fullnameOverride": name,
        "clusterDomain": text,
        "namespaces": {"type": "array", "items": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}},
        # A right without names would be one on every Secret: `null` is none, and neither are an older release's values.
        "apiKeySecrets": {"type": "array", "items": {"type": "string", "pattern": _OBJECT_NAME}, "minItems": 1},
        "tls": _object({"mode": {"enum": ["controller", "certManager", "off"]}, "kedaNamespace": filled}),
        "networkPolicy": _object(
            {
                "enabled": flag,
                "engines": _object({"enabled": flag, "from": {"type": "array", "items": {**text, "pattern": _PODS}}}),
            }
        ),
        "podMonitor": _object({"enabled": flag, "engines": flag, "labels": texts}),
        "prometheusRule": _object(
            {"enabled": flag, "labels": texts, "runbookUrl": {"type": "string", "pattern": "^https?://"}}
        ),
        "dashboards": _object({"enabled": flag, "labels": texts, "annotations": texts}),
        "runtimes": {"type": "array", "items": {"enum": runtimes}, "uniqueItems": True},
        **dict.fromkeys(ROLES, _object(role)),
        "activator": _object(
            {
                **role,
                "graceSeconds": {"type": "integer", "minimum": 0},
                "service": service,
                "apiKeys": keys,
                "tlsSecretName": text,
            }
        ),
        "global": anything,  # what helm itself adds for charts that are parts of others
    }
    return {"$schema": "http://json-schema.org/draft-07/schema#", **_object(top), "required": _READ}


_READ = [
    *("image", "apiKeySecrets", "tls", "networkPolicy", "podMonitor", "prometheusRule", "dashboards"),
    *("activator", "controller", "scaler"),
]
"""What templates read into: with --reuse-values from a chart that had none of it, Helm would say no more than "nil
pointer"."""


def _object(properties: Document) -> Document:
    return {"type": "object", "properties": properties, "additionalProperties": False}
