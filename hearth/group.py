"""The API group of Hearth's own kinds. Importing it loads nothing."""

GROUP = "serving.hearth.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
