"""`hearth render`, `up`, `demo`: from manifests, without a cluster."""

import enum
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from hearth.cli.common import AcceleratorPrice, app, print_yaml, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from hearth.api.inferenceruntime import InferenceRuntime
    from hearth.api.llmservice import LLMService
    from hearth.emulators.mounts import Volumes
    from hearth.local.up import UpConfig


SIM_OPTIONS = (
    *("start-seconds", "load-seconds", "tokens-per-second", "slots", "cached-prompts", "prefill-seconds"),
    *("fault", "fault-file"),
)


class Output(enum.StrEnum):
    yaml = "yaml"
    json = "json"


class EngineChoice(enum.StrEnum):
    sim = "sim"
    command = "command"


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
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port of the OpenAI endpoint; 0: one that is free.")]
HpaSync = Annotated[float, typer.Option(min=0.1, help="Seconds between two looks of the HPA (Kubernetes: 15).")]
Engine = Annotated[
    EngineChoice, typer.Option(help="sim: the simulated engine; command: the container's own, if it is installed.")
]
MountOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--mount",
        help="With --engine command: what stands here for a path of the engines' containers, /app=FOLDER, or for a "
        "PersistentVolumeClaim, CLAIM=FOLDER. Repeat for more.",
    ),
]
Accelerators = Annotated[
    list[str] | None,
    typer.Option(
        help="A device of this machine that is counted, RESOURCE=COUNT (nvidia.com/gpu=2). Repeat for more.  "
        "[default: plenty of what the runtimes ask for]"
    ),
]
Sim = Annotated[
    list[str] | None,
    typer.Option(help=f"Option of the simulated engine, NAME=VALUE ({', '.join(SIM_OPTIONS)}). Repeat for more."),
]


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
        from hearth import yamljson

        print_yaml(yamljson.dump_all(objects))


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
    accelerator: Accelerators = None,
    accelerator_price: AcceleratorPrice = None,
    mount: MountOptions = None,
    tls: Annotated[
        bool, typer.Option("--tls", help="Roles and KEDA show each other certificates, as they do in a cluster.")
    ] = False,
) -> None:
    """Run LLMServices on this machine, without Kubernetes: the same activator, scaler, controller and rules."""
    from hearth.local.view import show

    given = LocalOptions(file, runtimes, vendor, host, port, engine, sim, assign, hpa_sync_seconds, mount, tls)
    _run_local(given, show, accelerator, accelerator_price)


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
    given = LocalOptions(file, runtimes, vendor, "127.0.0.1", port, EngineChoice.sim, sim, assign, hpa_sync_seconds)
    _run_local(given, run_demo)


class LocalOptions(NamedTuple):
    """What `up` and `demo` share."""

    file: list[str]
    runtimes: Path | None
    vendor: str | None
    host: str
    port: int
    engine: EngineChoice
    sim: list[str] | None
    assign: list[str] | None
    hpa_sync_seconds: float
    mount: list[str] | None = None
    tls: bool = False


def _run_local(
    given: LocalOptions,
    run: "Callable[[UpConfig], Coroutine[object, object, bool]]",
    accelerator: list[str] | None = None,
    accelerator_price: float | None = None,
) -> None:
    """Check everything that was given, then run; exit 1 where `run` says False."""
    import asyncio
    import tempfile

    from hearth.emulators.refusals import Refusal
    from hearth.local.engines import EngineOptions
    from hearth.local.parts import PartDied
    from hearth.local.up import StartFailed, UpConfig

    if not given.host.strip():
        refuse(f"--host: found {given.host!r}; expected an address of this machine, 0.0.0.0 for all of them")
    if not math.isfinite(given.hpa_sync_seconds):
        refuse(f"--hpa-sync-seconds: found {given.hpa_sync_seconds}; expected a number of seconds")
    services = _services(given.file, given.assign or [])
    known = _runtimes(given.runtimes)
    accelerators = _accelerators(known, given.vendor)
    devices = _devices(known, given.vendor, accelerator or [])
    mounts = _mounts(given.engine, given.mount or [])
    sim_arguments = _sim_arguments(given.sim or [])
    objects = _rendered(services, known, accelerators)  # what can't be rendered is refused before anything starts
    if given.engine is EngineChoice.command and (problems := [*_problems(objects, mounts)]):
        refuse(*problems)
    with tempfile.TemporaryDirectory(prefix="hearth-") as folder:
        volumes = _volumes(mounts, Path(folder)) if given.engine is EngineChoice.command else None
        engines = EngineOptions(given.engine.value, sim_arguments, volumes=volumes)
        config = UpConfig(
            *(services, known, Path(folder), given.host, given.port),
            *(engines, given.hpa_sync_seconds, devices, accelerator_price, given.tls),
        )
        try:
            done = asyncio.run(run(config))
        except asyncio.CancelledError:
            typer.echo("hearth: stopped before it was done", err=True)
            done = False
        except OSError as error:
            refuse(str(error))
        except (PartDied, Refusal, StartFailed) as error:
            typer.echo(f"hearth: {error}", err=True)
            done = False
    if not done:
        raise typer.Exit(1)


