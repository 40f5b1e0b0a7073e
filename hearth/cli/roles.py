"""`hearth activator`, `scaler`, `controller`: what runs in a cluster, each until it is told to stop."""

import enum
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hearth.cli.common import AcceleratorPrice, app, is_http_url, refuse
from hearth.tls.names import ACTIVATOR_NAME, KEDA_NAME, SCALER_NAME, SECRETS

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from hearth.activator.keyring import KeySource
    from hearth.crd_translator import EngineClient


class LogFormatChoice(enum.StrEnum):
    auto = "auto"
    json = "json"
    text = "text"


class TlsMode(enum.StrEnum):
    controller = "controller"
    cert_manager = "certManager"
    off = "off"


LogFormat = Annotated[LogFormatChoice, typer.Option("--log-format", help="auto: text on a terminal, else JSON.")]
LogLevel = Annotated[str, typer.Option("--log-level", help="debug, info, warning or error.")]
Namespaces = Annotated[
    list[str] | None,
    typer.Option("--namespace", help="Namespace of LLMServices. Repeat for more.  [default: all namespaces]"),
]
Tls = Annotated[
    Path | None,
    typer.Option(
        help="Folder with tls.crt, tls.key and ca.crt, read again when they change: activators, scalers and KEDA speak "
        "mutual TLS.  [default: plain text]"
    ),
]
OperationsListen = Annotated[str, typer.Option(help="host:port of /metrics, /healthz and /readyz.")]


@app.command()
def activator(
    listen: Annotated[
        str,
        typer.Option(
            help="host:port for clients; [::] is every address, of IPv4 too; off: with --clients-tls, TLS alone."
        ),
    ] = "[::]:8080",
    demand_listen: Annotated[str, typer.Option(help="host:port for scalers.")] = "[::]:9091",
    operations_listen: OperationsListen = "[::]:8081",
    kubeconfig: Annotated[Path | None, typer.Option(help="Kubeconfig.  [default: the pod's service account]")] = None,
    max_body_bytes: Annotated[int, typer.Option(min=1, help="Largest request body.")] = 64 * 2**20,
    buffer_bytes: Annotated[
        int, typer.Option(min=2**20, help="Bodies of all requests together that are held in memory.")
    ] = 512 * 2**20,
    keep_alive_seconds: Annotated[
        float,
        typer.Option(
            min=1, help="How long a client's idle connection stays; longer than its pool or load balancer keeps it."
        ),
    ] = 620.0,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Origin whose web pages may read answers, such as https://chat.example, or *. Repeat for more."
        ),
    ] = None,
    drain_delay_seconds: Annotated[
        float, typer.Option(min=0, help="After SIGTERM: not ready, and accepting still, until others have heard it.")
    ] = 0.0,
    grace_seconds: Annotated[float, typer.Option(min=0, help="For answers under way after SIGTERM.")] = 120.0,
    namespace: Namespaces = None,
    api_keys: Annotated[
        str | None,
        typer.Option(
            help="NAMESPACE/NAME[/KEY] of a Secret whose API keys open every LLMService that has none of its own. "
            " [default: those need no key]"
        ),
    ] = None,
    cold_starts_per_address: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Cold starts that the requests of one client's address may ask for in an hour.  [default: no limit]",
        ),
    ] = None,
    tls: Tls = None,
    scaler_name: Annotated[
        str, typer.Option(help="With --tls: the name that a scaler's certificate must have.")
    ] = SCALER_NAME,
    clients_tls: Annotated[
        Path | None,
        typer.Option(
            help="Folder with tls.crt and tls.key, read again when they change: serve clients over TLS too.  "
            "[default: plain text alone]"
        ),
    ] = None,
    https_listen: Annotated[str, typer.Option(help="With --clients-tls: host:port for clients.")] = "[::]:8443",
    access_log: Annotated[bool, typer.Option("--access-log", help="A line of log for each request.")] = False,
    otlp_endpoint: Annotated[
        str | None,
        typer.Option(
            envvar="OTEL_EXPORTER_OTLP_ENDPOINT", help="OTLP/HTTP receiver of traces, such as http://collector:4318."
        ),
    ] = None,
    log_format: LogFormat = LogFormatChoice.auto,
    log_level: LogLevel = "info",
) -> None:
    """The HTTP door of every LLMService: admits, holds, keeps alive, relays."""
    from hearth.activator.server import ActivatorConfig, run_activator
    from hearth.http1.limits import Limits

    traces_url = _traces_url(otlp_endpoint)
    if traces_url is not None:
        try:
            import opentelemetry.exporter.otlp.proto.http  # noqa: F401
        except ImportError:
            refuse("--otlp-endpoint: OpenTelemetry is not installed; pip install 'hearth[otel]'")
    config = ActivatorConfig(
        *(listen, demand_listen, operations_listen, kubeconfig),
        limits=Limits(body_bytes=max_body_bytes, keep_alive_seconds=keep_alive_seconds),
        buffer_bytes=buffer_bytes,
        origins=tuple(cors_origin or ()),
        access_log=access_log,
        traces_url=traces_url,
        drain_delay_seconds=drain_delay_seconds,
        grace_seconds=grace_seconds,
        namespaces=tuple(dict.fromkeys(namespace or ())),
        keys=_key_source("--api-keys", api_keys),
        cold_starts_per_address=cold_starts_per_address,
        tls=tls,
        scaler_name=scaler_name,
        clients_tls=clients_tls,
        https_listen=https_listen,
    )
    _run_role(run_activator(config), log_format, log_level)


