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
    other_parallel: tuple[str, ...] = ()  # what else divides the devices: who gives one divides all of them
    revision: str | None = None
    stream_from_s3: tuple[str, ...] | None = None
    hub_option: tuple[str, ...] = ()  # loads from Hugging Face, and from nowhere else
    loads_folders: bool = True
    loads_hubs: bool = True
    use_modelscope: str | None = None  # the variable by which it loads from ModelScope what is no folder
    compiled: tuple[str, ...] = ()  # the variables that name folders of what it has compiled, each with its own name


# vLLM: https://docs.vllm.ai/en/stable/cli/serve/ ; SGLang: its server arguments, and for ModelScope its loader (0.5.23
# reads no VLLM_USE_MODELSCOPE); llama.cpp: its server's README;
# MindIE: its config.json has the name and the folder, so that it has no option at all.
FAMILIES = {
    "vllm": Family(
        served_name="--served-model-name",
        tensor_parallel=("--tensor-parallel-size", "-tp"),
        other_parallel=("--pipeline-parallel-size", "-pp", "--data-parallel-size", "-dp"),
        revision="--revision",
        use_modelscope="VLLM_USE_MODELSCOPE",
        # https://docs.vllm.ai/en/stable/design/torch_compile/#compilation-cache
        compiled=("VLLM_CACHE_ROOT",),
        stream_from_s3=("--load-format", "runai_streamer"),
    ),
    "sglang": Family(
        served_name="--served-model-name",
        tensor_parallel=("--tp-size", "--tp", "--tensor-parallel-size"),
        other_parallel=(
            *("--pp-size", "--pp", "--pipeline-parallel-size"),
            *("--dp-size", "--dp", "--data-parallel-size"),
        ),
        revision="--revision",
        use_modelscope="SGLANG_USE_MODELSCOPE",
        # https://docs.pytorch.org/tutorials/recipes/torch_compile_caching_configuration_tutorial.html
        compiled=("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"),
    ),
    "llamacpp": Family(
        served_name="--alias",
        hub_option=("-hf", "-hfr", "--hf-repo"),
        loads_folders=False,
    ),
    "mindie": Family(loads_hubs=False),
}


def family_of(runtime: InferenceRuntime) -> Family:
    """What is known of a runtime's engine; nothing, of a family that is not in the table."""
    return FAMILIES.get(runtime.spec.family, Family())


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
    family = family_of(runtime)
    source = service.spec.model.source.parsed
    arguments = [substitute(argument, service) for argument in runtime.spec.container.args]
    override = service.spec.runtime.args_override
    given = [*arguments, *override]
    _check_source(service, runtime, family, given)

    if family.served_name and not _has_option(given, [family.served_name]):
        arguments += [family.served_name, service.metadata.name]
    accelerators = service.spec.resources.accelerators
    divided = _has_option(given, (*family.tensor_parallel, *family.other_parallel))
    if accelerators > 1 and family.tensor_parallel and not divided:
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
    if source.scheme == "modelscope" and modelscope_env(runtime) is None:
        raise RuntimeNotResolved("SourceNotSupported", _unsupported(service, runtime, "a modelscope:// source"))
    if source.scheme in ("pvc", "oci"):
        if _has_option(given, family.hub_option):
            what = f"a {source.scheme}:// source beside {family.hub_option[0]}, which loads from Hugging Face"
            raise RuntimeNotResolved("SourceNotSupported", _unsupported(service, runtime, what))
        one_file = source.path is not None and source.path.endswith(".gguf")
        if not family.loads_folders and not one_file and SOURCE_PATH in given:
            what = "a folder; it loads one file, such as pvc://CLAIM/PATH/MODEL.gguf"
            raise RuntimeNotResolved("SourceNotSupported", _unsupported(service, runtime, what))


def modelscope_env(runtime: InferenceRuntime) -> str | None:
    """The variable that makes the runtime's engine load from ModelScope: its family's, or one that the runtime itself
    sets, whose name says so. None where it can't."""
    family = family_of(runtime)
    own = (variable.name for variable in runtime.spec.container.env if "USE_MODELSCOPE" in variable.name.upper())
    return family.use_modelscope or next(own, None)


def _has_option(arguments: Sequence[str], spellings: Sequence[str]) -> bool:
    """Written with `_` it is the same option: vLLM's parser takes both."""
    said = (argument.split("=", 1)[0] for argument in arguments)
    return any((option.replace("_", "-") if option.startswith("--") else option) in spellings for option in said)


def _unsupported(service: LLMService, runtime: InferenceRuntime, what: str) -> str:
    return (
        f"LLMService {'/'.join(service.key)}: spec.model.source.uri: found {service.spec.model.source.uri!r}; engine "
        f"family {runtime.spec.family!r} of InferenceRuntime {runtime.metadata.name} has no option for {what}"
    )
