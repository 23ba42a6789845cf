"""Certificates and kubeconfigs: kubeadm makes all of them."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from tests.cluster import services
from tests.cluster.commands import run
from tests.cluster.layout import KUBERNETES_VERSION, SERVICES, Layout

ADMIN = "admin"
_COMPONENTS = {
    ADMIN: ("kubernetes-admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", None),
    "scheduler": ("system:kube-scheduler", None),
    "kube-proxy": ("system:kube-proxy", None),
}


def users(nodes: int) -> dict[str, tuple[str, str | None]]:
    """File name → (user, group) of every kubeconfig."""
    kubelets = {f"node{node}": (f"system:node:node{node}", "system:nodes") for node in range(nodes)}
    return {**_COMPONENTS, **kubelets}


def ensure(layout: Layout, nodes: int, kube: Path) -> None:
    """All that is missing; what exists is kept, so that a repaired cluster stays the same cluster."""
    configuration = layout.conf / "kubeadm.yaml"
    configuration.write_text(yaml.safe_dump_all(_configuration(layout)))
    inside = (*services.enter(layout, 0), str(kube), "kubeadm")
    if not (layout.pki / "front-proxy-client.crt").exists():
        run([*inside, "init", "phase", "certs", "all", "--config", configuration])

    def make(name: str) -> None:
        user, group = users(nodes)[name]
        argv = [*inside, "kubeconfig", "user", "--config", str(configuration), "--client-name", user]
        said = run([*argv, *(["--org", group] if group else [])]).stdout
        write_private(layout.conf / f"{name}.conf", said)

    missing = [name for name in users(nodes) if not (layout.conf / f"{name}.conf").exists()]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(make, missing))
    if ADMIN in missing or not layout.kubeconfig.exists():
        _publish(layout)


def _publish(layout: Layout) -> None:
    """The kubeconfig for outside, and the administrator's certificate as a file for our own requests."""
    document = yaml.safe_load((layout.conf / f"{ADMIN}.conf").read_text())
    document["clusters"][0]["cluster"]["server"] = layout.server
    user = document["users"][0]["user"]
    both = base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"])
    write_private(admin_certificate(layout), both.decode())
    write_private(layout.kubeconfig, yaml.safe_dump(document, sort_keys=False))


def admin_certificate(layout: Layout) -> Path:
    return layout.conf / "admin.pem"


def write_private(path: Path, text: str) -> None:
    """Write so that only the owner ever could read it, and nobody sees half of it."""
    part = path.with_name(path.name + ".part")
    part.touch(mode=0o600)
    part.write_text(text)
    part.rename(path)


def _configuration(layout: Layout) -> list[dict[str, object]]:
    version = "kubeadm.k8s.io/v1beta4"
    return [
        {
            "apiVersion": version,
            "kind": "InitConfiguration",
            "localAPIEndpoint": {"advertiseAddress": layout.node_address(0), "bindPort": 6443},
            "nodeRegistration": {"name": "node0", "criSocket": f"unix://{layout.socket(0)}"},
        },
        {
            "apiVersion": version,
            "kind": "ClusterConfiguration",
            "clusterName": "modelward",
            "kubernetesVersion": KUBERNETES_VERSION,
            "certificatesDir": str(layout.pki),
            "networking": {"serviceSubnet": SERVICES},
            "apiServer": {"certSANs": ["127.0.0.1", "localhost"]},
        },
    ]