@app.command()
def scaler(
    listen: Annotated[str, typer.Option(help="host:port for KEDA.")] = "[::]:9090",
    activator: Annotated[
        list[str] | None, typer.Option(help="Demand address (host:port) of an activator. Repeat for more.")
    ] = None,
    activator_service: Annotated[
        str | None, typer.Option(help="NAMESPACE/NAME of the activators' Service, whose endpoints are watched.")
    ] = None,
    activator_grace_seconds: Annotated[
        float,
        typer.Option(
            min=0,
            help="terminationGracePeriodSeconds of the activators' pods: one that terminates and was not heard for as "
            "long is gone.",
        ),
    ] = 150.0,
    tls: Tls = None,
    keda_name: Annotated[str, typer.Option(help="With --tls: the name that KEDA's certificate must have.")] = KEDA_NAME,
    activator_name: Annotated[
        str | None,
        typer.Option(
            help="With --tls: the name that an activator's certificate must have.  [default: that of "
            f"--activator-service, or {ACTIVATOR_NAME}]"
        ),
    ] = None,
    operations_listen: OperationsListen = "[::]:8081",
    kubeconfig: Annotated[Path | None, typer.Option(help="Kubeconfig.  [default: the pod's service account]")] = None,
    log_format: LogFormat = LogFormatChoice.auto,
    log_level: LogLevel = "info",
) -> None:
    """KEDA's external scaler: adds up the demand of all activators."""
    from hearth.scaler.server import ScalerConfig, run_scaler

    if bool(activator) == bool(activator_service):
        refuse(
            "--activator, --activator-service: expected one of them: the demand address of every activator, such as "
            "127.0.0.1:9091, or their Service, such as hearth-system/hearth-activator"
        )
    service = _namespaced("--activator-service", activator_service)
    identity = os.environ.get("HOSTNAME") or socket.gethostname()
    config = ScalerConfig(
        *(listen, operations_listen, tuple(activator or ()), identity, service, kubeconfig),
        activator_grace_seconds=activator_grace_seconds,
        tls=tls,
        keda_name=keda_name,
        activator_name=activator_name or (f"{service[1]}.{service[0]}.svc" if service else ACTIVATOR_NAME),
    )
    _run_role(run_scaler(config), log_format, log_level)


