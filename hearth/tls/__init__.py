"""Certificates of roles: what to issue and trust, the folder that a role has them in, gRPC with them."""
