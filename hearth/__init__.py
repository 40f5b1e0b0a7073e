"""Hearth: private LLMs on Kubernetes at zero idle cost."""

__version__ = "0.1.0"
