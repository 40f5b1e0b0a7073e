"""The engine's command line: placeholders, and what each engine family calls its options.

A family that is not in the table gets its runtime's own arguments and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hearth.api.inferenceruntime import PLACEHOLDER, InferenceRuntime
from hearth.api.llmservice import LLMService
from hearth.api.template import SOURCE_PATH
from hearth.crd_translator.drain import drain_seconds
from hearth.crd_translator.resolve import RuntimeNotResolved


@dataclass(frozen=True, slots=True)
class Family:
    """The options of an engine family; None where the engine has no such option."""

    served_name: str | None = None
    tensor_parallel: tuple[str, ...] = ()  # every spelling; the first is the one that is added
    revision: str | None = None
    stream_from_s3: tuple[str, ...] | None = None
    hub_option: tuple[str, ...] = ()  # loads from Hugging Face, and from nowhere else
    loads_folders: bool = True
    loads_hubs: bool = True
    loads_modelscope: bool = True


# vLLM: https://docs.vllm.ai/en/stable/cli/serve/ ; SGLang: its server arguments; llama.cpp: its server's README;
# MindIE: its config.json has the name and the folder, so that it has no option at all.
FAMILIES = {
    "vllm": Family(
        served_name="--served-model-name",
        tensor_parallel=("--tensor-parallel-size", "-tp"),
        revision="--revision",
        stream_from_s3=("--load-format", "runai_streamer"),
    ),
    "sglang": Family(
        served_name="--served-model-name",
        tensor_parallel=("--tp-size", "--tp", "--tensor-parallel-size"),
        revision="--revision",
    ),
    "llamacpp": Family(
        served_name="--alias",
        hub_option=("-hf", "-hfr", "--hf-repo"),
        loads_folders=False,
        loads_modelscope=False,
    ),
    "mindie": Family(loads_hubs=False),
}


def substitute(text: str, service: LLMService) -> str:
    """`text` with its placeholders filled in. InferenceRuntime has refused unknown ones before."""
    values = {
        ".Model.Path": model_path(service),
        ".Model.Name": service.spec.model.source.parsed.name,
        ".Service.Name": service.metadata.name,
        ".Service.Namespace": service.metadata.namespace,
        ".Resources.Accelerators": str(service.spec.resources.accelerators),
        ".Scaling.DrainSeconds": str(drain_seconds(service)),
    }
    return PLACEHOLDER.sub(lambda found: values[found[1].strip()], text)


def model_path(service: LLMService) -> str:
    """What the engine is told to load: a hub's repository, a mounted folder, or an s3:// URI."""
    source = service.spec.model.source.parsed
    match source.scheme:
        case "hf" | "modelscope":
            return source.location
        case "pvc" | "oci":
            return SOURCE_PATH
        case "s3":
            return f"s3://{source.location}"


def engine_arguments(service: LLMService, runtime: InferenceRuntime) -> list[str]:
    """The container's args: the runtime's, then what the LLMService asks for, then its argsOverride.

    Raises RuntimeNotResolved where the engine has no option for what the LLMService needs.
    """
    family = FAMILIES.get(runtime.spec.family, Family())
    source = service.spec.model.source.parsed
    arguments = [substitute(argument, service) for argument in runtime.spec.container.args]
    override = service.spec.runtime.args_override
    given = [*arguments, *override]
    _check_source(service, runtime, family, given)

    if family.served_name and not _has_option(given, [family.served_name]):
        arguments += [family.served_name, service.metadata.name]
    accelerators = service.spec.resources.accelerators
    if accelerators > 1 and family.tensor_parallel and not _has_option(given, family.tensor_parallel):
        arguments += [family.tensor_parallel[0], str(accelerators)]
    if source.revision is not None and not _has_option(given, [family.revision or "--revision"]):
        if family.revision is None:
            raise RuntimeNotResolved("SourceNotSupported", _unsupported(service, runtime, "a revision"))
        arguments += [family.revision, source.revision]
    if source.scheme == "s3":
        if family.stream_from_s3 is None:
            raise RuntimeNotResolved("SourceNotSupported", _unsupported(service, runtime, "an s3:// source"))
        if not _has_option(given, family.stream_from_s3[:1]):
            arguments += family.stream_from_s3
    return arguments + override


def _check_source(service: LLMService, runtime: InferenceRuntime, family: Family, given: Sequence[str]) -> None:
    """Raise RuntimeNotResolved where the engine could only fail to load the source, after its image was pulled."""
    source = service.spec.model.source.parsed
    if source.scheme in ("hf", "modelscope") and not family.loads_hubs:
        what = f"a {source.scheme}:// source; it loads a folder that is there, such as pvc://CLAIM/PATH"
        raise RuntimeNotResolved("SourceNotSupported", _unsupported(service, runtime, what))
    if source.scheme == "modelscope" and not family.loads_modelscope:
        raise RuntimeNotResolved("SourceNotSupported", _unsupported(service, runtime, "a modelscope:// source"))
    if source.scheme in ("pvc", "oci"):
        if _has_option(given, family.hub_option):
            what = f"a {source.scheme}:// source beside {family.hub_option[0]}, which loads from Hugging Face"
            raise RuntimeNotResolved("SourceNotSupported", _unsupported(service, runtime, what))
        one_file = source.path is not None and source.path.endswith(".gguf")
        if not family.loads_folders and not one_file and SOURCE_PATH in given:
            what = "a folder; it loads one file, such as pvc://CLAIM/PATH/MODEL.gguf"
            raise RuntimeNotResolved("SourceNotSupported", _unsupported(service, runtime, what))


def _has_option(arguments: Sequence[str], spellings: Sequence[str]) -> bool:
    return any(argument.split("=", 1)[0] in spellings for argument in arguments)


def _unsupported(service: LLMService, runtime: InferenceRuntime, what: str) -> str:
    return (
        f"LLMService {'/'.join(service.key)}: spec.model.source.uri: found {service.spec.model.source.uri!r}; engine "
        f"family {runtime.spec.family!r} of InferenceRuntime {runtime.metadata.name} has no option for {what}"
    )
