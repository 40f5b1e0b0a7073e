"""deploy/chart, by the real helm: the same objects as deploy/, and what the API server thinks of them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builders import ROOT
from tests.cluster.controlplane import CommandFailed, ControlPlane, run
from tests.cluster.installed import SYSTEM, Installed

CHART = str(ROOT / "deploy" / "chart")


@pytest.fixture
def helm(tmp_path: Path) -> Any:
    binary = os.environ.get("HEARTH_HELM")
    assert binary, "HEARTH_HELM names no helm; run `make e2e`, which builds it"
    folders = {f"HELM_{name}_HOME": str(tmp_path / name) for name in ("CACHE", "CONFIG", "DATA")}

    def call(*arguments: str, kubeconfig: str = "/nonexistent") -> str:
        return run(binary, *arguments, env={**os.environ, **folders, "KUBECONFIG": kubeconfig})

    return call


def by_name(text: str) -> dict[str, Any]:
    documents = [document for document in yaml.safe_load_all(text) if document]
    return {f"{document['kind']}/{document['metadata']['name']}": document for document in documents}


def test_the_chart_is_what_kustomize_applies(helm: Any, plane: ControlPlane) -> None:
    chart = by_name(helm("template", "hearth", CHART, "--namespace", SYSTEM, "--include-crds"))
    kustomize = by_name(plane.kubectl("kustomize", str(ROOT / "deploy")))
    del kustomize[f"Namespace/{SYSTEM}"]  # helm install --create-namespace
    assert len(kustomize) > 15
    assert chart == kustomize


def test_values_reach_the_objects_and_wrong_ones_are_refused(helm: Any) -> None:
    settings = ("image.tag=v9", "activator.replicas=5", "scaler.resources.limits.memory=1Gi")
    made = by_name(helm("template", "h", CHART, "-n", "llm", *(word for s in settings for word in ("--set", s))))
    activator = made["Deployment/hearth-activator"]
    assert (activator["metadata"]["namespace"], activator["spec"]["replicas"]) == ("llm", 5)
    (container,) = made["Deployment/hearth-scaler"]["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["resources"]["limits"]["memory"]) == ("hearth:v9", "1Gi")
    assert "--activator-service=llm/hearth-activator" in container["args"]
    assert SYSTEM not in json.dumps(made), "another namespace than ours"
    with pytest.raises(CommandFailed, match="replica"):
        helm("template", "h", CHART, "--set", "activator.replica=5")


def test_what_people_set_reaches_the_objects(helm: Any, tmp_path: Path) -> None:
    digest = f"sha256:{'a' * 64}"
    role: dict[str, Any] = {
        "replicas": 3,
        "resources": {"limits": {"memory": "1Gi"}},
        "extraArgs": ["--log-level=debug"],
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}],
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
        "priorityClassName": "system-cluster-critical",
        "podLabels": {"team": "ai"},
        "podAnnotations": {"note": "1", "prometheus.io/scrape": "true"},
        "podSecurityContext": {"runAsUser": None, "fsGroup": 7},
        "containerSecurityContext": {"readOnlyRootFilesystem": False},
        "extraVolumes": [{"name": "ca", "configMap": {"name": "corporate-ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ssl/certs", "readOnly": True}],
        "serviceAccount": {"create": True, "name": "mine", "annotations": {"role": "arn"}},
    }
    values = {
        "image": {"repository": "registry.example/hearth", "digest": digest, "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "nameOverride": "llm",
        "clusterDomain": "k8s.example",
        "networkPolicy": {"enabled": False},
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}, "runbookUrl": "https://wiki/hearth/"},
        "dashboards": {"enabled": True, "annotations": {"grafana_folder": "AI"}},
        "runtimes": ["nvidia-vllm", "cpu-llamacpp"],
        "controller": role,
        "activator": {
            "graceSeconds": 600,
            "service": {"type": "LoadBalancer", "annotations": {"lb": "internal"}, "port": 8080},
        },
        "scaler": {"serviceAccount": {"create": False, "name": "theirs"}},
    }
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    made = by_name(helm("template", "h", CHART, "-n", "ai", "-f", str(file)))
    kedas = "ClusterTriggerAuthentication/hearth-keda"
    assert "hearth-" not in "".join(made).replace(kedas, ""), (
        "every name has the other beginning, but what KEDA is told"
    )
    assert not [name for name in made if name.startswith("NetworkPolicy/")]
    deployment = made["Deployment/llm-controller"]["spec"]
    template, pod = deployment["template"], deployment["template"]["spec"]
    (container,) = pod["containers"]
    assert deployment["replicas"] == 3
    assert (container["image"], container["imagePullPolicy"]) == (f"registry.example/hearth@{digest}", "Always")
    assert container["args"][-2:] == ["--cluster-domain=k8s.example", "--log-level=debug"]
    assert "--lease=ai/llm-controller" in container["args"]
    assert "--scaler-address=llm-scaler.ai.svc:9443" in container["args"]
    assert (container["env"], container["resources"]) == (role["env"], {**container["resources"], **role["resources"]})
    for field in ("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName"):
        assert pod[field] == role[field], field
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "fsGroup": 7,
    }, "null takes a default away"
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (pod["volumes"], container["volumeMounts"]) == (role["extraVolumes"], role["extraVolumeMounts"])
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert template["metadata"]["labels"] == {
        "app.kubernetes.io/name": "llm-controller",
        "app.kubernetes.io/part-of": "hearth",
        "app.kubernetes.io/component": "controller",
        "team": "ai",
    }
    assert template["metadata"]["annotations"] == role["podAnnotations"]
    assert "annotations" not in made["Deployment/llm-activator"]["spec"]["template"]["metadata"], "one way to scrape"
    assert made["ServiceAccount/mine"]["metadata"]["annotations"] == {"role": "arn"}
    assert pod["serviceAccountName"] == "mine"
    assert "ServiceAccount/theirs" not in made
    assert made["RoleBinding/llm-scaler"]["subjects"][0]["name"] == "theirs"
    service = made["Service/llm-activator"]
    assert (service["spec"]["type"], service["metadata"]["annotations"]) == ("LoadBalancer", {"lb": "internal"})
    assert [port["port"] for port in service["spec"]["ports"]] == [8080, 9091, 9443]
    activator = made["Deployment/llm-activator"]["spec"]["template"]["spec"]
    args = activator["containers"][0]["args"]
    assert args[args.index("--grace-seconds") + 1] == "600"
    assert activator["terminationGracePeriodSeconds"] == 630
    (scaler,) = made["Deployment/llm-scaler"]["spec"]["template"]["spec"]["containers"]
    assert "--activator-grace-seconds=630" in scaler["args"], "one that is silent for as long is gone"
    monitor = made["PodMonitor/llm"]
    assert monitor["metadata"]["labels"] == {"release": "prometheus"}
    assert "llm-scaler" in monitor["spec"]["selector"]["matchExpressions"][0]["values"]
    engines = made["PodMonitor/llm-engines"]
    assert engines["metadata"]["labels"] == {"release": "prometheus"}
    assert engines["spec"]["namespaceSelector"] == {"any": True}
    rule = made["PrometheusRule/llm"]
    assert rule["metadata"]["labels"] == {"release": "prometheus"}
    (group,) = rule["spec"]["groups"]
    (down,) = [each for each in group["rules"] if each.get("alert") == "HearthScalerDown"]
    assert down["annotations"]["runbook_url"] == "https://wiki/hearth/HearthScalerDown.md"
    assert "kubectl get pods -n ai " in down["annotations"]["description"]
    assert "{{ $labels.cluster }}" not in down["annotations"]["summary"]
    assert "{{ with $labels.cluster }}" in down["annotations"]["summary"]
    written = yaml.safe_load((ROOT / "deploy/monitoring/rules.yaml").read_text())
    assert [each["expr"] for each in group["rules"]] == [each["expr"] for each in written["groups"][0]["rules"]]
    boards = {name: item for name, item in made.items() if name.startswith("ConfigMap/")}
    assert set(boards) == {
        f"ConfigMap/llm-dashboard-{board}" for board in ("overview", "llmservice", "coldstarts", "scaler")
    }
    for item in boards.values():
        assert item["metadata"]["labels"] == {"grafana_dashboard": "1"}
        assert item["metadata"]["annotations"] == {"grafana_folder": "AI"}
        ((name, text),) = item["data"].items()
        assert text == (ROOT / "deploy/dashboards" / name).read_text()
    assert made["InferenceRuntime/cpu-llamacpp"]["spec"]["container"]["args"][1] == "{{ .Model.Path }}"


def test_engines_are_scraped_where_llmservices_are_looked_after(helm: Any) -> None:
    monitored = ("--set", "podMonitor.enabled=true")
    made = by_name(helm("template", "h", CHART, *monitored, "--set", "namespaces={ai-prod,team-b}"))
    assert made["PodMonitor/hearth-engines"]["spec"]["namespaceSelector"] == {"matchNames": ["ai-prod", "team-b"]}
    made = by_name(helm("template", "h", CHART, *monitored, "--set", "podMonitor.engines=false"))
    assert "PodMonitor/hearth-engines" not in made
    assert "PodMonitor/hearth" in made


@pytest.mark.parametrize(
    ("settings", "image", "secrets"),
    [
        (["image.registry=a.example"], "a.example/hearth:latest", []),
        (["global.imageRegistry=b.example:5000"], "b.example:5000/hearth:latest", []),
        (["image.registry=a.example", "global.imageRegistry=b.example"], "a.example/hearth:latest", []),
        (["imagePullSecrets[0].name=a", "global.imagePullSecrets={b,a}"], "hearth:latest", ["a", "b"]),
        (["global.imagePullSecrets[0].name=c"], "hearth:latest", ["c"]),
    ],
)
def test_where_images_are_from(helm: Any, settings: list[str], image: str, secrets: list[str]) -> None:
    made = by_name(helm("template", "h", CHART, *(word for each in settings for word in ("--set", each))))
    pod = made["Deployment/hearth-scaler"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == image
    assert [secret["name"] for secret in pod.get("imagePullSecrets", [])] == secrets


def test_fullname_override_is_what_names_begin_with(helm: Any) -> None:
    names = by_name(helm("template", "h", CHART, "--set", "fullnameOverride=own,nameOverride=other"))
    assert "Deployment/own-activator" in names
    assert not [name for name in names if "hearth-" in name or "other-" in name]


def test_the_releases_own_namespace_may_be_one_of_those_that_are_looked_after(helm: Any) -> None:
    text = helm("template", "h", CHART, "-n", "ai", "--set", "namespaces={ai,team-b}")
    documents = [document for document in yaml.safe_load_all(text) if document]
    named = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in documents]
    assert len(named) == len(set(named)), "helm would install the one over the other"


def test_api_keys_and_who_may_read_which(helm: Any) -> None:
    settings = ("--set", "apiKeySecrets={hearth-api-keys,team-keys}", "--set", "activator.apiKeys=team-keys/all")
    text = helm("template", "h", CHART, "-n", "ai", *settings, "--set", "activator.serviceAccount.name=door")
    rules = [
        (each["kind"], each["metadata"]["name"], rule)
        for each in yaml.safe_load_all(text)
        if each
        for rule in each.get("rules") or []
        if "secrets" in rule["resources"]
    ]
    names = ["hearth-api-keys", "team-keys"]
    wanted = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": names, "verbs": ["list", "watch"]}
    assert rules == [("ClusterRole", "hearth-controller", wanted), ("Role", "hearth-activator", wanted)]
    made = by_name(text)
    (controller,) = made["Deployment/hearth-controller"]["spec"]["template"]["spec"]["containers"]
    told = ["--activator-account=ai/door", "--api-key-secret=hearth-api-keys", "--api-key-secret=team-keys"]
    assert [word for word in controller["args"] if word.startswith(("--activator-account", "--api-key"))] == told
    (activator,) = made["Deployment/hearth-activator"]["spec"]["template"]["spec"]["containers"]
    assert "--api-keys=ai/team-keys/all" in activator["args"]


@pytest.mark.parametrize(
    "wrong",
    [
        *("runtimes={nvidia}", "image.digest=abc", "activator.service.type=Cluster", "nodeSelector.a=b"),
        *("activator.service.port=0", "scaler.graceSeconds=5"),
        "controller.podLabels.app\\.kubernetes\\.io/name=mine",
        "activator.extraArgs={--grace-seconds=600}",
        "prometheusRule.runbookUrl=docs/runbooks",
        *("apiKeySecrets=null", "apiKeySecrets={}", "apiKeySecrets={Keys}", "activator.apiKeys=a/b/c"),
        "controller.extraArgs={--api-key-secret=mine}",
        "scaler.extraArgs={--activator-grace-seconds,600}",
    ],
)
def test_a_value_that_means_nothing_is_refused(helm: Any, wrong: str) -> None:
    with pytest.raises(CommandFailed, match="schema"):
        helm("template", "h", CHART, "--set", wrong)


def test_the_api_server_takes_the_chart_and_helm_installs_it(helm: Any, installed: Installed) -> None:
    helm("lint", "--strict", CHART)
    plane = installed.plane
    plane.kubectl("create", "namespace", "by-helm")
    try:
        # The cluster roles are those of deploy/ already: a release of its own would collide, a dry run does not.
        rendered = helm("template", "hearth", CHART, "-n", "by-helm")
        took = plane.kubectl(
            *["apply", "--server-side", "--force-conflicts", "--validate=strict", "--dry-run=server", "-f", "-"],
            stdin=rendered,
        )
        assert took.count("serverside-applied (server dry run)") == len(by_name(rendered))
        installed.uninstall()
        helm(
            *["install", "hearth", CHART, "-n", "by-helm", "--set", "controller.replicas=1"],
            *["--set", "runtimes={amd-vllm}"],
            kubeconfig=str(plane.kubeconfig),
        )
        plane.kubectl("get", "infr", "amd-vllm")
        found = json.loads(plane.kubectl("get", "deployments", "-n", "by-helm", "-o", "json"))["items"]
        assert {item["metadata"]["name"]: item["spec"]["replicas"] for item in found} == {
            "hearth-activator": 2,
            "hearth-controller": 1,
            "hearth-scaler": 2,
        }
        plane.kubectl("get", "crd", "llmservices.serving.hearth.dev")
        helm("uninstall", "hearth", "-n", "by-helm", kubeconfig=str(plane.kubeconfig))
        left = plane.kubectl(
            "get", "deployments,services,serviceaccounts,pdb,networkpolicies", "-n", "by-helm", "-o", "name"
        )
        assert [line for line in left.split() if "hearth" in line] == []
    finally:
        plane.kubectl("delete", "namespace", "by-helm")
        installed.install()


def test_of_some_namespaces_the_rights_are_there_alone(helm: Any) -> None:
    text = helm("template", "h", CHART, "-n", SYSTEM, "--set", "namespaces={ai-prod,team-b}")
    documents = [document for document in yaml.safe_load_all(text) if document]
    bound = {(each["kind"], each["metadata"]["name"], each["metadata"].get("namespace")) for each in documents}
    for role in ("controller", "activator"):
        assert ("ClusterRoleBinding", f"hearth-{role}", None) not in bound
        for namespace in ("ai-prod", "team-b"):
            assert ("RoleBinding", f"hearth-{role}-llmservices", namespace) in bound
        (container,) = by_name(text)[f"Deployment/hearth-{role}"]["spec"]["template"]["spec"]["containers"]
        assert [word for word in container["args"] if word.startswith("--namespace")] == [
            "--namespace=ai-prod",
            "--namespace=team-b",
        ]
    assert ("ClusterRoleBinding", "hearth-controller-cluster", None) in bound, "runtimes and nodes are the cluster's"


def test_certificates_are_the_controllers_or_cert_managers_or_none(helm: Any) -> None:
    def arguments(made: dict[str, Any], role: str) -> list[str]:
        (container,) = made[f"Deployment/hearth-{role}"]["spec"]["template"]["spec"]["containers"]
        return list(container["args"])

    def volumes(made: dict[str, Any], role: str) -> list[str]:
        found = made[f"Deployment/hearth-{role}"]["spec"]["template"]["spec"].get("volumes", [])
        return [volume["secret"]["secretName"] for volume in found]

    def rendered(*settings: str) -> dict[str, Any]:
        words = [word for setting in settings for word in ("--set", setting)]
        return by_name(helm("template", "h", CHART, "-n", "ai", *words))

    ours = rendered("tls.kedaNamespace=keda-system")
    assert "--tls=controller" in arguments(ours, "controller")
    assert "--keda-certificate=keda-system/hearth-keda-tls" in arguments(ours, "controller")
    assert volumes(ours, "scaler") == ["hearth-scaler-tls"]
    assert "Certificate/hearth-scaler" not in ours
    plain = rendered("tls.mode=off")
    assert "--tls=off" in arguments(plain, "controller")
    assert "--scaler-address=hearth-scaler.ai.svc:9090" in arguments(plain, "controller")
    assert not [word for word in arguments(plain, "activator") if word.startswith(("--tls", "--demand-listen"))]
    assert volumes(plain, "activator") == volumes(plain, "scaler") == []
    (scaler,) = plain["Deployment/hearth-scaler"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "grpc", "containerPort": 9090} in scaler["ports"]
    assert "ClusterTriggerAuthentication/hearth-keda" not in plain
    theirs = rendered("tls.mode=certManager")
    assert "--tls=certManager" in arguments(theirs, "controller")
    assert theirs["Certificate/hearth-scaler"]["spec"]["dnsNames"][0] == "hearth-scaler.ai.svc"
    clients = rendered("activator.tlsSecretName=models-tls")
    assert "--clients-tls=/etc/hearth/clients-tls" in arguments(clients, "activator")
    assert volumes(clients, "activator") == ["hearth-activator-tls", "models-tls"]
    ports = {port["name"]: port["port"] for port in clients["Service/hearth-activator"]["spec"]["ports"]}
    assert ports["https"] == 443
