"""Certificates as a Secret has them."""

from __future__ import annotations

NAME = "mortality.clinic.svc"


def write(folder, ca, name=NAME, client_ca=None):
    """A Secret as it is mounted."""
    issued = ca.issue_cert(name)
    issued.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    issued.private_key_pem.write_to_path(folder / "tls.key")
    ca.cert_pem.write_to_path(folder / "ca.crt")
    (client_ca or ca).cert_pem.write_to_path(folder / "clients.crt")