def _mounts(engine: EngineChoice, given: list[str]) -> dict[str, str]:
    """What --mount says: folders by a container's path or a claim's name."""
    from hearth.api.base import SUBDOMAIN

    mounts = {}
    for assignment in given:
        what, _, folder = assignment.partition("=")
        place = Path(folder).expanduser().absolute()
        if not folder or not re.fullmatch(f"/.+|{SUBDOMAIN}", what):
            refuse(f"--mount: found {assignment!r}; expected PATH=FOLDER or CLAIM=FOLDER")
        if engine is not EngineChoice.command:
            refuse("--mount: found it with --engine sim, which reads no folder; expected --engine command beside it")
        if not place.exists():
            refuse(f"--mount {what}: found {folder!r}, which is not there; expected a folder of this machine")
        mounts[what.rstrip("/")] = str(place)
    return mounts


def _volumes(mounts: dict[str, str], folder: Path) -> "Volumes":
    """Claims without a given folder have one in the user's cache: what one cold start loaded is there at the next."""
    from hearth.emulators.mounts import Volumes

    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    image = {path: place for path, place in mounts.items() if path.startswith("/")}
    claims = {name: place for name, place in mounts.items() if name not in image}
    return Volumes(cache / "hearth" / "volumes", folder / "volumes", claims, image)


def _pods(objects: "list[dict[str, Any]]") -> "Iterator[tuple[str, dict[str, Any]]]":
    """(LLMService, its pods' spec)"""
    for item in objects:
        if item["kind"] == "Deployment":
            name = f"LLMService {item['metadata']['namespace']}/{item['metadata']['name']}"
            yield name, item["spec"]["template"]["spec"]


def _problems(objects: "list[dict[str, Any]]", mounts: dict[str, str]) -> "Iterator[str]":
    """Why engines can't be commands of this machine."""
    import shutil

    from hearth.emulators.mounts import Mounts, mounted

    made = {item["metadata"]["name"] for item in objects if item["kind"] == "PersistentVolumeClaim"}
    for service, spec in _pods(objects):
        container = spec["containers"][0]
        command = container.get("command")
        if not command:
            yield (
                f"{service}: --engine command: its InferenceRuntime has no spec.container.command, only image "
                f"{container['image']!r}, and no image is run here; give the runtime a command, or leave --engine out"
            )
        elif shutil.which(Mounts(mounts).text(command[0])) is None:
            yield (
                f"{service}: --engine command: spec.container.command of its InferenceRuntime: found {command[0]!r}, "
                "which is no command of this machine; install it, say where its folder is with --mount, or leave "
                "--engine out"
            )
        for mount, volume in mounted(spec):  # in a cluster pods wait for a claim that nobody makes
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if claim is not None and not {claim, mount["mountPath"]} & (made | mounts.keys()):
                yield (
                    f"{service}: --engine command: found PersistentVolumeClaim {claim!r} at {mount['mountPath']}, "
                    f"which is not here; give its folder with --mount {claim}=FOLDER"
                )


