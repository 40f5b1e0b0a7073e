"""An installation as a cluster has it: KEDA by its own manifests, as pods, with its admission webhooks and the certificates
that it makes itself, on a real node where NetworkPolicies are enforced (kube-router). Without other plugins of a
network there is one node: kube-router enforces what its own node's pods are sent, and the nodes of the test bed share a
namespace, where several of it would undo each other's rules."""
