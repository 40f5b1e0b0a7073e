"""`hearth doctor`: whether a cluster has what Hearth needs, and for each thing that it has not, what to do."""

from collections.abc import Callable, Coroutine, Mapping
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hearth.api.manifest import ManifestError, read_runtime
from hearth.api.reasons import troubles
from hearth.commands.access import listed
from hearth.commands.certificates import certificates, local_certificates
from hearth.commands.check import Check
from hearth.devices import claimed_resources, extended_resources, is_ready
from hearth.emulators.version import UNCOUNTED, is_local
from hearth.group import GROUP
from hearth.kube.client import KubeClient
from hearth.kube.errors import Forbidden, KubeError, Unanswered, Unavailable
from hearth.kube.kinds import (
    ACCESS_REVIEW,
    API_SERVICE,
    DEPLOYMENT,
    DEVICE_CLASS,
    INFERENCE_RUNTIME,
    LLMSERVICE,
    NODE,
    POD,
    RESOURCE_SLICE,
    SCALED_OBJECT,
)
from hearth.kube.objects import (
    KubeObject,
    condition,
    conditions_of,
    mapping,
    mappings,
    name_of,
    namespace_of,
    number,
    text,
    texts,
)

ROLES = ("controller", "activator", "scaler")
OLDEST_KUBERNETES, OLDEST_KEDA = (1, 31), (2, 17)

# Of what each role does, the first thing that fails when its account has lost its rights.
_RIGHTS = {
    "controller": (
        ("patch", GROUP, "llmservices", "status"),
        ("patch", "apps", "deployments", ""),
        ("patch", "keda.sh", "scaledobjects", ""),
    ),
    "activator": (("list", GROUP, "llmservices", ""), ("watch", "discovery.k8s.io", "endpointslices", "")),
}


async def examine(kube: KubeClient) -> list[Check]:
    """Every check, in the order in which to mend. Raises KubeError where the API server can't be reached."""
    version = text(await kube.get_object("/version"), "gitVersion")
    if is_local(version):
        return await _local(kube)
    made = [_kubernetes(version)]
    checks: list[Callable[[KubeClient], Coroutine[Any, Any, list[Check]]]] = [
        *(_keda, _external_metrics, _crds, _roles, _scalers, _certificates, rights, _accelerators, _services),
    ]
    for check in checks:
        try:
            made += await check(kube)
        except Unanswered:
            raise
        except Unavailable as error:
            made.append(
                Check(_name_of(check), False, str(error), "kubectl get --raw /readyz says what the API server lacks")
            )
        except KubeError as error:
            made.append(
                Check(
                    _name_of(check), False, str(error), "use an account that may read this, such as the cluster's admin"
                )
            )
    return made


def _name_of(check: Callable[..., object]) -> str:
    return check.__name__.strip("_").replace("_", " ")


def version_of(written: str) -> tuple[int, int] | None:
    """(major, minor) of v1.36.3 or 2.21.0; None for anything else."""
    parts = written.lstrip("v").split(".")
    try:
        return int(parts[0]), int(parts[1].rstrip("+"))
    except (ValueError, IndexError):
        return None


async def _local(kube: KubeClient) -> list[Check]:
    """Of a `hearth up`: its KEDA, HPA and nodes are parts of it, and it ends where one of them does. Devices are
    counted where that was asked for; else every runtime can be used."""
    here = Check(
        "hearth up", True, "its API server answers; it ends by itself where KEDA, kubelet or a role of it dies"
    )
    return [here, *await local_certificates(kube), *await _accelerators(kube), *await _services(kube)]


def _kubernetes(found: str) -> Check:
    version = version_of(found)
    well = version is not None and version >= OLDEST_KUBERNETES
    return Check("Kubernetes", well, found or "no version said", "upgrade to 1.31 or newer")


async def _keda(kube: KubeClient) -> list[Check]:
    install = "install KEDA: https://keda.sh/docs/latest/deploy/"
    if await kube.get_object(SCALED_OBJECT.api) is None:
        return [Check("KEDA", False, "the API server knows no ScaledObjects", install)]
    operators = [
        deployment for deployment in await listed(kube, DEPLOYMENT.everywhere) if name_of(deployment) == "keda-operator"
    ]
    if not operators:
        return [Check("KEDA", True, "ScaledObjects are known; no Deployment keda-operator to tell its version")]
    (operator, *_) = operators
    containers = mappings(operator, "spec", "template", "spec", "containers")
    image = text(containers[0], "image") if containers else ""
    tag = image.rpartition(":")[2]
    version, ready = version_of(tag), number(operator, "status", "readyReplicas")
    if not ready:
        where = namespace_of(operator)
        return [Check("KEDA", False, f"{tag}, no replica ready", f"kubectl describe deploy/keda-operator -n {where}")]
    well = version is None or version >= OLDEST_KEDA
    return [Check("KEDA", well, f"{tag}, {ready} ready", "upgrade KEDA to 2.17 or newer")]


