"""Runs the quick tests against a sample of changes: MUTANTS of each module, chosen by SEED, one after the other.

Once for each room its tests are run as the code is, to learn which of them runs which line. Then each change is tried in a
process of its own, forked from one that has imported what does not depend on the changed module; the changed module is
made in memory, so no file is written. It is killed by a test that fails, by one that takes far too long, or by the end
of its process. Of the tests that run the changed line those of its own folder go first, then
the quickest.
"""

import argparse
import ast
import dataclasses
import functools
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import itertools
import json
import os
import random
import resource
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any, Literal

import pytest
from hypothesis import Phase, settings

from tests.builders import ROOT
from tests.mutants.changes import Change, changes
from tests.mutants.table import EQUIVALENTS, ROOMS, Room

Verdict = Literal["killed", "timed out", "survived", "not run", "equivalent"]
"""`not run`: no test runs the line."""

_GOAL = 0.95
_FAULT = 70  # the exit status of a forked process in which the tool itself has failed
_MEMORY = 6 * 2**30  # a loop without an end must not take the machine
_SECONDS_FOR_ONE = 25.0  # of tests that run a changed line, where they are many, as long as they took when traced
_PATIENCE = (4.0, 15.0)  # times what the tests took, and seconds beside


@dataclasses.dataclass(frozen=True)
class Known:
    """What a room's tests do: seconds of each test, and which tests run which lines of a file. Tests are `lines[file][0]`
    where a line runs while modules are imported."""

    seconds: dict[str, float]
    lines: dict[str, dict[int, list[str]]]
    modules: list[str]


class Watch:
    """A pytest plugin: notes which test runs which lines of these files."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = {str(file): dict[int, dict[str, None]]() for file in files}
        self._seconds: dict[str, float] = {}
        self._test = ""

    def _trace(self, frame: FrameType, event: str, arg: Any) -> "Callable[..., Any] | None":
        lines = self._files.get(frame.f_code.co_filename)
        if lines is None:
            return None

        def line(frame: FrameType, event: str, arg: Any) -> "Callable[..., Any]":
            lines.setdefault(frame.f_lineno, {})[self._test] = None
            return line

        return line(frame, event, arg)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        self._test = item.nodeid
        sys.settrace(self._trace)
        threading.settrace(self._trace)
        began = time.monotonic()
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)
            self._seconds[item.nodeid] = time.monotonic() - began

    def known(self) -> Known:
        lines = {file: {line: list(tests) for line, tests in found.items()} for file, found in self._files.items()}
        return Known(self._seconds, lines, [name for name in sys.modules if name != "__main__"])


class Select:
    """A pytest plugin: runs these tests alone, in this order; properties with few examples, always the same."""

    def __init__(self, tests: Sequence[str] | None = None) -> None:
        self._order = None if tests is None else {test: place for place, test in enumerate(tests)}

    def pytest_configure(self, config: pytest.Config) -> None:
        phases = (Phase.explicit, Phase.generate)  # what fails is killed; nobody reads the smallest example
        settings.register_profile("mutants", deadline=None, derandomize=True, database=None, phases=phases)
        settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if (order := self._order) is not None:
            items[:] = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])


class Changed(importlib.abc.MetaPathFinder):
    """Finds one module with other code than its file has."""

    def __init__(self, name: str, file: Path, code: CodeType) -> None:
        class Loader(importlib.machinery.SourceFileLoader):
            def get_code(self, fullname: str) -> CodeType:
                return code

        self._name = name
        self._spec = importlib.util.spec_from_file_location(name, file, loader=Loader(name, str(file)))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return self._spec if fullname == self._name else None


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


def run_tests(tests: Sequence[str], *plugins: object) -> int:
    """pytest's exit status."""
    quiet = (
        "-x",
        "-q",
        "--no-header",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    )
    return int(pytest.main([*quiet, f"--rootdir={ROOT}", *tests], plugins=list(plugins)))


def in_process(work: Callable[[], int], seconds: float, log: Path) -> int | None:
    """What `work` returns in a forked process, its output in `log`; None where it took longer than these seconds."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = _FAULT
        try:
            os.setsid()
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            status = work()
        except BaseException:  # noqa: BLE001 - a forked process never returns to what its parent was doing
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(status)
    ended = os.pidfd_open(pid)
    try:
        in_time = bool(select.select([ended], [], [], seconds)[0])
    finally:
        os.close(ended)
        os.killpg(pid, signal.SIGKILL)  # and what its tests have started
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) if in_time else None


def learn(room: Room, log: Path) -> Known:
    """Run the room's tests on the code as it is. Ends the program where they fail."""
    answer = log.with_suffix(".json")

    def work() -> int:
        watch = Watch(room.paths())
        status = run_tests([test for test in room.tests if (ROOT / test).exists()], watch, Select())
        answer.write_text(json.dumps(dataclasses.asdict(watch.known())))
        return status

    if in_process(work, 3600, log) != 0:
        sys.exit(f"The tests of {room.name} fail without any change:\n{log.read_text()[-3000:]}")
    read = json.loads(answer.read_text())
    lines = {file: {int(line): tests for line, tests in found.items()} for file, found in read["lines"].items()}
    return Known(read["seconds"], lines, read["modules"])


