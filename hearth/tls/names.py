"""Names that certificates have where nothing else is said. Importing it loads nothing.

Scalers reach an activator by its pod's address, which no certificate can have: they expect the name of its Service.
"""

ACTIVATOR_NAME = "hearth-activator.hearth-system.svc"
SCALER_NAME = "hearth-scaler.hearth-system.svc"
KEDA_NAME = "hearth-keda"
"""No host's: KEDA is a client alone."""

AUTHORITY_SECRET = "hearth-ca"  # noqa: S105 - its name
"""In the namespace of Hearth: the key that signs. No pod has it mounted."""
SECRETS = {
    "activator": "hearth-system/hearth-activator-tls",
    "scaler": "hearth-system/hearth-scaler-tls",
    "keda": "keda/hearth-keda-tls",
}
"""NAMESPACE/NAME of the Secret with a certificate, by whose it is."""
KEDA_AUTHENTICATION = "hearth-keda"
"""The ClusterTriggerAuthentication by which KEDA has its certificate, in deploy/keda."""
