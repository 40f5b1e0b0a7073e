"""The seed of an object: what it is created from, before everything else is applied to it. Pure.

A seed is POSTed, which fails where somebody has the name, whereas an apply would take the object over. Who creates an
object owns what was in the request for ever, so that fields which a later version of the object may drop must not be in
it. And a Deployment begins with zero replicas, of which the creator stays the owner until KEDA writes them: without one
the API server would say 1.
"""

from hearth.kube.objects import KubeObject


def seed_of(rendered: KubeObject) -> KubeObject:
    """What to create for a rendered object."""
    spec = rendered["spec"]
    match rendered["kind"]:
        case "Deployment":
            pod = spec["template"]["spec"]
            container = pod["containers"][0]  # the engine; sidecars and labels of people may go
            template = {
                "metadata": {"labels": spec["selector"]["matchLabels"]},
                "spec": {
                    "containers": [{"name": container["name"], "image": container["image"]}],
                    "automountServiceAccountToken": pod["automountServiceAccountToken"],  # the default is true
                },
            }
            seed = {"replicas": 0, "selector": spec["selector"], "template": template}
        case "Service":
            seed = {name: value for name, value in spec.items() if name != "ports"}
        case _:
            seed = spec  # none of its fields ever goes away, or they can't be changed at all
    return {**rendered, "spec": seed}
