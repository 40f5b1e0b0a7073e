"""Write every generated file of the project: `make generate`. A test runs `--check` and fails if one is stale.

These are the protobuf stubs, from proto/*.proto and those of the tests; the CRDs in deploy/crds and docs/reference,
from hearth/api; docs/metrics.md, from what the roles declare; dashboards and rules, from tools; and the Helm chart in
deploy/chart, from deploy/base and these CRDs.
"""

import argparse
import filecmp
import os
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

from hearth import __version__
from tools.alerts import monitoring_files
from tools.chart import chart_files
from tools.crd import as_yaml, inferenceruntime_crd, llmservice_crd
from tools.dashboards import DASHBOARDS, as_json
from tools.metrics import metrics_page
from tools.reference import reference
from tools.scrape import scrape_page

ROOT = Path(__file__).resolve().parent.parent


STUBS = {"hearth/proto": "proto", "tests/cluster/node/proto": "tests/cluster/node"}
"""The package of the stubs of each folder of .proto files."""


def generate_stubs(out: Path) -> list[Path]:
    """Compile the .proto files of `STUBS` into packages in `out` and return the files, relative to `out`."""
    # The plugins of mypy-protobuf lie beside the interpreter.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    made = []
    for package, folder in STUBS.items():
        protos = sorted(path.name for path in (ROOT / folder).glob("*.proto"))
        # Mapping a folder to its package's path makes the stubs import each other by package.
        arguments = ["protoc", f"-I{package}={ROOT / folder}", f"-I{files('grpc_tools') / '_proto'}"]
        arguments += [f"--{plugin}_out={out}" for plugin in ("python", "grpc_python", "mypy", "mypy_grpc")]
        if protoc.main([*arguments, *(f"{package}/{name}" for name in protos)]) != 0:
            raise SystemExit("protoc failed")
        (out / package / "__init__.py").write_text(f'"""Generated from {folder}/*.proto by `make generate`."""\n')
        made += sorted(path.relative_to(out) for path in (out / package).glob("*.py*"))
    return made


def generate_crds(out: Path) -> list[Path]:
    """Write the CRDs into `out`/deploy/crds and return the files, relative to `out`."""
    folder = Path("deploy/crds")
    (out / folder).mkdir(parents=True)
    for crd in (llmservice_crd(), inferenceruntime_crd()):
        (out / folder / f"{crd['spec']['names']['plural']}.yaml").write_text(as_yaml(crd))
    return sorted(path.relative_to(out) for path in (out / folder).iterdir())


def generate_reference(out: Path) -> list[Path]:
    """Write docs/reference into `out` and return the files, relative to `out`."""
    folder = Path("docs/reference")
    (out / folder).mkdir(parents=True)
    for crd in (llmservice_crd(), inferenceruntime_crd()):
        (out / folder / f"{crd['spec']['names']['singular']}.md").write_text(reference(crd))
    return sorted(path.relative_to(out) for path in (out / folder).iterdir())


def generate_metrics(out: Path) -> list[Path]:
    """Write docs/metrics.md into `out` and return it, relative to `out`."""
    page = Path("docs/metrics.md")
    (out / page).parent.mkdir(parents=True, exist_ok=True)
    (out / page).write_text(metrics_page())
    return [page]


def generate_monitoring(out: Path) -> list[Path]:
    """Write dashboards and rules into `out`/deploy and return the files, relative to `out`."""
    made = {Path("deploy/dashboards") / f"{board.uid}.json": as_json(board) for board in DASHBOARDS}
    made |= {Path("deploy/monitoring") / name: text for name, text in monitoring_files().items()}
    made[Path("deploy/monitoring/scrape.yaml")] = scrape_page(ROOT / "deploy/monitoring/podmonitors.yaml")
    for path, text in made.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(text)
    return list(made)


def generate_chart(out: Path) -> list[Path]:
    """Write the chart into `out`/deploy/chart, with the CRDs, rules and dashboards of `out`, and return the files,
    relative to `out`."""
    for name in ("base", "keda", "cert-manager", "kustomization.yaml", "monitoring/podmonitors.yaml"):
        (out / "deploy" / name).parent.mkdir(parents=True, exist_ok=True)
        (out / "deploy" / name).symlink_to(ROOT / "deploy" / name)
    made = []
    for name, text in chart_files(out / "deploy", ROOT / "runtimes", __version__).items():
        path = Path("deploy/chart") / name
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(text)
        made.append(path)
    return made


GENERATORS = (  # the chart takes CRDs, rules and dashboards
    generate_stubs,
    generate_crds,
    generate_monitoring,
    generate_chart,
    generate_reference,
    generate_metrics,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file is stale")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        stale = []
        for path in [generated for generate in GENERATORS for generated in generate(out)]:
            target = ROOT / path
            if target.exists() and filecmp.cmp(out / path, target, shallow=False):
                continue
            stale.append(str(path))
            if not check:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes((out / path).read_bytes())
    for name in stale:
        print(f"{'stale' if check else 'wrote'}: {name}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
