"""The embedded cluster: a real Kubernetes out of plain processes, each node in network and mount namespaces of its own.

Nothing in it has a route to the outside; a relay on loopback is the only way in. Everything that a node mounts or names
lives in its mount namespace, so it is gone with its processes.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from tests.support.cluster import binaries, cgroups, requirements, services
from tests.support.cluster.commands import run
from tests.support.cluster.errors import ClusterError
from tests.support.cluster.layout import DNS_ADDRESS, KUBERNETES_VERSION, MAX_NODES, PODS, SERVICES, Layout
from tests.support.cluster.services import Service
from tests.support.cluster.waiting import wait_until

PAUSE = "modelward.local/pause:1"
VOLUMES = 32
CONTROL_PLANE = ("etcd", "kube-apiserver", "relay-in", "relay", "kube-controller-manager", "kube-scheduler", "coredns")
RESOLV = "nameserver 127.0.0.1\n"
SWITCH = "switch"
"""The process that holds the network namespace to which all nodes are wired."""


class Embedded:
    """One embedded cluster."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.kube = str(binaries.path(layout.cache, "kube"))

    @property
    def nodes(self) -> int:
        """How many nodes it was brought up with; 0 when it is down."""
        try:
            return int((self.layout.run / "nodes").read_text())
        except OSError:
            return 0

    def kubectl(self, *words: str, stdin: str | None = None, check: bool = True) -> str:
        argv = [self.kube, "kubectl", "--kubeconfig", self.layout.kubeconfig, *words]
        return run(argv, stdin=stdin, check=check).stdout

    def up(self, nodes: int) -> None:
        """Bring it up, or back to what it should be."""
        requirements.require_running()
        if not 1 <= nodes <= MAX_NODES:
            raise ClusterError(f"from 1 to {MAX_NODES} nodes, not {nodes}")
        if self.nodes not in (0, nodes):
            raise ClusterError(
                f"the cluster runs with {self.nodes} nodes: `python -m tests.support.cluster down` first"
            )
        if self.nodes and self.healthy():
            return
        for directory in (self.layout.run, self.layout.logs, self.layout.conf, self.layout.pki):
            directory.mkdir(parents=True, exist_ok=True)
        (self.layout.root / "resolv.conf").write_text(RESOLV)
        for node in range(nodes):
            cgroups.create(self.layout.name, node)
        self._namespaces(nodes)
        self._certificates(nodes)
        self._kubeconfig()
        self.write_corefile()
        (self.layout.run / "nodes").write_text(str(nodes))
        self._control_plane()
        for node in range(nodes):
            self._node(node)
        self._objects()
        self._await_nodes(nodes)

    def healthy(self) -> bool:
        """Whether every process runs and the API server is ready."""
        wanted = set(CONTROL_PLANE) | {name for node in range(self.nodes) for name in node_services(node)}
        return all(services.find(self.layout, name) for name in wanted) and self.is_ready()

    def down(self) -> None:
        """Stop it and leave nothing: processes, mounts, namespaces, cgroups, files. Images stay in the cache."""
        cgroups.kill(self.layout.name)
        cgroups.remove(self.layout.name)
        shutil.rmtree(self.layout.root, ignore_errors=True)

    def reset_volumes(self) -> None:
        """Make volumes whose claim is gone usable again, and empty."""
        found = json.loads(self.kubectl("get", "persistentvolumes", "--output", "json"))["items"]
        for volume in found:
            if volume["status"].get("phase") not in ("Released", "Failed"):
                continue
            name = volume["metadata"]["name"]
            self.kubectl("delete", "persistentvolume", name)
            shutil.rmtree(volume["spec"]["local"]["path"], ignore_errors=True)
            self.kubectl("apply", "--filename", "-", stdin=self._volume(int(name.rpartition("-")[2])))

    def load(self, node: int, archive: Path) -> None:
        """Import an image archive into a node."""
        run(["ctr", "--address", self.layout.socket(node), "--namespace", "k8s.io", "images", "import", archive])

    def has_image(self, node: int, name: str) -> bool:
        argv = [
            "ctr",
            "--address",
            self.layout.socket(node),
            "--namespace",
            "k8s.io",
            "images",
            "ls",
            "-q",
            f"name=={name}",
        ]
        return name in run(argv).stdout

    def start(self, name: str) -> None:
        """Start one service of a running cluster again."""
        for service in self.services():
            if service.name == name:
                services.start(self.layout, service)
                return
        raise ClusterError(f"no service {name!r}; there are {', '.join(s.name for s in self.services())}")

    def start_node(self, node: int) -> None:
        """Start all services of a node again that was lost: its containers are known, and begin anew."""
        containerd, *others = self._node_services(node)
        self._start_containerd(node, containerd)
        for service in others:
            services.start(self.layout, service)

    def services(self) -> Iterator[Service]:
        """All services but the namespaces' holders."""
        yield from self._control_plane_services()
        for node in range(self.nodes):
            yield from self._node_services(node)

    def is_ready(self) -> bool:
        """Whether the API server answers."""
        argv = [self.kube, "kubectl", "--kubeconfig", self.layout.kubeconfig, "get", "--raw", "/readyz"]
        return run(argv, check=False, timeout=10).returncode == 0

    def _namespaces(self, nodes: int) -> None:
        group, hold = "control-plane", ("sh", "-c", "mount -t tmpfs tmpfs /run && exec sleep infinity")
        if services.find(self.layout, SWITCH) is None:
            services.start(self.layout, Service(SWITCH, ("unshare", "--net", "--", "sleep", "infinity"), group))
            switch = self._settled(SWITCH, "net")
            _ip(switch, "link", "add", "sw", "type", "bridge")
            _ip(switch, "link", "set", "sw", "up")
        switch = self._settled(SWITCH, "net")
        for node in range(nodes):
            name = services.holder_name(node)
            if services.find(self.layout, name) is not None:
                continue
            argv = ("unshare", "--net", "--mount", "--propagation", "private", "--", *hold)
            services.start(self.layout, Service(name, argv, group))
            holder = self._settled(name, "mnt")
            self._wire(node, nodes, holder, switch)

    def _settled(self, name: str, kind: str) -> int:
        """The holder's id, once it is in namespaces of its own."""
        pid, own = services.require(self.layout, name).pid, Path(f"/proc/self/ns/{kind}").readlink()
        wait_until(lambda: Path(f"/proc/{pid}/ns/{kind}").readlink() != own, f"namespaces of {name}", 10, every=0.005)
        wait_until(lambda: Path(f"/proc/{pid}/comm").read_text().strip() == "sleep", f"{name} ready", 10, every=0.005)
        return pid

    def _wire(self, node: int, nodes: int, holder: int, switch: int) -> None:
        """A cable from the node to the switch, and routes to the other nodes' pods. None leads outside."""
        cable = ["type", "veth", "peer", "name", port_name(node), "netns", str(switch)]
        run(["ip", "link", "add", "eth0", "netns", str(holder), *cable])
        _ip(switch, "link", "set", port_name(node), "master", "sw", "up")
        _ip(holder, "link", "set", "lo", "up")
        _ip(holder, "addr", "add", f"{self.layout.node_address(node)}/24", "dev", "eth0")
        _ip(holder, "link", "set", "eth0", "up")
        _ip(holder, "route", "add", "default", "dev", "eth0")
        run(["nsenter", "--target", str(holder), "--net", "--", "sysctl", "-qw", "net.ipv4.ip_forward=1"])
        for other in range(nodes):
            if other != node:
                _ip(holder, "route", "add", self.layout.pod_subnet(other), "via", self.layout.node_address(other))

    def _certificates(self, nodes: int) -> None:
        """kubeadm makes every certificate and kubeconfig."""
        if self.layout.kubeconfig.exists():
            return
        config = self.layout.root / "kubeadm.yaml"
        config.write_text(
            f"""apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {{advertiseAddress: {self.layout.node_address(0)}, bindPort: 6443}}
nodeRegistration: {{name: node0, criSocket: "unix://{self.layout.socket(0)}"}}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: {KUBERNETES_VERSION}
certificatesDir: {self.layout.pki}
networking: {{serviceSubnet: {SERVICES}}}
apiServer: {{certSANs: [127.0.0.1, localhost]}}
"""
        )
        inside = services.enter(self.layout, 0)
        run([*inside, self.kube, "kubeadm", "init", "phase", "certs", "all", "--config", config])
        users = [
            ("kubernetes-admin", "admin.conf", "system:masters"),
            ("system:kube-controller-manager", "controller-manager.conf", ""),
            ("system:kube-scheduler", "scheduler.conf", ""),
            ("system:kube-proxy", "kube-proxy.conf", ""),
            *((f"system:node:node{node}", f"node{node}.conf", "system:nodes") for node in range(nodes)),
        ]
        for user, file, group in users:
            words = [
                "kubeconfig",
                "user",
                "--config",
                str(config),
                "--client-name",
                user,
                *(["--org", group] if group else []),
            ]
            (self.layout.conf / file).write_text(run([*inside, self.kube, "kubeadm", *words]).stdout)

    def _kubeconfig(self) -> None:
        """For those outside of the nodes' network: by the port of now, which may be another one than last time."""
        text = (self.layout.conf / "admin.conf").read_text()
        server = f"https://{self.layout.node_address(0)}:6443"
        self.layout.kubeconfig.write_text(text.replace(server, self.layout.server))
        self.layout.kubeconfig.chmod(0o600)

    def _control_plane(self) -> None:
        first, rest = [], []
        for service in self._control_plane_services():
            (first if service.name in CONTROL_PLANE[:4] else rest).append(service)
        for service in first:
            services.start(self.layout, service)
        wait_until(self.is_ready, f"API server (log: {self.layout.logs}/kube-apiserver.log)", 60)
        for service in rest:  # they give up without a ready API server
            services.start(self.layout, service)

    def _control_plane_services(self) -> Iterator[Service]:
        group, pki, conf = "control-plane", self.layout.pki, self.layout.conf
        sock = self.layout.run / "api.sock"

        def component(name: str, *flags: str) -> Service:
            return Service(name, (self.kube, name, *flags), group, 0)

        def config(name: str) -> tuple[str, ...]:
            file = str(conf / name)
            return (f"--kubeconfig={file}", f"--authentication-kubeconfig={file}", f"--authorization-kubeconfig={file}")

        yield component(
            "etcd", f"--data-dir={self.layout.root / 'etcd'}", "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379", "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync", "--log-level=warn",
        )  # fmt: skip
        yield component(
            "kube-apiserver", f"--advertise-address={self.layout.node_address(0)}", "--secure-port=6443",
            "--etcd-servers=http://127.0.0.1:2379", f"--service-cluster-ip-range={SERVICES}",
            "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
            f"--client-ca-file={pki}/ca.crt", f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet-client.key", "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key",
            f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
            "--requestheader-allowed-names=front-proxy-client", "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
            f"--proxy-client-key-file={pki}/front-proxy-client.key",
        )  # fmt: skip
        relay_in = ("socat", f"UNIX-LISTEN:{sock},fork,unlink-early", "TCP:127.0.0.1:6443")
        yield Service("relay-in", relay_in, group, 0)
        listen = f"TCP-LISTEN:{self.layout.port},bind=127.0.0.1,fork,reuseaddr"
        yield Service("relay", ("socat", listen, f"UNIX-CONNECT:{sock}"), group)
        yield component(
            "kube-controller-manager", *config("controller-manager.conf"), f"--root-ca-file={pki}/ca.crt",
            f"--service-account-private-key-file={pki}/sa.key", "--use-service-account-credentials",
            f"--cluster-signing-cert-file={pki}/ca.crt", f"--cluster-signing-key-file={pki}/ca.key",
            "--leader-elect=false", "--bind-address=127.0.0.1",
        )  # fmt: skip
        yield component("kube-scheduler", *config("scheduler.conf"), "--leader-elect=false", "--bind-address=127.0.0.1")
        yield component("coredns", "-conf", str(self.layout.root / "Corefile"))

    def _node(self, node: int) -> None:
        self._node_files(node)
        containerd, *others = self._node_services(node)
        self._start_containerd(node, containerd)
        self._forget_containers(node, containerd)
        if not self.has_image(node, PAUSE):
            self.load(node, self._pause_archive())
        for service in others:
            services.start(self.layout, service)

    def _start_containerd(self, node: int, containerd: Service) -> None:
        """A kubelet gives up whose containerd does not answer."""
        services.start(self.layout, containerd)
        wait_until(lambda: self._containerd_answers(node), f"containerd of node{node}", 20)

    def _containerd_answers(self, node: int) -> bool:
        return run(["ctr", "--address", self.layout.socket(node), "version"], check=False).returncode == 0

    def _forget_containers(self, node: int, containerd: Service) -> None:
        """Containers of an earlier life are known to no API server: only their images are kept."""
        if services.find(self.layout, f"kubelet{node}") is not None:
            return
        ctr = ["ctr", "--address", str(self.layout.socket(node)), "--namespace", "k8s.io", "containers"]
        old = run([*ctr, "ls", "-q"]).stdout.split()
        if not old:
            return
        run([*ctr, "rm", *old], check=False)
        services.stop(self.layout, containerd.name)
        self._start_containerd(node, containerd)

    def _node_services(self, node: int) -> Iterator[Service]:
        directory, group = self.layout.node(node), f"node{node}/system"
        # Its own mount namespace is the node's: what it mounts is gone with the node.
        inside = (
            "nsenter",
            "--target",
            str(services.require(self.layout, services.holder_name(node)).pid),
            "--mount",
            "--net",
            "--",
        )
        containerd = (*inside, "containerd", "--config", str(directory / "containerd.toml"))
        yield Service(f"containerd{node}", containerd, group)
        kubelet = (
            f"--config={directory}/kubelet.yaml", f"--kubeconfig={self.layout.conf}/node{node}.conf",
            f"--root-dir={directory}/kubelet", f"--cert-dir={directory}/kubelet/pki", f"--hostname-override=node{node}",
            f"--node-ip={self.layout.node_address(node)}",
        )  # fmt: skip
        yield Service(f"kubelet{node}", (*inside, self.kube, "kubelet", *kubelet), group)
        proxy = (
            f"--kubeconfig={self.layout.conf}/kube-proxy.conf", f"--hostname-override=node{node}", f"--cluster-cidr={PODS}",
            "--proxy-mode=iptables", "--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        )  # fmt: skip
        yield Service(f"kube-proxy{node}", (*inside, self.kube, "kube-proxy", *proxy), group)

    def _node_files(self, node: int) -> None:
        directory, subnet = self.layout.node(node), self.layout.pod_subnet(node)
        for path in (directory / "cni", directory / "kubelet", self.layout.image_store(node)):
            path.mkdir(parents=True, exist_ok=True)
        ipam = {
            "type": "host-local",
            "dataDir": f"{directory}/ipam",
            "ranges": [[{"subnet": subnet}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        plugins = [
            {"type": "ptp", "ipMasq": False, "ipam": ipam},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ]
        (directory / "cni" / "10-ptp.conflist").write_text(
            json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": plugins})
        )
        (directory / "containerd.toml").write_text(
            f"""version = 2
root = "{self.layout.image_store(node)}"
state = "{directory}/containerd-state"
[grpc]
  address = "{self.layout.socket(node)}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{requirements.CNI_PLUGINS}"
    conf_dir = "{directory}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""
        )
        kubelet = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.layout.name}/node{node}/pods",
            "cgroupsPerQOS": True,
            "enforceNodeAllocatable": [],
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,
            "clusterDNS": [DNS_ADDRESS],
            "clusterDomain": "cluster.local",
            "resolvConf": str(self.layout.root / "resolv.conf"),
            "containerRuntimeEndpoint": f"unix://{self.layout.socket(node)}",
            "podCIDR": subnet,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{self.layout.pki}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "evictionHard": {"memory.available": "100Mi"},
            # Tests kill one container several times; five minutes of back-off would only be waited for.
            "crashLoopBackOff": {"maxContainerRestartPeriod": "2s"},
            "imageGCHighThresholdPercent": 100,
            "nodeStatusUpdateFrequency": "4s",
            "volumePluginDir": f"{directory}/volume-plugins",
            "podLogsDir": f"{directory}/pod-logs",
        }
        (directory / "kubelet.yaml").write_text(json.dumps(kubelet))

    def _pause_archive(self) -> Path:
        """An image around one static binary."""
        target = self.layout.run / "pause.tar"
        layer = _tar({"pause": (binaries.path(self.layout.cache, "pause").read_bytes(), 0o755)})
        diff = f"sha256:{sha256(layer).hexdigest()}"
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/pause"]},
            "rootfs": {"type": "layers", "diff_ids": [diff]},
        }
        manifest = [{"Config": "config.json", "RepoTags": [PAUSE], "Layers": ["layer.tar"]}]
        files = {"manifest.json": json.dumps(manifest), "config.json": json.dumps(config)}
        target.write_bytes(_tar({**{n: (c.encode(), 0o644) for n, c in files.items()}, "layer.tar": (layer, 0o644)}))
        return target

    def _objects(self) -> None:
        """What kubeadm would bind, cluster DNS, and volumes."""
        address = self.layout.node_address(0)
        documents = f"""apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: kube-apiserver-kubelet}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:kubelet-api-admin"}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: kube-apiserver-kubelet-client}}]
---
apiVersion: v1
kind: Service
metadata: {{name: kube-dns, namespace: kube-system}}
spec: {{clusterIP: {DNS_ADDRESS}, ports: [{{name: dns, port: 53, protocol: UDP}}, {{name: dns-tcp, port: 53, protocol: TCP}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: kube-dns, namespace: kube-system, labels: {{kubernetes.io/service-name: kube-dns}}}}
addressType: IPv4
ports: [{{name: dns, port: 53, protocol: UDP}}, {{name: dns-tcp, port: 53, protocol: TCP}}]
endpoints: [{{addresses: [{address}], conditions: {{ready: true}}}}]
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {{name: standard, annotations: {{storageclass.kubernetes.io/is-default-class: "true"}}}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
"""
        volumes = "---\n".join(self._volume(number) for number in range(1, VOLUMES + 1))
        self.kubectl(
            "apply", "--server-side", "--force-conflicts", "--filename", "-", stdin=f"{documents}---\n{volumes}"
        )

    def _volume(self, number: int) -> str:
        """A local volume: unlike a host-path one, a pod's fsGroup owns it, so pods need not be root.

        Every node reaches it, as they would a share on a file server: they are one machine.
        """
        path = self.layout.volumes / str(number)
        path.mkdir(parents=True, exist_ok=True)
        nodes = ", ".join(f"node{node}" for node in range(self.nodes))
        terms = f"[{{matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [{nodes}]}}]}}]"
        return f"""apiVersion: v1
kind: PersistentVolume
metadata: {{name: local-{number}}}
spec:
  capacity: {{storage: 10Gi}}
  accessModes: [ReadWriteOnce, ReadWriteMany]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: standard
  local: {{path: {path}}}
  nodeAffinity: {{required: {{nodeSelectorTerms: {terms}}}}}
"""

    def _await_nodes(self, nodes: int) -> None:
        names = [f"node/node{node}" for node in range(nodes)]
        wait_until(
            lambda: len(self.kubectl("get", "nodes", "--output", "name").split()) == nodes, "nodes registered", 60
        )
        self.kubectl("wait", "--for=condition=Ready", *names, "--timeout=60s")
        have = ["get", "serviceaccount", "default", "--ignore-not-found", "--output", "name"]
        wait_until(lambda: bool(self.kubectl(*have).strip()), "the default service account", 30)

    def write_corefile(self) -> None:
        """What CoreDNS serves."""
        (self.layout.root / "Corefile").write_text(
            f""".:53 {{
  errors
  ready {self.layout.node_address(0)}:8181
  kubernetes cluster.local in-addr.arpa ip6.arpa {{
    kubeconfig {self.layout.conf}/admin.conf
  }}
  cache 5
  loadbalance
}}
"""
        )


def node_services(node: int) -> tuple[str, ...]:
    """The names of a node's services."""
    return (f"containerd{node}", f"kubelet{node}", f"kube-proxy{node}")


def port_name(node: int) -> str:
    """The switch's end of a node's cable."""
    return f"port{node}"


def _ip(pid: int, *words: str) -> None:
    run(["nsenter", "--target", str(pid), "--net", "--", "ip", *words])


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    output = BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, (content, mode) in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, BytesIO(content))
    return output.getvalue()
