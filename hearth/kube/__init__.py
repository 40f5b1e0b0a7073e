"""The little that the Kubernetes client lacks."""
