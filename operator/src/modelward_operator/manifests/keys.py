"""The operator's keys as objects: private ones in a Secret, public ones in the pods' namespaces."""

from __future__ import annotations

import base64
import json

from pydantic import ValidationError

from modelward_api import names
from modelward_operator.domain.core.sealing import SealingKey
from modelward_operator.domain.operator.keyring import Keyring, published
from modelward_operator.manifests.pod import Manifest

SECRET, KEYRING = "modelward-control-key", "keyring.json"
RECORD_SECRET, RECORD_KEY = "modelward-record-key", "key"


def secret(namespace: str, ring: Keyring) -> Manifest:
    """Return the Secret with the keyring, in the operator's namespace."""
    written = json.dumps(ring.to_json(), sort_keys=True).encode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": namespace, "labels": {names.MANAGED_BY: names.MANAGER}},
        "type": "Opaque",
        "data": {KEYRING: base64.b64encode(written).decode()},
    }


def read(manifest: Manifest) -> Keyring:
    """Parse the keyring in that Secret.

    Raises:
        ValueError: it holds none.
    """
    try:
        written = base64.b64decode((manifest.get("data") or {})[KEYRING])
        return Keyring.model_validate_json(written)
    except (KeyError, ValueError, ValidationError) as error:
        raise ValueError(
            f"Secret {SECRET} holds no valid keyring: delete it, and the operator creates new keys"
        ) from error


def record_secret(namespace: str, key: SealingKey) -> Manifest:
    """The key that the counts in models' records are sealed with, in the operator's namespace."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": RECORD_SECRET, "namespace": namespace, "labels": {names.MANAGED_BY: names.MANAGER}},
        "type": "Opaque",
        "data": {RECORD_KEY: base64.b64encode(key.secret).decode()},
    }


def read_record_key(manifest: Manifest) -> SealingKey:
    """The key in that Secret.

    Raises:
        ValueError: it holds none.
    """
    try:
        return SealingKey(base64.b64decode((manifest.get("data") or {})[RECORD_KEY], validate=True))
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"Secret {RECORD_SECRET} holds no key: restore it, or delete it: a new key is made, and evidence starts anew"
        ) from error


def config_map(namespace: str, ring: Keyring) -> Manifest:
    """Return the ConfigMap with the public keys, for a namespace with serving pods."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.CONTROL_KEYS,
            "namespace": namespace,
            "labels": {names.MANAGED_BY: names.MANAGER},
        },
        "data": {names.CONTROL_KEYS_FILE: json.dumps(published(ring), sort_keys=True)},
    }
