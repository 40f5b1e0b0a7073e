"""The command line. Thin: a role's modules are imported only when it runs, so that `hearth --help` is quick.

Exit codes: 0 done; 1 it ran and failed; 2 what was given can't be used, and nothing was started.
"""

import enum
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from rich.console import Console

    from hearth.api.inferenceruntime import InferenceRuntime
    from hearth.api.llmservice import LLMService
    from hearth.commands.access import Access
    from hearth.local.up import UpConfig

SIM_OPTIONS = (
    *("start-seconds", "load-seconds", "tokens-per-second", "slots", "cached-prompts", "prefill-seconds"),
    *("fault", "fault-file"),
)

app = typer.Typer(
    name="hearth",
    help="Private LLMs on Kubernetes at zero idle cost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Rich would take 0.2 s to import for every --help; what a role shows is drawn with it
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Output(enum.StrEnum):
    yaml = "yaml"
    json = "json"


class TableOutput(enum.StrEnum):
    table = "table"
    yaml = "yaml"
    json = "json"


class EngineChoice(enum.StrEnum):
    sim = "sim"
    command = "command"


class LogFormatChoice(enum.StrEnum):
    auto = "auto"
    json = "json"
    text = "text"


Files = Annotated[
    list[str], typer.Option("--file", "-f", help="An LLMService manifest; repeat for more, - is standard input.")
]
RuntimesFolder = Annotated[
    Path | None, typer.Option("--runtimes", help="Folder of InferenceRuntime manifests.  [default: the bundled ones]")
]
Vendor = Annotated[str | None, typer.Option(help="Render as if only this vendor had nodes.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", help="Change a field: spec.scaling.max=3. Repeat for more.")
]
LogFormat = Annotated[LogFormatChoice, typer.Option("--log-format", help="auto: text on a terminal, else JSON.")]
LogLevel = Annotated[str, typer.Option("--log-level", help="debug, info, warning or error.")]
Kubeconfig = Annotated[
    Path | None, typer.Option(help="Kubeconfig.  [default: $KUBECONFIG, ~/.kube/config, the pod's service account]")
]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace.  [default: the kubeconfig's, or default]")
]
DataOutput = Annotated[TableOutput, typer.Option("--output", "-o", help="Format.")]
OperationsListen = Annotated[str, typer.Option(help="host:port of /metrics, /healthz and /readyz.")]
AcceleratorPrice = Annotated[
    float | None, typer.Option(min=0, help="Of one accelerator for an hour, in your currency, for the dashboards.")
]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port of the OpenAI endpoint.")]
HpaSync = Annotated[float, typer.Option(min=0.1, help="Seconds between two looks of the HPA (Kubernetes: 15).")]
Engine = Annotated[
    EngineChoice, typer.Option(help="sim: the simulated engine; command: the container's own, if it is installed.")
]
Sim = Annotated[
    list[str] | None,
    typer.Option(help=f"Option of the simulated engine, NAME=VALUE ({', '.join(SIM_OPTIONS)}). Repeat for more."),
]


def _version(asked: bool) -> None:
    if asked:
        from hearth import __version__

        typer.echo(f"hearth {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def render(
    file: Files,
    runtimes: RuntimesFolder = None,
    vendor: Vendor = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="Format.")] = Output.yaml,
    assign: Assignments = None,
) -> None:
    """Print the Kubernetes objects that LLMServices become: plain YAML, no cluster needed."""
    services = _services(file, assign or [])
    known = _runtimes(runtimes)
    objects = _rendered(services, known, _accelerators(known, vendor))
    if output is Output.json:
        import json

        typer.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=2))
    else:
        import yaml

        typer.echo(yaml.safe_dump_all(objects, sort_keys=False, width=110, allow_unicode=True), nl=False)