async def _external_metrics(kube: KubeClient) -> list[Check]:
    service = await kube.get_object(API_SERVICE.path("", "v1beta1.external.metrics.k8s.io"))
    if service is None:
        return [
            Check("external metrics", False, "no APIService", "KEDA's metrics server is not installed: install KEDA")
        ]
    available = condition(service, "Available")
    backend = text(service, "spec", "service", "namespace") or "keda"
    return [
        Check(
            "external metrics",
            available.get("status") == "True",
            available.get("message") or "not available",
            f"the HPA can't ask KEDA: kubectl get pods -n {backend}; is another metrics adapter registered?",
        )
    ]


async def _crds(kube: KubeClient) -> list[Check]:
    known = await kube.get_object(LLMSERVICE.api)
    names = {text(resource, "name") for resource in mappings(known, "resources")}
    missing = sorted({LLMSERVICE.plural, INFERENCE_RUNTIME.plural} - names)
    found = "LLMService and InferenceRuntime" if not missing else f"no {', '.join(missing)}"
    return [Check("CRDs", not missing, found, "kubectl apply --server-side -f deploy/crds")]


def _selector(role: str) -> str:
    """A role's Deployment and pods, whatever the chart's nameOverride calls them."""
    return f"app.kubernetes.io/part-of=hearth,app.kubernetes.io/component={role}"


async def _roles(kube: KubeClient) -> list[Check]:
    made = []
    for role in ROLES:
        selector = _selector(role)
        deployments = await listed(kube, DEPLOYMENT.everywhere, selector)
        if not deployments:
            made.append(Check(role, False, "no Deployment", "kubectl apply --server-side -k deploy/"))
            continue
        ready = sum(number(deployment, "status", "readyReplicas") for deployment in deployments)
        wanted = sum(number(deployment, "spec", "replicas", default=1) for deployment in deployments)
        where = namespace_of(deployments[0])
        fix = f"kubectl describe pods -n {where} -l {selector}; kubectl logs -n {where} -l {selector}"
        made.append(Check(role, ready > 0, f"{ready} of {wanted} ready", fix))
    return made


async def _scalers(kube: KubeClient) -> list[Check]:
    """Asks each scaler, through the API server, as far as we may."""
    made = []
    for pod in await listed(kube, POD.everywhere, _selector("scaler")):
        namespace, name = namespace_of(pod), name_of(pod)
        if text(pod, "status", "phase") != "Running":
            continue  # the Deployment's line tells of it
        try:
            said = await kube.get_text(POD.path(namespace, f"{name}:8081", "proxy/metrics"))
        except Forbidden:
            continue  # pods/proxy is more than many accounts have
        except KubeError as error:
            made.append(Check(f"scaler {name}", False, str(error), f"kubectl logs -n {namespace} {name}"))
            continue
        blind = "\nhearth_scaler_blind 1" in said
        found = "does not hear an activator" if blind else "hears the activators"
        made.append(Check(f"scaler {name}", not blind, found, "docs/runbooks/HearthDemandBlind.md"))
    return made


async def _certificates(kube: KubeClient) -> list[Check]:
    controllers = await listed(kube, DEPLOYMENT.everywhere, _selector("controller"))
    return [check for controller in controllers for check in await certificates(kube, controller)]


async def rights(kube: KubeClient) -> list[Check]:
    """Whether the roles' accounts have their rights in the namespaces that each looks after. Raises KubeError."""
    made = []
    for role, needed in _RIGHTS.items():
        for deployment in (await listed(kube, DEPLOYMENT.everywhere, _selector(role)))[:1]:
            account = text(deployment, "spec", "template", "spec", "serviceAccountName") or "default"
            user = f"system:serviceaccount:{namespace_of(deployment)}:{account}"
            namespaces = _namespaces(deployment)
            manifests = "deploy/" if namespaces == [""] else "deploy/namespaced"
            asked = [
                {"verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": namespace}
                for namespace in namespaces
                for verb, group, resource, subresource in needed
            ]
            lost = [words for attributes in asked if (words := await _lost(kube, user, attributes))]
            found = "has its rights" if not lost else f"may not {', '.join(lost)}"
            made.append(Check(f"rights of {role}", not lost, found, f"kubectl apply --server-side -k {manifests}"))
    return made


