"""A model's Service: one stable name for clients, whichever version serves."""

from __future__ import annotations

from modelward_api import names
from modelward_operator.manifests.pod import Manifest


def service(namespace: str, model: str, version: str, *, tls: bool = False) -> Manifest:
    """Return the Service that selects the pods of that ModelVersion. It has no owner, so it outlives versions."""
    protocol = {"appProtocol": "https"} if tls else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": model,
            "namespace": namespace,
            "labels": {names.MANAGED_BY: names.MANAGER, names.MODEL: model},
        },
        "spec": {
            "selector": {names.MODEL: model, names.MODEL_VERSION: version},
            "ports": [
                {"name": "http", "port": names.HTTP_PORT, "targetPort": "http", "protocol": "TCP", **protocol},
                {"name": "grpc", "port": names.GRPC_PORT, "targetPort": "grpc", "protocol": "TCP"},
            ],
        },
    }