@app.command()
def up(
    file: Files,
    runtimes: RuntimesFolder = None,
    vendor: Vendor = None,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    engine: Engine = EngineChoice.sim,
    sim: Sim = None,
    assign: Assignments = None,
    hpa_sync_seconds: HpaSync = 15.0,
    accelerator_price: AcceleratorPrice = None,
) -> None:
    """Run LLMServices on this machine, without Kubernetes: the same activator, scaler and rules."""
    from hearth.local.view import show

    _run_local(file, runtimes, vendor, host, port, engine, sim, assign, hpa_sync_seconds, show, accelerator_price)


@app.command()
def demo(
    file: Files,
    runtimes: RuntimesFolder = None,
    vendor: Vendor = None,
    port: Port = 8080,
    sim: Sim = None,
    assign: Assignments = None,
    hpa_sync_seconds: HpaSync = 15.0,
) -> None:
    """Run `up` without a person: cold requests, a burst, silence, zero. Exit 0 only if all of it was seen."""
    from hearth.local.demo import SETTINGS, SIM_SETTINGS, run_demo

    assign = [*SETTINGS, *(assign or [])]
    sim = [*SIM_SETTINGS, *(sim or [])]
    host, engine = "127.0.0.1", EngineChoice.sim
    _run_local(file, runtimes, vendor, host, port, engine, sim, assign, hpa_sync_seconds, run_demo)


