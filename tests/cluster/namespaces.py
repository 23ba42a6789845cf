"""A node is a network namespace and a mount namespace, held open by one sleeping process.

They end with their last process: a node's mounts, its pods' network namespaces (/run is the node's own) and its
interfaces vanish by themselves, whatever state they are in. Node 0's `eth0` is a bridge; the others plug into it.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.cluster import cgroups, services
from tests.cluster.commands import run
from tests.cluster.errors import ClusterError
from tests.cluster.layout import Layout
from tests.cluster.waiting import wait_until

_MOUNTS = """
set -e
mountpoint -q /run && [ -e /run/.modelward ] && exit 0
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lock
touch /run/.modelward
"""


def holder(node: int) -> services.Service:
    """The process that holds the node's namespaces. Slave: it sees what the machine unmounts, and pins nothing."""
    argv = ("unshare", "--net", "--mount", "--propagation", "slave", "--", "sleep", "infinity")
    return services.Service(services.holder_name(node), argv, group=f"node{node}/system")


def ensure(layout: Layout, node: int) -> None:
    """The node's namespaces, with a /run of its own and loopback up."""
    if services.find(layout, services.holder_name(node)) is None:
        # What a lost holder leaves is in namespaces that nobody can enter any more.
        for group in (f"node{node}", *(["control-plane"] if node == 0 else [])):
            cgroups.kill(f"{layout.name}/{group}")
    process = services.start(layout, holder(node))
    wait_until(lambda: _is_ready(process.pid), f"namespaces of node{node}", 10, every=0.005)
    run([*services.enter(layout, node, mounts=True), "sh", "-c", _MOUNTS])


def _is_ready(pid: int) -> bool:
    try:
        separate = os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
        return separate and Path(f"/proc/{pid}/comm").read_text().strip() == "sleep"
    except OSError as error:
        raise ClusterError("a node's namespaces could not be made: unshare failed, see its log") from error


def connect(layout: Layout, nodes: int) -> None:
    """Addresses and routes between the nodes; every step may be repeated."""
    pids = {node: services.require(layout, services.holder_name(node)).pid for node in range(nodes)}
    for node in pids:
        script = " && ".join((link_command(node, pids[0]), *address_commands(layout, node, nodes)))
        run([*services.enter(layout, node), "sh", "-c", script])
        if node:
            plug(layout, node)


def link_command(node: int, switch_pid: int) -> str:
    """Shell, run in the node, that makes its eth0 unless there is one."""
    kind = "bridge" if node == 0 else f"veth peer name port{node} netns {switch_pid}"
    return f"(ip link show eth0 >/dev/null 2>&1 || ip link add eth0 type {kind})"


def address_commands(layout: Layout, node: int, nodes: int) -> tuple[str, ...]:
    """Shell, run in the node, that sets addresses and routes; each may be repeated."""
    address = layout.node_address(node)
    commands = [
        "ip link set lo up",
        f"ip address replace {address}/24 dev eth0 && ip link set eth0 up",
        # Services are routed before they are translated, so there must be a default route; it leads nowhere.
        "ip route replace default dev eth0",
        "sysctl -qw net.ipv4.ip_forward=1",
        "([ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || sysctl -qw net.bridge.bridge-nf-call-iptables=0)",
    ]
    commands += [
        f"ip route replace {layout.pod_subnet(other)} via {layout.node_address(other)}"
        for other in range(nodes)
        if other != node
    ]
    return tuple(commands)


def plug(layout: Layout, node: int, *, plugged: bool = True) -> None:
    """Plug a node's cable into the switch or pull it. Node 0 is the switch."""
    if node == 0:
        raise ClusterError("node 0 holds the control plane and the switch: only the other nodes can be cut off")
    state = "up" if plugged else "down"
    run([*services.enter(layout, 0), "sh", "-c", f"ip link set port{node} master eth0 {state}"])
