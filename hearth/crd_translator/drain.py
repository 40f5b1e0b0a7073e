"""How an engine ends: it finishes what it answers, within drainTimeout, before it is told to stop.

The pod has left the EndpointSlice when its preStop hook runs, so that what is under way can only become less. The hook
needs what engine images have: sh and awk, and for the metrics curl or python3.
"""

import math
import re
from typing import Final

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.llmservice import LLMService
from hearth.api.template import ENGINE_PORT_ENV

# What a terminating engine gets beyond its drain: the preStop hook's own steps, then SIGTERM and its exit.
_GRACE_AFTER_DRAIN_SECONDS: Final = 30
# Endpoint removal reaches every activator well within this; requests sent before it are still accepted.
_DEREGISTER_SECONDS: Final = 2

# Activators keep no idle connection to an engine that left: each that is established (01) on the engine's port carries
# an answer. https://docs.kernel.org/networking/proc_net_tcp.html; where it can't be read, the whole time is waited.
_CONNECTED: Final = f"""connected() {{ [ -r /proc/net/tcp ] || return 0; p=$(printf :%04X "${ENGINE_PORT_ENV}"); \
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | \
awk -v p="$p" 'substr($2, length($2) - 4) == p && $4 == "01" {{ n++ }} END {{ exit !(n > 0) }}'; }}"""


# An engine that ends may say anything, or hang: what is no figure is not believed, and no look takes long.
_LOOK_SECONDS: Final = 2
_MOST_BYTES: Final = 4 * 2**20
# Behind the name and its labels stands the value, and perhaps a timestamp:
# https://prometheus.io/docs/instrumenting/exposition_formats/#comments-help-text-and-type-information
_FIGURE: Final = """{ sub(/^[^ {]*([{].*[}])?[ \\t]+/, ""); if ($1 ~ /^[0-9.]+([eE][+-]?[0-9]+)?$/) \
{ known++; total += $1 } else strange++ }"""


def drain_seconds(service: LLMService) -> int:
    """spec.scaling.drainTimeout, in whole seconds."""
    return math.ceil(service.spec.scaling.drain_timeout.total_seconds())


def grace_seconds(service: LLMService, runtime: InferenceRuntime) -> int:
    """terminationGracePeriodSeconds: the drain and the engine's own end fit into it."""
    needed = drain_seconds(service) + _GRACE_AFTER_DRAIN_SECONDS
    return max(runtime.spec.lifecycle.termination_grace_period_seconds, needed)


def drain_hook(service: LLMService, runtime: InferenceRuntime) -> list[str] | None:
    """The preStop hook's command; None where the runtime wants none.

    It waits until the engine's metrics say that nothing runs or waits there. Where it has no metrics, or they can't be
    read, it waits until no activator is connected.
    """
    if not runtime.spec.lifecycle.pre_stop_drain:
        return None
    script = (
        f"end=$(($(date +%s) + {drain_seconds(service)})); {_CONNECTED}; {_busy(runtime)}; "
        f"sleep {_DEREGISTER_SECONDS}; while [ $(date +%s) -lt $end ] && busy; do sleep 1; done"
    )
    return ["/bin/sh", "-c", script]


def _busy(runtime: InferenceRuntime) -> str:
    metrics = runtime.spec.metrics
    names = [re.escape(name) for name in (metrics.running, metrics.queue_depth) if name is not None]
    if metrics.running is None:
        return "busy() { connected; }"
    port = str(metrics.port) if isinstance(metrics.port, int) else f"${{{ENGINE_PORT_ENV}}}"
    url = f"http://127.0.0.1:{port}{metrics.path}"
    python = (
        f"import urllib.request as u; print(u.urlopen('{url}', timeout={_LOOK_SECONDS}).read({_MOST_BYTES}).decode())"
    )
    read = f'curl -fsS --max-time {_LOOK_SECONDS} "{url}" || python3 -c "{python}"'
    running = (
        f"awk '/^({'|'.join(names)})[ {{]/ {_FIGURE} END {{ exit (total > 0 ? 0 : (known && !strange ? 1 : 2)) }}'"
    )
    return (
        f"busy() {{ {{ {read}; }} | head -c {_MOST_BYTES} | {running}; "
        "case $? in 0) ;; 1) return 1 ;; *) connected ;; esac; }"
    )