@app.command()
def activator(
    listen: Annotated[str, typer.Option(help="host:port for clients.")] = "0.0.0.0:8080",
    demand_listen: Annotated[str, typer.Option(help="host:port for scalers.")] = "0.0.0.0:9091",
    operations_listen: OperationsListen = "0.0.0.0:8081",
    kubeconfig: Annotated[Path | None, typer.Option(help="Kubeconfig.  [default: the pod's service account]")] = None,
    max_body_bytes: Annotated[int, typer.Option(min=1, help="Largest request body.")] = 64 * 2**20,
    grace_seconds: Annotated[float, typer.Option(min=0, help="For answers under way after SIGTERM.")] = 120.0,
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

    if otlp_endpoint is not None:
        try:
            import opentelemetry.exporter.otlp.proto.http  # noqa: F401
        except ImportError:
            _refuse("--otlp-endpoint: OpenTelemetry is not installed; pip install 'hearth[otel]'")
    config = ActivatorConfig(
        *(listen, demand_listen, operations_listen, kubeconfig, max_body_bytes, access_log, otlp_endpoint),
        grace_seconds=grace_seconds,
    )
    _run_role(run_activator(config), log_format, log_level, access_log=access_log)


@app.command()
def scaler(
    listen: Annotated[str, typer.Option(help="host:port for KEDA.")] = "0.0.0.0:9090",
    activator: Annotated[
        list[str] | None, typer.Option(help="Demand address (host:port) of an activator. Repeat for more.")
    ] = None,
    activator_service: Annotated[
        str | None, typer.Option(help="NAMESPACE/NAME of the activators' Service, whose endpoints are watched.")
    ] = None,
    operations_listen: OperationsListen = "0.0.0.0:8081",
    kubeconfig: Annotated[Path | None, typer.Option(help="Kubeconfig.  [default: the pod's service account]")] = None,
    log_format: LogFormat = LogFormatChoice.auto,
    log_level: LogLevel = "info",
) -> None:
    """KEDA's external scaler: adds up the demand of all activators."""
    from hearth.scaler.server import ScalerConfig, run_scaler

    if bool(activator) == bool(activator_service):
        _refuse(
            "--activator, --activator-service: expected one of them: the demand address of every activator, such as "
            "127.0.0.1:9091, or their Service, such as hearth-system/hearth-activator"
        )
    service = _namespaced("--activator-service", activator_service)
    identity = os.environ.get("HOSTNAME") or socket.gethostname()
    config = ScalerConfig(listen, operations_listen, tuple(activator or ()), identity, service, kubeconfig)
    _run_role(run_scaler(config), log_format, log_level)


@app.command()
def controller(
    kubeconfig: Annotated[Path | None, typer.Option(help="Kubeconfig.  [default: the pod's service account]")] = None,
    scaler_address: Annotated[
        str, typer.Option(help="host:port of the scaler's Service, for KEDA.")
    ] = "hearth-scaler.hearth-system.svc.cluster.local:9090",
    activator_host: Annotated[
        str, typer.Option(help="Host of the activator's Service, for every LLMService's alias.")
    ] = "hearth-activator.hearth-system.svc.cluster.local",
    operations_listen: OperationsListen = "0.0.0.0:8081",
    accelerator_price: AcceleratorPrice = None,
    lease: Annotated[
        str | None, typer.Option(help="NAMESPACE/NAME of the Lease whose holder works.  [default: no election]")
    ] = None,
    identity: Annotated[str | None, typer.Option(help="Name on the Lease.  [default: the host's, made unique]")] = None,
    log_format: LogFormat = LogFormatChoice.auto,
    log_level: LogLevel = "info",
) -> None:
    """Apply what LLMServices become in a cluster, and write their status."""
    import uuid

    from hearth.controller.server import ControllerConfig, run_controller

    held = _namespaced("--lease", lease)
    identity = identity or f"{os.environ.get('HOSTNAME') or socket.gethostname()}_{uuid.uuid4().hex[:8]}"
    config = ControllerConfig(
        kubeconfig, scaler_address, activator_host, operations_listen, held, identity, accelerator_price
    )
    _run_role(run_controller(config), log_format, log_level)


@app.command()
def top(
    kubeconfig: Kubeconfig = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Only this one.  [default: all]")] = None,
    output: DataOutput = TableOutput.table,
) -> None:
    """Every LLMService: replicas, queue, cold start. Live on a terminal; once elsewhere, and with -o json or yaml."""
    from rich.console import Console

    from hearth.commands.top import rows, table, watch

    async def run(access: "Access") -> int:
        console = Console()
        async with access.client() as kube:
            if output is TableOutput.table and console.is_terminal:
                await watch(console, lambda: rows(kube, namespace))
            found = await rows(kube, namespace)
        if output is not TableOutput.table:
            _print_data([row.to_data() for row in found], output)
        else:
            from collections import defaultdict, deque

            plain = console if console.is_terminal else Console(width=200)  # nothing is cut in a file
            plain.print(table(found, defaultdict(deque)))
        return 0

    _ask_cluster(run, kubeconfig, namespace)


@app.command()
def status(
    name: Annotated[str, typer.Argument(help="An LLMService.")],
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    output: DataOutput = TableOutput.table,
) -> None:
    """What one LLMService is doing, and why: down to KEDA, the HPA and its pods. Exit 1 where somebody has to act."""
    from rich.console import Console
    from rich.markup import escape

    from hearth.commands.status import explain, find

    async def run(access: "Access") -> int:
        async with access.client() as kube:
            found = await find(kube, access.namespace, name)
        if found is None:
            _refuse(f"LLMService {access.namespace}/{name}: there is none; `hearth top` lists those that there are")
        explanation = explain(found)
        if output is not TableOutput.table:
            _print_data(explanation.to_data(), output)
        else:
            console = Console()
            for depth, link in enumerate(explanation.links):
                mark = "[green]✓[/]" if link.well else "[red]✗[/]"
                indent = "  " * min(depth, 4)
                line = f"{indent}{mark} [bold]{link.kind}[/] {escape(link.name)}  {escape(link.says)}"
                console.print(line, highlight=False, soft_wrap=True)
        return 0 if explanation.well and all(link.well for link in explanation.links) else 1

    _ask_cluster(run, kubeconfig, namespace)


@app.command()
def doctor(kubeconfig: Kubeconfig = None, output: DataOutput = TableOutput.table) -> None:
    """Whether a cluster has what Hearth needs; for what it has not, what to do. Exit 1 where something is missing."""
    from rich.console import Console
    from rich.markup import escape

    from hearth.commands.doctor import examine

    async def run(access: "Access") -> int:
        async with access.client() as kube:
            checks = await examine(kube)
        if output is not TableOutput.table:
            _print_data([check.to_data() for check in checks], output)
        else:
            console = Console()
            for check in checks:
                mark = "[green]✓[/]" if check.well else "[red]✗[/]"
                line = f"{mark} [bold]{escape(check.what)}[/]  {escape(check.found)}"
                console.print(line, highlight=False, soft_wrap=True)
                if not check.well:
                    console.print(f"    → {escape(check.fix)}", highlight=False, soft_wrap=True)
        return 0 if all(check.well for check in checks) else 1

    _ask_cluster(run, kubeconfig, None)


@app.command()
def chat(
    model: Annotated[str, typer.Argument(help="NAME or NAMESPACE/NAME of an LLMService.")],
    message: Annotated[
        list[str] | None,
        typer.Option("--message", "-m", help="Ask this and end; repeat for more.  [default: ask for it]"),
    ] = None,
    url: Annotated[
        str, typer.Option(envvar="HEARTH_URL", help="Of the activator, without /v1.")
    ] = "http://127.0.0.1:8080",
    key: Annotated[str, typer.Option(envvar="OPENAI_API_KEY", help="Sent as the bearer token.")] = "none",
) -> None:
    """Talk to a model: its cold start is shown as it goes, then its words as they come."""
    import httpx
    from rich.console import Console

    from hearth.commands.chat import ChatFailed, Conversation, show

    conversation = Conversation(url.rstrip("/").removesuffix("/v1"), model, key)
    out, err = Console(), Console(stderr=True)
    # A held request is silent for a heartbeat's time at most; the largest interval that can be set is a minute.
    with httpx.Client(timeout=httpx.Timeout(10, read=90), trust_env=False) as client:
        for question in message if message is not None else _questions(err):
            try:
                show(conversation.ask(client, question), out, err)
            except ChatFailed as error:
                typer.echo(f"hearth: {error}", err=True)
                raise typer.Exit(1) from error


def main() -> None:
    """The entry point of the `hearth` command."""
    app()


def _questions(console: "Console") -> "Iterator[str]":
    """Lines of standard input, with a prompt where a person writes them."""
    while True:
        if sys.stdin.isatty():
            console.print("[bold]>[/] ", end="")
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _ask_cluster(
    run: "Callable[[Access], Coroutine[object, object, int]]", kubeconfig: Path | None, namespace: str | None
) -> None:
    """Run a command that reads a cluster, and end with the exit code that it returns."""
    import asyncio

    from hearth.commands.access import Access
    from hearth.kube.errors import ApiUnavailable

    try:
        code = asyncio.run(run(Access.find(kubeconfig, namespace)))
    except ApiUnavailable as error:
        _refuse(f"{error}; give --kubeconfig, or set KUBECONFIG")
    except KeyboardInterrupt:
        code = 0
    if code:
        raise typer.Exit(code)


def _print_data(data: object, output: TableOutput) -> None:
    if output is TableOutput.json:
        import json

        typer.echo(json.dumps(data, indent=2))
    else:
        import yaml

        typer.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), nl=False)