@app.command()
def controller(
    kubeconfig: Annotated[Path | None, typer.Option(help="Kubeconfig.  [default: the pod's service account]")] = None,
    scaler_address: Annotated[
        str, typer.Option(help="host:port of the scaler's Service, for KEDA.")
    ] = "hearth-scaler.hearth-system.svc:9090",
    activator_host: Annotated[
        str, typer.Option(help="Host of the activator's Service, for every LLMService's alias.")
    ] = "hearth-activator.hearth-system.svc",
    cluster_domain: Annotated[
        str | None,
        typer.Option(
            help="Domain of the cluster's Services, put behind hosts that end in .svc.  [default: the resolver's]"
        ),
    ] = None,
    operations_listen: OperationsListen = "[::]:8081",
    accelerator_price: AcceleratorPrice = None,
    namespace: Namespaces = None,
    api_key_secret: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of Secrets with API keys that activators may be let read. Repeat for more; the controller's "
            "account needs the right for each.  [default: hearth-api-keys]"
        ),
    ] = None,
    activator_account: Annotated[
        str, typer.Option(help="NAMESPACE/NAME of the activators' ServiceAccount.")
    ] = "hearth-system/hearth-activator",
    tls: Annotated[
        TlsMode,
        typer.Option(
            help="Who makes the certificates of scalers, activators and KEDA: the controller, or cert-manager (by "
            "deploy/cert-manager). off: they speak plain text, as where a mesh encrypts."
        ),
    ] = TlsMode.off,
    activator_certificate: Annotated[
        str, typer.Option(help="With --tls: NAMESPACE/NAME of the Secret of the activators' certificate.")
    ] = SECRETS["activator"],
    scaler_certificate: Annotated[
        str, typer.Option(help="With --tls: NAMESPACE/NAME of the Secret of the scalers' certificate.")
    ] = SECRETS["scaler"],
    keda_certificate: Annotated[
        str, typer.Option(help="With --tls: NAMESPACE/NAME of the Secret of KEDA's, in KEDA's own namespace.")
    ] = SECRETS["keda"],
    certificate_hours: Annotated[
        float, typer.Option(min=0.001, help="With --tls=controller: how long a certificate is valid.")
    ] = 90 * 24.0,
    authority_hours: Annotated[
        float, typer.Option(min=0.001, help="With --tls=controller: how long their authority is valid.")
    ] = 5 * 365 * 24.0,
    engine_client: Annotated[
        list[str] | None,
        typer.Option(
            help="NAMESPACE, or NAMESPACE/NAME of pods with the label app.kubernetes.io/name=NAME: they may reach "
            "engines, and no other pod may, by a NetworkPolicy of each LLMService. Repeat for more.  [default: no "
            "NetworkPolicies]"
        ),
    ] = None,
    lease: Annotated[
        str | None, typer.Option(help="NAMESPACE/NAME of the Lease whose holder works.  [default: no election]")
    ] = None,
    identity: Annotated[str | None, typer.Option(help="Name on the Lease.  [default: the host's, made unique]")] = None,
    log_format: LogFormat = LogFormatChoice.auto,
    log_level: LogLevel = "info",
) -> None:
    """Apply what LLMServices become in a cluster, and write their status."""
    import uuid

    from hearth.api.keys import DEFAULT_KEYS_SECRET
    from hearth.controller.issuing import Issuing, Place, hosts, lives
    from hearth.controller.keys import KeyAccess
    from hearth.controller.server import ControllerConfig, run_controller
    from hearth.kube.clusterdomain import cluster_domain as found
    from hearth.kube.clusterdomain import in_domain

    held = _namespaced("--lease", lease)
    identity = identity or f"{os.environ.get('HOSTNAME') or socket.gethostname()}_{uuid.uuid4().hex[:8]}"
    domain = cluster_domain or found()
    written = scaler_address, activator_host
    scaler_address, activator_host = in_domain(scaler_address, domain), in_domain(activator_host, domain)
    places = [
        Place(*(_namespaced(option, given) or ("", "")))
        for option, given in (
            ("--activator-certificate", activator_certificate),
            ("--scaler-certificate", scaler_certificate),
            ("--keda-certificate", keda_certificate),
        )
    ]
    config = ControllerConfig(
        *(kubeconfig, scaler_address, activator_host, operations_listen, held, identity, accelerator_price),
        namespaces=tuple(dict.fromkeys(namespace or ())),
        key_access=KeyAccess(
            _namespaced("--activator-account", activator_account) or ("", ""),
            tuple(dict.fromkeys(api_key_secret or (DEFAULT_KEYS_SECRET,))),
        ),
        issuing=Issuing(
            tls.value,
            *(places[0], places[1], places[2]),
            activator_names=hosts(written[1], activator_host, ACTIVATOR_NAME),
            scaler_names=hosts(written[0].rpartition(":")[0], scaler_address.rpartition(":")[0], SCALER_NAME),
            lives=lives(certificate_hours, authority_hours),
        ),
        engine_clients=tuple(dict.fromkeys(_engine_client(each) for each in engine_client or ())),
    )
    _run_role(run_controller(config), log_format, log_level)


