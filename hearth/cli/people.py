"""`hearth top`, `status`, `doctor`, `runtime check`, `chat`: what people ask."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hearth.cli.common import Kubeconfig, TableOutput, app, is_http_url, print_data, refuse
from hearth.cli.terminal import told

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from rich.console import Console

    from hearth.commands.access import Access
    from hearth.commands.check import Check


Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace.  [default: the kubeconfig's, or default]")
]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig.  [default: its current one]")]
DataOutput = Annotated[TableOutput, typer.Option("--output", "-o", help="Output format.")]


@app.command()
def top(
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Show only this namespace.  [default: all]")
    ] = None,
    output: DataOutput = TableOutput.table,
) -> None:
    """Show every LLMService: its replicas, its queue, what is in its way. Live on a terminal; once elsewhere."""
    from hearth.commands.console import PipedConsole
    from hearth.commands.top import rows, table, watch

    async def run(access: "Access") -> int:
        console = PipedConsole()
        async with access.client() as kube:
            # What can't move its cursor would be shown nothing before the end.
            if output is TableOutput.table and console.is_terminal and not console.is_dumb_terminal:
                await watch(console, lambda: rows(kube, namespace))
            found = await rows(kube, namespace)
        if output is not TableOutput.table:
            print_data([row.to_data() for row in found], output)
        else:
            from collections import defaultdict, deque

            plain = console if console.is_terminal else PipedConsole(width=1000)  # nothing is folded in a file
            plain.print(table(found, defaultdict(deque), plain.width))
        return 0

    _ask_cluster(run, kubeconfig, namespace, context, stopped=0)


@app.command()
def status(
    name: Annotated[str, typer.Argument(help="NAME or NAMESPACE/NAME of an LLMService.")],
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
    output: DataOutput = TableOutput.table,
) -> None:
    """Show what one LLMService does and why, down to KEDA, HPA and pods. Exits with 1 if somebody has to act."""
    from rich.markup import escape

    from hearth.commands.console import PipedConsole, visible
    from hearth.commands.status import explain, find

    within, separator, alone = name.rpartition("/")
    if separator and namespace not in (None, within):
        refuse(f"{name}: its namespace is {within}, and --namespace is {namespace}; give one of the two")
    name, namespace = alone, within if separator else namespace
    _check_name("LLMService", name)
    _check_name("its namespace", within)

    async def run(access: "Access") -> int:
        async with access.client() as kube:
            found = await find(kube, access.namespace, name)
        if found is None:
            refuse(f"LLMService {access.namespace}/{name}: there is none; `hearth top` lists those that there are")
        explanation = explain(found)
        if output is not TableOutput.table:
            print_data(explanation.to_data(), output)
        else:
            console = PipedConsole()
            for depth, link in enumerate(explanation.links):
                mark = "[green]✓[/]" if link.well else "[red]✗[/]"
                indent = "  " * min(depth, 4)
                line = f"{indent}{mark} [bold]{link.kind}[/] {escape(link.name)}  {escape(visible(link.says))}"
                console.print(line, highlight=False, soft_wrap=True)
        return 0 if explanation.well and all(link.well for link in explanation.links) else 1

    _ask_cluster(run, kubeconfig, namespace, context)


@app.command()
def doctor(kubeconfig: Kubeconfig = None, context: Context = None, output: DataOutput = TableOutput.table) -> None:
    """Show whether a cluster has what Hearth needs, and what to do if not. Exits with 1 if something is missing."""
    from hearth.commands.doctor import examine

    async def run(access: "Access") -> int:
        async with access.client() as kube:
            return _show_checks(await examine(kube), output)

    _ask_cluster(run, kubeconfig, None, context)


runtime_app = typer.Typer(name="runtime", help="Look at an InferenceRuntime before you apply it.", no_args_is_help=True)
app.add_typer(runtime_app)


@runtime_app.command()
def check(
    file: Annotated[list[str], typer.Argument(help="Files of InferenceRuntimes; - is standard input.")],
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Ask kubectl's cluster too; --kubeconfig and --context do.")
    ] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: DataOutput = TableOutput.table,
) -> None:
    """Show what an InferenceRuntime lacks, in its file and in a cluster. Writes nothing; exits with 1 if it does."""
    from hearth.api.manifest import ManifestError, load_each_runtime
    from hearth.commands.runtimefile import file_checks, refused_checks

    checks: list[Check] = []
    runtimes = []
    for each in file:
        try:
            found = load_each_runtime(each)
        except ManifestError as error:
            refuse(*map(str, error.problems))
        for runtime in found:
            if isinstance(runtime, ManifestError):
                checks += refused_checks(runtime)
            else:
                checks += file_checks(runtime)
                runtimes.append(runtime)

    async def run(access: "Access") -> int:
        from hearth.commands.runtimecluster import cluster_checks

        async with access.client() as kube:
            return _show_checks([*checks, *await cluster_checks(kube, runtimes)], output)

    if cluster or kubeconfig is not None or context is not None:
        _ask_cluster(run, kubeconfig, None, context)
    else:
        with told():
            code = _show_checks(checks, output)
        raise typer.Exit(code)


def _show_checks(checks: "Sequence[Check]", output: TableOutput) -> int:
    """Print checks; the exit code that they are."""
    from rich.markup import escape

    from hearth.commands.console import PipedConsole, visible

    if output is not TableOutput.table:
        print_data([check.to_data() for check in checks], output)
    else:
        console = PipedConsole()
        for check in checks:
            mark = "[green]✓[/]" if check.well else "[red]✗[/]"
            line = f"{mark} [bold]{escape(check.what)}[/]  {escape(visible(check.found))}"
            console.print(line, highlight=False, soft_wrap=True)
            if not check.well:
                console.print(f"    → {escape(visible(check.fix))}", highlight=False, soft_wrap=True)
    return 0 if all(check.well for check in checks) else 1


@app.command()
def chat(
    model: Annotated[str, typer.Argument(help="NAME or NAMESPACE/NAME of an LLMService.")],
    message: Annotated[
        list[str] | None,
        typer.Option("--message", "-m", help="Ask this and end; repeat for more.  [default: standard input]"),
    ] = None,
    url: Annotated[
        str, typer.Option(envvar="HEARTH_URL", help="URL of the activator, without /v1.")
    ] = "http://127.0.0.1:8080",
    key: Annotated[str, typer.Option(envvar="OPENAI_API_KEY", help="API key, sent as the bearer token.")] = "none",
) -> None:
    """Talk to a model: shows its cold start as it goes, then its words as they come."""
    import httpx

    from hearth.commands.chat import ChatFailed, Conversation, show
    from hearth.commands.console import PipedConsole

    if not is_http_url(url):
        refuse(f"--url: found {url!r}; expected a URL such as http://127.0.0.1:8080")
    conversation = Conversation(url.rstrip("/").removesuffix("/v1"), model, key)
    out, err = PipedConsole(), PipedConsole(stderr=True)
    # A held request is silent for a heartbeat's time at most; the largest interval that can be set is a minute.
    with httpx.Client(timeout=httpx.Timeout(10, read=90), trust_env=False) as client:
        for question in message if message is not None else _questions(err):
            try:
                with told():
                    show(conversation.ask(client, question), out, err)
            except ChatFailed as error:
                typer.echo(f"hearth: {error}", err=True)
                raise typer.Exit(1) from error


def _questions(console: "Console") -> "Iterator[str]":
    """Lines of standard input, with a prompt where a person writes them."""
    if sys.stdin is None:
        return  # closed by who started us
    while True:
        if sys.stdin.isatty():
            console.print("[bold]>[/] ", end="")
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _check_name(what: str, given: str | None) -> None:
    """Refuse what no object's name can be: it would be read as more of the API server's path."""
    from hearth.api.base import SUBDOMAIN

    if given and not re.fullmatch(SUBDOMAIN, given):
        refuse(f"{what}: found {given!r}; expected a name of a-z, 0-9, '-' and '.'")


def _ask_cluster(
    run: "Callable[[Access], Coroutine[object, object, int]]",
    kubeconfig: Path | None,
    namespace: str | None,
    context: str | None,
    *,
    stopped: int = 130,
) -> None:
    """Run a command that reads a cluster, and end with the exit code that it returns; with `stopped` after Ctrl-C."""
    import asyncio

    from hearth.commands.access import Access
    from hearth.kube.errors import Forbidden, KubeError, Unanswered

    _check_name("--namespace", namespace)
    try:
        with told():
            code = asyncio.run(run(Access.find(kubeconfig, namespace, context)))
    except (Unanswered, Forbidden) as error:
        refuse(f"{error}; give --kubeconfig and --context, or set KUBECONFIG")
    except KubeError as error:
        refuse(f"the API server: {error}")
    except KeyboardInterrupt:
        code = stopped
    if code:
        raise typer.Exit(code)