def _namespaced(option: str, given: str | None) -> tuple[str, str] | None:
    """(namespace, name) of an object given as NAMESPACE/NAME."""
    if given is None:
        return None
    namespace, _, name = given.partition("/")
    if not (namespace and name):
        _refuse(f"{option}: found {given!r}; expected NAMESPACE/NAME")
    return namespace, name


def _run_role(
    role: "Coroutine[object, object, None]", log_format: LogFormatChoice, log_level: str, *, access_log: bool = False
) -> None:
    """Run a role until it is told to stop, on uvloop."""
    import logging

    import uvloop

    from hearth.kube.errors import ApiUnavailable, LeadershipLost
    from hearth.logs import configure, fields

    if log_level.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        role.close()
        _refuse(f"--log-level: found {log_level!r}; allowed: debug, info, warning, error")
    configure(log_format.value, log_level, access_log=access_log)
    try:
        uvloop.run(role)
    except (OSError, ApiUnavailable, LeadershipLost) as error:
        logging.getLogger("hearth").error("cannot serve", extra=fields(reason=str(error)))
        raise typer.Exit(1) from error


def _run_local(
    file: list[str],
    runtimes: Path | None,
    vendor: str | None,
    host: str,
    port: int,
    engine: EngineChoice,
    sim: list[str] | None,
    assign: list[str] | None,
    hpa_sync_seconds: float,
    run: "Callable[[UpConfig], Coroutine[object, object, bool]]",
    accelerator_price: float | None = None,
) -> None:
    """Check everything that was given, then run; exit 1 where `run` says False."""
    import asyncio
    import tempfile

    from hearth.local.deployment import EngineOptions
    from hearth.local.up import StartFailed, UpConfig

    services = _services(file, assign or [])
    known = _runtimes(runtimes)
    accelerators = _accelerators(known, vendor)
    engines = EngineOptions(engine.value, _sim_arguments(sim or []))
    _rendered(services, known, accelerators)  # what can't be rendered is refused before anything starts
    with tempfile.TemporaryDirectory(prefix="hearth-") as folder:
        config = UpConfig(
            *(services, known, Path(folder), host, port, engines, hpa_sync_seconds, accelerators, accelerator_price)
        )
        try:
            done = asyncio.run(run(config))
        except asyncio.CancelledError:
            typer.echo("hearth: stopped before it was done", err=True)
            done = False
        except OSError as error:
            _refuse(str(error))
        except StartFailed as error:
            typer.echo(f"hearth: {error}", err=True)
            done = False
    if not done:
        raise typer.Exit(1)