def dependents(target: str) -> set[str]:
    """The modules of ours, of those that are imported, that import this one or others that do."""
    imports: dict[str, set[str]] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.split(".")[0] not in {"hearth", "tests"} or file is None or not file.endswith(".py"):
            continue
        named: set[str] = set()
        for node in ast.walk(ast.parse(Path(file).read_text())):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                named |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        # Whoever imports a module has imported the packages that it is in.
        imports[name] = named | {
            ".".join(parts[:n]) for parts in (other.split(".") for other in named) for n in range(1, len(parts))
        }
    found, more = set[str](), {target}
    while more:
        found |= more
        more = {name for name, named in imports.items() if named & found} - found
    return found


def prepare(target: str, known: Known) -> None:
    """Import everything that the tests import and that does not depend on the module that will be changed."""
    for name in known.modules:
        if name.split(".")[0] not in {"tests", "conftest", "_pytest"}:
            try:
                importlib.import_module(name)
            except ImportError:  # a name that something made at run time
                continue
    for name in dependents(target):
        sys.modules.pop(name, None)
        package, _, last = name.rpartition(".")
        if package in sys.modules:
            vars(sys.modules[package]).pop(last, None)


@functools.cache
def imports(file: str, module: str) -> bool:
    """Whether this test's file imports the module by its name."""
    package, _, name = module.rpartition(".")
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.ImportFrom) and (
            node.module == module or (node.module == package and any(alias.name == name for alias in node.names))
        ):
            return True
    return False


def distance(test: str, module: str) -> int:
    """How far a test is from a module: those of its own folder were written for it, unit tests are about few modules."""
    if not test.startswith("tests/unit/"):
        return 2
    return 0 if test.split("/")[2] in module.split(".") else 1


def tests_for(
    change: Change, module: str, source: str, lines: dict[int, list[str]], seconds: dict[str, float]
) -> list[str]:
    """The tests that run the statement of this change, the nearest and quickest first, up to so many seconds of them."""
    first, last = statement_of(source, change.line)
    found = {test for line in range(first, last + 1) for test in lines.get(line, ())}
    if change.function == "" or not in_function(source, change.line):  # it runs when the module is imported
        found |= {test for tests in lines.values() for test in tests} or set(seconds)
        # Who compares a constant runs no line of the module that has it.
        found |= {test for test in seconds if distance(test, module) < 2 and imports(test.partition("::")[0], module)}
    chosen: list[str] = []
    total = 0.0
    for test in sorted(found - {""}, key=lambda test: (distance(test, module), seconds.get(test, 0.0), test)):
        total += seconds.get(test, 0.0)
        if chosen and total > _SECONDS_FOR_ONE:
            break
        chosen.append(test)
    return chosen


def statement_of(source: str, line: int) -> tuple[int, int]:
    """The first and the last line of the smallest simple statement, or of the head of a compound one, at this line."""
    best = (line, line)
    size = 10**9
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = (node.end_lineno or node.lineno) if not body else max(node.lineno, body[0].lineno - 1)
            if node.lineno <= line <= last and last - node.lineno < size:
                best, size = (node.lineno, last), last - node.lineno
        elif isinstance(node, ast.match_case):
            at = node.pattern.lineno
            if at <= line < node.body[0].lineno:
                return at, node.body[0].lineno
    return best


def in_function(source: str, line: int) -> bool:
    """Whether this line runs in a call, not when the module is imported."""
    return any(
        node.body[0].lineno <= line <= (node.end_lineno or 0)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )


def is_equivalent(module: str, change: Change) -> bool:
    return any(
        (row.module, row.function, row.before, row.after) == (module, change.function, change.before, change.after)
        for row in EQUIVALENTS
    )


