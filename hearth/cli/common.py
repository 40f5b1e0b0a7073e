"""What the commands share: the app, options that mean the same everywhere, how to refuse, how data is printed."""

import enum
import math
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

app = typer.Typer(
    name="hearth",
    help="Private LLMs on Kubernetes at zero idle cost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Rich would take 0.2 s to import for every --help; what a role shows is drawn with it
    context_settings={"help_option_names": ["-h", "--help"]},
)


class TableOutput(enum.StrEnum):
    table = "table"
    yaml = "yaml"
    json = "json"


Kubeconfig = Annotated[
    Path | None, typer.Option(help="Kubeconfig.  [default: $KUBECONFIG, ~/.kube/config, the pod's service account]")
]


def _finite(price: float | None) -> float | None:
    if price is not None and not math.isfinite(price):  # `min` lets inf pass
        raise typer.BadParameter(f"found {price}; expected a price, such as 2.5")
    return price


AcceleratorPrice = Annotated[
    float | None,
    typer.Option(min=0, callback=_finite, help="Of one accelerator for an hour, in your currency, for the dashboards."),
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


def is_http_url(given: str) -> bool:
    """Whether it names a host to speak HTTP with."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(given)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def refuse(*messages: str) -> NoReturn:
    """Say what is wrong, a line each, and exit with 2."""
    for message in messages:
        typer.echo(f"hearth: {message}", err=True)
    sys.exit(2)


def print_data(data: object, output: TableOutput) -> None:
    if output is TableOutput.json:
        import json

        typer.echo(json.dumps(data, indent=2))
    else:
        from hearth import yamljson

        print_yaml(yamljson.dump_all([data]))


def print_yaml(text: str) -> None:
    """Write YAML in UTF-8, as its readers expect it, whatever the locale's encoding is."""
    typer.echo(text.encode(), nl=False)