def _services(files: list[str], assignments: list[str]) -> "list[LLMService]":
    from hearth.api.manifest import ManifestError, load_llmservices, parse_llmservice, set_fields

    try:
        services = load_llmservices(files)
        if assignments:
            manifests = [set_fields(service.to_manifest(), assignments) for service in services]
            services = [parse_llmservice(manifest, "--set") for manifest in manifests]
    except ManifestError as error:
        _refuse(*map(str, error.problems))
    except ValueError as error:
        _refuse(f"--set: {error}")
    return services


def _rendered(
    services: "list[LLMService]", runtimes: "list[InferenceRuntime]", accelerators: frozenset[str] | None
) -> "list[dict[str, Any]]":
    """What the LLMServices become in a cluster with these accelerators."""
    from hearth.crd_translator import ClusterFacts, RuntimeNotResolved
    from hearth.crd_translator import render as translate

    facts = ClusterFacts(accelerators=accelerators)
    try:
        return [item for service in services for item in translate(service, runtimes, facts).objects]
    except RuntimeNotResolved as error:
        _refuse(str(error))


def _runtimes(folder: Path | None) -> "list[InferenceRuntime]":
    from hearth.api.manifest import ManifestError, load_runtimes

    if folder is None:
        package = Path(__file__).parent
        # In a wheel the manifests lie in the package, in a checkout beside it.
        folder = next(path for path in (package / "runtimes", package.parent / "runtimes") if path.is_dir())
    try:
        return load_runtimes(folder)
    except ManifestError as error:
        _refuse(*map(str, error.problems))


def _accelerators(runtimes: "list[InferenceRuntime]", vendor: str | None) -> frozenset[str] | None:
    """The extended resources of a cluster that has nodes of one vendor only; None: not known."""
    if vendor is None:
        return None
    matching = [runtime for runtime in runtimes if runtime.spec.vendor == vendor]
    if not matching:
        known = ", ".join(sorted({runtime.spec.vendor for runtime in runtimes}))
        _refuse(f"--vendor: found {vendor!r}; the InferenceRuntimes are for: {known}")
    return frozenset(name for runtime in matching if (name := runtime.spec.accelerator.resource_name))


def _sim_arguments(assignments: list[str]) -> tuple[str, ...]:
    arguments: list[str] = []
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or name not in SIM_OPTIONS:
            _refuse(f"--sim: found {assignment!r}; expected NAME=VALUE with a NAME of {', '.join(SIM_OPTIONS)}")
        arguments += [f"--{name}", value]
    return tuple(arguments)


def _refuse(*messages: str) -> NoReturn:
    """Say what is wrong, a line each, and exit with 2."""
    for message in messages:
        typer.echo(f"hearth: {message}", err=True)
    sys.exit(2)
