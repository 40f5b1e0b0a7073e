"""Manifests in files: YAML text in, validated API objects out, or errors that say what to change.

Knows files, documents and field paths. Starts nothing and talks to nobody.
"""

import copy
import difflib
import errno
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hearth import yamljson
from hearth.api.base import API_VERSION, Resource
from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.llmservice import NOT_BUILT, LLMService

_API_SERVER = "API server"

R = TypeVar("R", bound=Resource)

_MAX_BITS = 256
_MAX_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a manifest."""

    file: str
    document: int  # counted from 1
    subject: str  # "LLMService ai-prod/qwen", or "" where the document is no object
    path: str  # "spec.scaling.min", or "" for the document itself
    message: str

    def __str__(self) -> str:
        parts = [f"{self.file}: document {self.document}", self.subject, self.path, self.message]
        return ": ".join(part for part in parts if part)


class ManifestError(Exception):
    """A manifest that cannot be taken. `problems` holds every error found, one line each."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = list(problems)

    @property
    def in_a_line(self) -> str:
        """What is wrong with one object, whose name is known."""
        return "; ".join(f"{problem.path}: {problem.message}" for problem in self.problems)


def load_llmservices(files: Iterable[str | Path]) -> list[LLMService]:
    """Read one LLMService from each file ("-" is standard input).

    Raises ManifestError with every problem of every file; nothing is returned then.
    """
    problems: list[Problem] = []
    services: dict[tuple[str, str], tuple[str, LLMService]] = {}
    for file in files:
        name = "<stdin>" if str(file) == "-" else str(file)
        try:
            documents = _documents(file)
            if len(documents) > 1:
                raise ManifestError(
                    [
                        Problem(
                            name,
                            documents[1][0],
                            "",
                            "",
                            f"found {len(documents)} documents; expected one LLMService in a file, "
                            "so split it and repeat -f",
                        )
                    ]
                )
            number, document = documents[0]
            service = _parse(LLMService, name, number, document)
            if service.key in services:
                other = services[service.key][0]
                raise ManifestError(
                    [
                        Problem(
                            name,
                            number,
                            _subject(document),
                            "metadata.name",
                            f"found the name of {other} again; expected a name used once in namespace "
                            f"{service.metadata.namespace!r}",
                        )
                    ]
                )
            services[service.key] = (name, service)
        except ManifestError as error:
            problems += error.problems
    if problems:
        raise ManifestError(problems)
    return [service for _, service in services.values()]


def load_runtimes(folder: str | Path) -> list[InferenceRuntime]:
    """Read every InferenceRuntime from the *.yaml files of a folder, sorted by name.

    Raises ManifestError with every problem of every file.
    """
    folder = Path(folder)
    files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]) if folder.is_dir() else []
    if not files:
        raise ManifestError([Problem(str(folder), 1, "", "", "found no *.yaml file; expected InferenceRuntimes")])
    problems: list[Problem] = []
    runtimes: dict[str, InferenceRuntime] = {}
    for file in files:
        try:
            for number, document in _documents(file):
                runtime = _parse(InferenceRuntime, str(file), number, document)
                if runtime.metadata.name in runtimes:
                    message = f"found {runtime.metadata.name!r} again; expected a name used once"
                    raise ManifestError([Problem(str(file), number, _subject(document), "metadata.name", message)])
                runtimes[runtime.metadata.name] = runtime
        except ManifestError as error:
            problems += error.problems
    if problems:
        raise ManifestError(problems)
    return [runtimes[name] for name in sorted(runtimes)]


def load_each_runtime(file: str | Path) -> list[InferenceRuntime | ManifestError]:
    """Each document of a file ("-" is standard input) as an InferenceRuntime, or everything that is wrong with it.

    Raises ManifestError where the file can't be read, or is no YAML.
    """
    name = "<stdin>" if str(file) == "-" else str(file)
    made: list[InferenceRuntime | ManifestError] = []
    for number, document in _documents(file):
        try:
            made.append(_parse(InferenceRuntime, name, number, document))
        except ManifestError as error:
            made.append(error)
    return made


