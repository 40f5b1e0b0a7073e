"""What the local API server admits: of our own kinds what their models take, with the models' defaults filled in.

Of built-in kinds and of ScaledObjects it is what has the types that shapes.py knows.

In a cluster the CRD's schema and its CEL rules say it; they say a little less, and prune what they do not know.
"""

from hearth.api.base import GROUP
from hearth.api.manifest import ManifestError, parse_llmservice, parse_runtime
from hearth.emulators.kinds import Kind, KubeObject
from hearth.emulators.refusals import invalid
from hearth.emulators.shapes import misshapen


def admit(kind: Kind, item: KubeObject) -> KubeObject:
    """The object as it is to be stored. Raises Refusal, 422, with every field that may not be."""
    if kind.group != GROUP:
        if causes := misshapen(kind, item):
            raise invalid(kind, str(item["metadata"].get("name", "")), causes)
        return item
    try:
        parsed = (parse_llmservice if kind.name == "LLMService" else parse_runtime)(item)
    except ManifestError as error:
        causes = [("FieldValueInvalid", problem.message, problem.path) for problem in error.problems]
        raise invalid(kind, item["metadata"].get("name", ""), causes) from error
    return {**item, "spec": parsed.to_manifest()["spec"]}
