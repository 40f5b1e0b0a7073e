"""The node agent of the tests: Nodes whose pods are processes, each on an address and a root file system of its own.

It stands where kubelet, container engine and network plugin are in a cluster, which can't run here. What is real: the
pods that the real scheduler bound, network namespaces, mounts, users, capabilities, tokens, probes, hooks, signals and
restarts. What is not: images are not pulled (`hearth` is made by the steps of the Dockerfile, engines are the simulated
engine), memory and CPU are not limited, seccomp profiles are not loaded, NetworkPolicies are not enforced, and a pod
has one container.
"""