def _namespaces(deployment: KubeObject) -> list[str]:
    """Those that a role is told to look after; "" stands for all."""
    containers = mappings(deployment, "spec", "template", "spec", "containers")
    arguments = [argument for container in containers for argument in texts(container, "args")]
    option = "--namespace"
    joined = [argument.removeprefix(f"{option}=") for argument in arguments if argument.startswith(f"{option}=")]
    apart = [value for argument, value in pairwise(arguments) if argument == option]
    return [*joined, *apart] or [""]


async def _lost(kube: KubeClient, user: str, attributes: dict[str, str]) -> str:
    """The right in words, where the user does not have it."""
    review = {**ACCESS_REVIEW.names, "spec": {"user": user, "resourceAttributes": attributes}}
    answer = await kube.create_object(ACCESS_REVIEW.everywhere, review)
    if mapping(answer, "status").get("allowed"):
        return ""
    what = "/".join(filter(None, (attributes["resource"], attributes["subresource"])))
    where = f" in {attributes['namespace']}" if attributes["namespace"] else ""
    return f"{attributes['verb']} {what}{where}"


async def _accelerators(kube: KubeClient) -> list[Check]:
    runtimes = await listed(kube, INFERENCE_RUNTIME.everywhere)
    nodes = await listed(kube, NODE.everywhere)
    classes, slices = [await listed(kube, kind.everywhere) for kind in (DEVICE_CLASS, RESOURCE_SLICE)]
    ready = {name_of(node) for node in nodes if is_ready(node)}
    return accelerator_checks(extended_resources(nodes), claimed_resources(classes, slices, ready), runtimes)


def accelerator_checks(
    plugged: Mapping[str, Decimal], claimed: Mapping[str, Decimal], runtimes: list[KubeObject]
) -> list[Check]:
    """What can be allocated, by device plugins and by DRA, and which runtimes it is for. Pure."""
    there = {name: count for name, count in plugged.items() if count and not name.startswith("hugepages")}
    there = {**{name: count for name, count in claimed.items() if count}, **there}
    said = ", ".join(f"{int(count)} {name}" for name, count in sorted(there.items()))
    if UNCOUNTED in there:  # a `hearth up` that was given none
        said = "not counted; hearth up --accelerator NAME=COUNT counts them"
    made = [
        Check("accelerators", bool(there), said or "no node can allocate any", "install your vendor's device plugin"),
    ]
    fitting: list[str] = []
    idle: list[str] = []
    for item in runtimes:
        name = name_of(item)
        try:
            resources = read_runtime(item).spec.accelerator.resources
        except ManifestError as error:
            found = f"can't be read: {error.in_a_line}"
            made.append(Check(f"InferenceRuntime {name}", False, found, f"kubectl edit infr {name}"))
            continue
        if not resources or any(resource in there for resource in resources):
            fitting.append(name)
        else:
            idle.append(f"{name} (no {' nor '.join(resources)})")
    found = f"{', '.join(sorted(fitting)) or 'none'} can be used"
    found += f"; not here: {', '.join(sorted(idle))}" if idle else ""
    made.append(Check("InferenceRuntimes", bool(fitting), found, "kubectl apply -f runtimes/VENDOR-ENGINE.yaml"))
    return made


async def _services(kube: KubeClient) -> list[Check]:
    return [service_check(item) for item in await listed(kube, LLMSERVICE.everywhere)]


def service_check(item: KubeObject) -> Check:
    """What one LLMService says of itself. Pure."""
    namespace, name = namespace_of(item), name_of(item)
    phase = text(item, "status", "phase") or "Pending"
    bad = troubles(conditions_of(item))
    if not condition(item, "Ready"):
        bad = [("NotSeen", "the controller has not looked at it yet: is one running?")]
    found = ": ".join([phase, "; ".join(f"{reason}: {message}" for reason, message in bad)]) if bad else phase
    return Check(f"LLMService {namespace}/{name}", not bad, found, f"hearth status {namespace}/{name}")
