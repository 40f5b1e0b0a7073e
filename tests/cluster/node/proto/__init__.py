"""Generated from tests/cluster/node/*.proto by `make generate`."""