def _namespaced(option: str, given: str | None) -> tuple[str, str] | None:
    """(namespace, name) of an object given as NAMESPACE/NAME."""
    if given is None:
        return None
    namespace, _, name = given.partition("/")
    if not (namespace and name):
        refuse(f"{option}: found {given!r}; expected NAMESPACE/NAME")
    return namespace, name


def _traces_url(endpoint: str | None) -> str | None:
    """Where spans are sent. A variable of their own is taken as it is, and counts more than that of all signals:
    https://opentelemetry.io/docs/specs/otel/protocol/exporter/#endpoint-urls-for-otlphttp"""
    variable = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    if own := os.environ.get(variable):
        name, given, url = variable, own, own
    elif endpoint:
        name, given, url = "--otlp-endpoint", endpoint, f"{endpoint.rstrip('/')}/v1/traces"
    else:
        return None
    if not is_http_url(url):
        refuse(f"{name}: found {given!r}; expected a URL such as http://collector:4318")
    return url


def _engine_client(given: str) -> "EngineClient":
    """Pods given as NAMESPACE or NAMESPACE/NAME."""
    from hearth.crd_translator import EngineClient

    parts = given.split("/")
    if len(parts) > 2 or not all(parts):
        refuse(f"--engine-client: found {given!r}; expected NAMESPACE or NAMESPACE/NAME of pods")
    return EngineClient(*parts)


def _key_source(option: str, given: str | None) -> "KeySource | None":
    """The Secret's entry given as NAMESPACE/NAME or NAMESPACE/NAME/KEY."""
    from hearth.activator.keyring import KeySource
    from hearth.api.keys import DEFAULT_KEYS_ENTRY

    if given is None:
        return None
    parts = given.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        refuse(f"{option}: found {given!r}; expected NAMESPACE/NAME or NAMESPACE/NAME/KEY of a Secret")
    return KeySource(parts[0], parts[1], parts[2] if len(parts) == 3 else DEFAULT_KEYS_ENTRY)


def _run_role(role: "Coroutine[object, object, None]", log_format: LogFormatChoice, log_level: str) -> None:
    """Run a role until it is told to stop, on uvloop."""
    import logging

    import uvloop

    from hearth.kube.errors import KubeError, LeadershipLost
    from hearth.logs import configure, fields

    if log_level.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        role.close()
        refuse(f"--log-level: found {log_level!r}; allowed: debug, info, warning, error")
    configure(log_format.value, log_level)
    try:
        uvloop.run(role)
    except (OSError, KubeError, LeadershipLost) as error:
        logging.getLogger("hearth").error("cannot serve", extra=fields(reason=str(error)))
        raise typer.Exit(1) from error
