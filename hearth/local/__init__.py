"""The embedded default: the whole loop on one machine, pods as processes, no Kubernetes."""
