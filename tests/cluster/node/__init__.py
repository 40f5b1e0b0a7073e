"""Real nodes: a kubelet, a containerd with runc, CNI plugins and a device plugin each, as plain processes.

What is not real of them: there are no accelerators (the device plugin announces what nobody opens); the CPUs and the
memory that they tell of are those of their vendors' machines, not of this one; the three share a kernel and a network
namespace, where each has addresses of its own; and one kube-proxy serves them all. NetworkPolicies are not enforced.
"""
