"""Generated from proto/*.proto by `make generate`."""