def try_changes(
    file: Path, chosen: Sequence[Change], known: Known, log: Path, tell: Callable[[int, Verdict], None]
) -> int:
    """Try each change; `tell` which it was and what came of it. To be run in a process of its own."""
    source, target = file.read_text(), module_name(file)
    prepare(target, known)
    gc.collect()
    gc.freeze()  # what is shared with the forked stays shared
    lines = known.lines[str(file)]

    def status_of(code: CodeType, tests: list[str]) -> int | None:
        def work(some: list[str]) -> int:
            sys.meta_path.insert(0, Changed(target, file, code))
            return run_tests(sorted({test.partition("::")[0] for test in some}), Select(some))

        # Those of the module's own folder notice most, and the files of the others need not be read for that.
        for _, near in itertools.groupby(tests, key=lambda test: distance(test, target)):
            some = list(near)
            patience = _PATIENCE[0] * sum(known.seconds.get(test, 0.0) for test in some) + _PATIENCE[1]
            status = in_process(functools.partial(work, some), patience, log)
            if status != 0:
                return status
        return 0

    tests = [tests_for(change, target, source, lines, known.seconds) for change in chosen]
    # A tool that fails would kill everything: without a change nothing may fail in this way.
    quickest = list(dict.fromkeys(found[0] for found in tests if found))
    if quickest and (status := status_of(compile(source, str(file), "exec"), quickest)) != 0:
        print(f"unchanged, {target} ended with {status}:\n{log.read_text()}", flush=True)
        return 1
    for number, change in enumerate(chosen):
        if not tests[number]:
            tell(number, "not run")
            continue
        status = status_of(compile(change.applied(source), str(file), "exec"), tests[number])
        if status == _FAULT:
            print(
                f"{file}:{change.line}: {change.before} → {change.after}: could not be tried:\n{log.read_text()}",
                flush=True,
            )
            return 1
        tell(number, "timed out" if status is None else "survived" if status == 0 else "killed")
    return 0


def report_on(file: Path, chosen: Sequence[Change], known: Known, logs: Path) -> list[Verdict]:
    """What came of each change of a module."""
    module = str(file.relative_to(ROOT))
    verdicts: list[Verdict] = ["equivalent"] * len(chosen)
    tried = [number for number, change in enumerate(chosen) if not is_equivalent(module, change)]
    answers = logs / "verdicts"
    answers.unlink(missing_ok=True)

    def tell(number: int, verdict: Verdict) -> None:
        with answers.open("a") as out:
            out.write(f"{tried[number]}\t{verdict}\n")

    status = in_process(
        lambda: try_changes(file, [chosen[number] for number in tried], known, logs / "tests.log", tell),
        7200,
        logs / "log",
    )
    if status != 0:
        sys.exit(f"{module}: trying its changes ended with {status}:\n{(logs / 'log').read_text()[-3000:]}")
    for line in answers.read_text().splitlines() if answers.exists() else ():
        number, verdict = line.split("\t")
        verdicts[int(number)] = verdict  # type: ignore[call-overload]
    return verdicts


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--mutants", type=int, default=15, help="changes of each module, 0 for all")
    parser.add_argument("--seed", default="1")
    parser.add_argument("modules", nargs="*", help="parts of the names of modules")
    asked = parser.parse_args()
    dead = alive = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for room in ROOMS:
            files = [
                file
                for file in room.paths()
                if not asked.modules or any(part in str(file.relative_to(ROOT)) for part in asked.modules)
            ]
            if not files:
                continue
            known = learn(room, Path(folder) / "learn")
            for file in files:
                all_changes = changes(file.read_text())
                chosen = all_changes
                if 0 < asked.mutants < len(all_changes):
                    # Of the module's own dice, so that it has the same sample whatever else is tried.
                    picked = random.Random(f"{asked.seed} {module_name(file)}").sample(
                        range(len(all_changes)), asked.mutants
                    )
                    chosen = [all_changes[number] for number in sorted(picked)]
                verdicts = report_on(file, chosen, known, Path(folder))
                killed = sum(verdict in {"killed", "timed out"} for verdict in verdicts)
                left = sum(verdict in {"survived", "not run"} for verdict in verdicts)
                dead, alive = dead + killed, alive + left
                told = f"{killed} of {killed + left} killed" if killed + left else "nothing to change"
                print(f"{file.relative_to(ROOT)}: {told} ({len(all_changes)} possible)", flush=True)
                for change, verdict in zip(chosen, verdicts, strict=True):
                    if verdict in {"survived", "not run"}:
                        print(
                            f"  {file.relative_to(ROOT)}:{change.line}: {verdict}: {change.before} → {change.after}",
                            flush=True,
                        )
    share = dead / (dead + alive) if dead + alive else 1.0
    print(f"{dead} of {dead + alive} killed: {share:.1%}; the goal is {_GOAL:.0%}")
    return 0 if share >= _GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
