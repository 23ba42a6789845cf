"""The control plane's processes, all in node 0: etcd, API server, controllers, scheduler, DNS, and the way in."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.cluster.layout import DNS_ADDRESS, PODS, REPOSITORY, SERVICES, Layout
from tests.cluster.services import Service

_ETCD = "http://127.0.0.1:2379"
GROUP = "control-plane"


def services(layout: Layout, kube: Path) -> tuple[Service, ...]:
    """In the order in which they start."""
    return (*before_api(layout, kube), *after_api(layout, kube))


def before_api(layout: Layout, kube: Path) -> tuple[Service, ...]:
    """What has to run for the API to answer, the API server included."""
    api = layout.run / "api.sock"
    inward = ("socat", f"UNIX-LISTEN:{api},fork,unlink-early", "TCP:127.0.0.1:6443")
    outward = ("socat", f"TCP-LISTEN:{layout.port},bind=127.0.0.1,fork,reuseaddr", f"UNIX-CONNECT:{api}")
    return (
        _inside("etcd", str(kube), "etcd", *_etcd(layout)),
        _inside("kube-apiserver", str(kube), "kube-apiserver", *_api_server(layout)),
        _inside("relay-in", *inward),
        Service("relay-out", outward, GROUP),
    )


def after_api(layout: Layout, kube: Path) -> tuple[Service, ...]:
    """What would give up if the API did not answer yet."""
    recycler = (sys.executable, "-m", "tests.cluster.volumes", str(kube), str(layout.kubeconfig), str(layout.volumes))
    return (
        _inside("kube-controller-manager", str(kube), "kube-controller-manager", *_controller_manager(layout)),
        _inside("kube-scheduler", str(kube), "kube-scheduler", *_scheduler(layout)),
        _inside("coredns", str(kube), "coredns", "-conf", str(layout.conf / "Corefile")),
        Service("volumes", ("env", f"PYTHONPATH={REPOSITORY}", "PYTHONUNBUFFERED=1", *recycler), GROUP),
    )


def _inside(name: str, *argv: str) -> Service:
    return Service(name, argv, GROUP, node=0)


def _etcd(layout: Layout) -> list[str]:
    return [
        f"--data-dir={layout.root / 'etcd'}",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        # A test cluster need not survive a power cut, and synced writes would be most of its cost.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _api_server(layout: Layout) -> list[str]:
    pki = layout.pki
    return [
        f"--advertise-address={layout.node_address(0)}",
        "--secure-port=6443",
        f"--etcd-servers={_ETCD}",
        f"--service-cluster-ip-range={SERVICES}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
        # A lost node's pods move after 30 s instead of 5 minutes.
        "--default-not-ready-toleration-seconds=30",
        "--default-unreachable-toleration-seconds=30",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
        f"--proxy-client-key-file={pki}/front-proxy-client.key",
    ]


def _kubeconfigs(path: Path) -> list[str]:
    return [f"--kubeconfig={path}", f"--authentication-kubeconfig={path}", f"--authorization-kubeconfig={path}"]


def _controller_manager(layout: Layout) -> list[str]:
    pki = layout.pki
    return [
        *_kubeconfigs(layout.conf / "controller-manager.conf"),
        f"--root-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/sa.key",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--cluster-cidr={PODS}",
        "--node-monitor-grace-period=20s",
    ]


def _scheduler(layout: Layout) -> list[str]:
    return [*_kubeconfigs(layout.conf / "scheduler.conf"), "--leader-elect=false", "--bind-address=127.0.0.1"]


def corefile(layout: Layout) -> str:
    return f"""\
.:53 {{
  errors
  ready {layout.node_address(0)}:8181
  kubernetes cluster.local in-addr.arpa ip6.arpa {{
    kubeconfig {layout.conf / "admin.conf"}
    ttl 5
  }}
  cache 5
  loadbalance
}}
"""


def objects(layout: Layout) -> list[dict[str, object]]:
    """What kubeadm would create: the API server may use the kubelets, and DNS has its Service."""
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "kube-apiserver-kubelet"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:kubelet-api-admin",
            },
            "subjects": [
                {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "kube-apiserver-kubelet-client"}
            ],
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system"},
            "spec": {"clusterIP": DNS_ADDRESS, "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kube-dns",
                "namespace": "kube-system",
                "labels": {"kubernetes.io/service-name": "kube-dns"},
            },
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [{"addresses": [layout.node_address(0)], "conditions": {"ready": True}}],
        },
    ]