def _services(files: list[str], assignments: list[str]) -> "list[LLMService]":
    from hearth.api.manifest import ManifestError, load_llmservices, parse_llmservice, set_fields

    try:
        services = load_llmservices(files)
        if assignments:
            manifests = [set_fields(service.to_manifest(), assignments) for service in services]
            services = [parse_llmservice(manifest, "--set") for manifest in manifests]
    except ManifestError as error:
        refuse(*map(str, error.problems))
    except ValueError as error:
        refuse(f"--set: {error}")
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
        refuse(str(error))


def _runtimes(folder: Path | None) -> "list[InferenceRuntime]":
    from hearth.api.manifest import ManifestError, load_runtimes

    if folder is None:
        package = Path(__file__).parent.parent
        # In a wheel the manifests lie in the package, in a checkout beside it.
        folder = next(path for path in (package / "runtimes", package.parent / "runtimes") if path.is_dir())
    try:
        return load_runtimes(folder)
    except ManifestError as error:
        refuse(*map(str, error.problems))


def _accelerators(runtimes: "list[InferenceRuntime]", vendor: str | None) -> frozenset[str] | None:
    """The extended resources of a cluster that has nodes of one vendor only; None: not known."""
    if vendor is None:
        return None
    matching = [runtime for runtime in runtimes if runtime.spec.vendor == vendor]
    if not matching:
        known = ", ".join(sorted({runtime.spec.vendor for runtime in runtimes}))
        refuse(f"--vendor: found {vendor!r}; the InferenceRuntimes are for: {known}")
    return frozenset(name for runtime in matching for name in runtime.spec.accelerator.resources)


# More than anybody asks for: by default no device of this machine is counted.
_PLENTY = 1_000_000_000


def _devices(runtimes: "list[InferenceRuntime]", vendor: str | None, given: list[str]) -> dict[str, int]:
    """The extended resources of this machine's Node: those that were given, or plenty of what the runtimes ask for."""
    from hearth.emulators.version import UNCOUNTED

    if given:
        return dict(_device(assignment) for assignment in given)
    devices = {UNCOUNTED: 1}
    for runtime in runtimes:
        accelerator = runtime.spec.accelerator
        shared = accelerator.sharing.resource_names
        for name in (*accelerator.resources, shared.memory, shared.cores):
            if name is not None and vendor in {None, runtime.spec.vendor}:
                devices[name] = _PLENTY
    return devices


# A quantity of Kubernetes is an int64.
_MOST_DEVICES = 2**63 - 1


def _device(assignment: str) -> tuple[str, int]:
    name, _, count = assignment.partition("=")
    if "/" not in name or not (count.isascii() and count.isdecimal()):
        refuse(f"--accelerator: found {assignment!r}; expected RESOURCE=COUNT, such as nvidia.com/gpu=2")
    # So many digits alone are refused: Python reads no integer of thousands of them.
    if len(count) > len(str(_MOST_DEVICES)) or int(count) > _MOST_DEVICES:
        refuse(f"--accelerator: found {assignment[:80]!r}; expected a COUNT of at most {_MOST_DEVICES}")
    return name, int(count)


def _sim_arguments(assignments: list[str]) -> tuple[str, ...]:
    from hearth.emulators.engine_options import READERS, NotAnOption

    arguments: list[str] = []
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or name not in SIM_OPTIONS:
            refuse(f"--sim: found {assignment!r}; expected NAME=VALUE with a NAME of {', '.join(SIM_OPTIONS)}")
        try:
            if name == "fault":
                _check_fault(value)
            elif name == "fault-file" and not value:
                raise NotAnOption("found ''; expected the path of a file")
            elif name in READERS:
                READERS[name](value)
        except NotAnOption as error:
            refuse(f"--sim: {name}: {error}")
        arguments.append(f"--{name}={value}")  # one word: a value that begins with a dash is no option
    return tuple(arguments)


def _check_fault(name: str) -> None:
    """Raises NotAnOption where the simulated engine has no such fault."""
    from hearth.emulators.engine_faults import FAULTS
    from hearth.emulators.engine_options import NotAnOption

    if name not in FAULTS:
        raise NotAnOption(f"found {name!r}; expected one of {', '.join(FAULTS)}")