def parse_llmservice(document: object, file: str = "<object>") -> LLMService:
    """Validate one LLMService given as plain data, such as the API server's JSON.

    Raises ManifestError.
    """
    return _parse(LLMService, file, 1, document)


def parse_runtime(document: object, file: str = "<object>") -> InferenceRuntime:
    """Validate one InferenceRuntime given as plain data. Raises ManifestError."""
    return _parse(InferenceRuntime, file, 1, document)


def read_llmservice(item: dict[str, Any]) -> LLMService:
    """One as the API server has it. Raises ManifestError.

    Fields that are not known here are passed over: the API server has taken them, so that its CRD is a newer one than
    this program, as in each upgrade and after each rollback. Of a file nobody has looked at them (`parse_llmservice`).
    """
    return _parse(LLMService, _API_SERVER, 1, item, newer=True)


def read_runtime(item: dict[str, Any]) -> InferenceRuntime:
    """One as the API server has it, whatever its status says, which is ours; of newer fields as `read_llmservice`.
    Raises ManifestError."""
    known = {name: part for name, part in item.items() if name != "status"}
    return _parse(InferenceRuntime, _API_SERVER, 1, known, newer=True)


def set_fields(document: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """The document with `path.to.field=value` applied, values read as YAML.

    Raises ValueError where an assignment has no `=`, goes through something that is no mapping, or is no YAML.
    """
    changed: dict[str, Any] = copy.deepcopy(document)
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator or not path:
            raise ValueError(f"found {assignment!r}; expected path.to.field=value")
        *parents, last = path.split(".")
        target: Any = changed
        for parent in parents:
            target = target.setdefault(parent, {}) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            raise ValueError(f"found {assignment!r}; its parent is not a mapping")
        try:
            target[last] = yamljson.load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ValueError(f"found {assignment[:_MAX_SHOWN]!r}; expected one value of YAML: {_why(error)}") from error
    return changed


def read_text(file: str | Path) -> str:
    """The file's text; "-" is standard input. Raises ManifestError where it can't be read."""
    name = "<stdin>" if str(file) == "-" else str(file)
    try:
        if str(file) != "-":
            return Path(file).read_text(encoding="utf-8")
        if sys.stdin is None:  # closed by who started us
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        bytes_of = getattr(sys.stdin, "buffer", None)  # UTF-8 as files, whatever the locale's encoding is
        return bytes_of.read().decode("utf-8") if bytes_of is not None else sys.stdin.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ManifestError([Problem(name, 1, "", "", f"cannot be read: {reason}")]) from error


def _why(error: Exception) -> str:
    """What is wrong with a YAML, in a line."""
    if isinstance(error, RecursionError):
        return "nested too deep"
    problem = error.problem if isinstance(error, yaml.MarkedYAMLError) else None
    return problem or " ".join(str(error).split())


def _documents(file: str | Path) -> list[tuple[int, object]]:
    name = "<stdin>" if str(file) == "-" else str(file)
    text = read_text(file)
    documents: list[tuple[int, object]] = []
    number = 0
    try:
        for document in yamljson.load_all(text):
            number += 1
            if document is not None:
                documents.append((number, document))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ManifestError([Problem(name, number + 1, "", "", f"broken YAML{where}: {error.problem}")]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ManifestError([Problem(name, number + 1, "", "", f"broken YAML: {_why(error)}")]) from error
    if not documents:
        raise ManifestError([Problem(name, 1, "", "", "found no document; expected one")])
    return documents


def _subject(document: object) -> str:
    if not isinstance(document, dict):
        return ""
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    kind = document.get("kind")
    names = [metadata.get("namespace"), metadata.get("name")]
    name = "/".join(part for part in names if isinstance(part, str))
    return f"{kind} {name}".strip() if isinstance(kind, str) else ""


def _parse(model: type[R], file: str, number: int, document: object, *, newer: bool = False) -> R:
    """`newer`: fields that are not known are passed over."""
    expected = model.model_fields["kind"].default
    if not isinstance(document, dict):
        message = f"found {_brief(document)}; expected an object with apiVersion, kind, metadata and spec"
        raise ManifestError([Problem(file, number, "", "", message)])
    subject = _subject(document)
    if (kind := document.get("kind")) != expected:
        hint = "; give InferenceRuntimes with --runtimes DIR" if kind == "InferenceRuntime" else ""
        message = f"found {_brief(kind)}; expected {expected!r}{hint}"
        raise ManifestError([Problem(file, number, subject, "kind", message)])
    if (version := document.get("apiVersion")) != API_VERSION:
        message = f"found {_brief(version)}; expected {API_VERSION!r}"
        raise ManifestError([Problem(file, number, subject, "apiVersion", message)])
    try:
        return model.model_validate(document)
    except ValidationError as error:
        if newer and (known := _without_unknown(document, error)) is not None:
            return _parse(model, file, number, known, newer=True)
        problems = [Problem(file, number, subject, *_path_and_message(model, details)) for details in error.errors()]
        raise ManifestError(problems) from error


def _without_unknown(document: dict[str, Any], error: ValidationError) -> dict[str, Any] | None:
    """The document without the fields that are not known here; None where there are none."""
    known: Any = document
    for details in error.errors(include_url=False, include_context=False, include_input=False):
        if details["type"] == "extra_forbidden" and ".".join(map(str, details["loc"])) not in NOT_BUILT:
            known = _without(known, details["loc"])
    return known if known is not document else None


def _without(part: Any, path: Sequence[int | str]) -> Any:
    """A copy, as far as it differs, without what stands at this path; the same where nothing does."""
    step, *rest = path
    there = step in part if isinstance(part, dict) else isinstance(part, list) and isinstance(step, int)
    if not there:
        return part
    if not rest:
        return {name: value for name, value in part.items() if name != step} if isinstance(part, dict) else part
    changed = _without(part[step], rest)
    if changed is part[step]:
        return part
    copied = part.copy()
    copied[step] = changed
    return copied


def _path_and_message(model: type[BaseModel], details: ErrorDetails) -> tuple[str, str]:
    path = ""
    for part in details["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    context = details.get("ctx", {})
    found = f"found {_brief(details['input'])}"
    match details["type"]:
        case "hearth_rule":
            if context["field"]:
                path = f"{path}.{context['field']}"
            return path, details["msg"]
        case "extra_forbidden":
            if path in NOT_BUILT:
                return path, f"not supported yet: {NOT_BUILT[path]}"
            *parents, field = details["loc"]
            allowed = _fields_at(model, parents)
            close = difflib.get_close_matches(str(field), allowed, 1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            return path, f"found an unknown field{hint}; allowed: {', '.join(allowed)}"
        case "missing":
            return path, "required, and not given"
        case "literal_error":
            return path, f"{found}; allowed: {context['expected']}"
        case "model_type" | "dict_type":
            return path, f"{found}; expected a mapping"
        case "string_too_long":
            return path, f"found {len(details['input'])} characters; expected at most {context['max_length']}"
        case "too_long":
            return path, f"found {len(details['input'])} items; expected at most {context['max_length']}"
        case "value_error":
            return path, f"{found}; {context['error']}"
        case _:
            expected = details["msg"].removeprefix("Input should be ")
            return path, f"{found}; expected {expected[0].lower()}{expected[1:]}"


def _fields_at(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """The names that fields may have at a place, found by walking the models along the path."""
    current: type[BaseModel] | None = model
    for part in loc:
        if current is None:
            return []
        if isinstance(part, int):
            continue
        by_alias = {(field.alias or name): field for name, field in current.model_fields.items()}
        annotation = by_alias[part].annotation if part in by_alias else None
        current = next(iter(_models_in(annotation)), None)
    if current is None:
        return []
    return [field.alias or name for name, field in current.model_fields.items()]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)


def _brief(value: object) -> str:
    """What was found, in one short line."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        return "a number of very many digits"  # Python refuses to write them
    text = repr(value[:_MAX_SHOWN] if isinstance(value, str | bytes) else value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."
