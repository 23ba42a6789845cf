"""`python -m tests.support.cluster`: a Kubernetes for tests and for the demo, from the command line."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time

from tests.support.cluster import KIND_NAME, ClusterError, binaries, ensure_cluster, faults, images, provider, services
from tests.support.cluster.commands import run
from tests.support.cluster.embedded import Embedded
from tests.support.cluster.layout import REPOSITORY, Layout

IMAGE_VALUES = REPOSITORY / "build" / "images.yaml"


def main() -> int:
    """Parse the command line and do it."""
    options, rest = _parser().parse_known_args()
    if rest and options.command != "kubectl":
        _parser().error(f"unrecognized arguments: {' '.join(rest)}")
    options.words = sys.argv[2:]
    try:
        return COMMANDS[options.command](options) or 0
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1


def up(options: argparse.Namespace) -> None:
    started = time.monotonic()
    cluster = ensure_cluster(options.nodes, images=options.images)
    print(f"cluster: {cluster.provider} is ready after {time.monotonic() - started:.1f} s", file=sys.stderr)
    print(f"export KUBECONFIG={cluster.kubeconfig}")


def down(_: argparse.Namespace) -> None:
    if provider() == "kind":
        run(["kind", "delete", "cluster", "--name", KIND_NAME])
    elif provider() == "embedded":
        Embedded(Layout.from_environment()).down()
    else:
        print("cluster: an existing cluster is left as it is", file=sys.stderr)


def status(_: argparse.Namespace) -> int:
    layout = Layout.from_environment()
    known = services.known(layout)
    for name in known:
        process = services.find(layout, name)
        print(f"{name:26} {f'runs, pid {process.pid}' if process else 'DOES NOT RUN'}   {layout.logs}/{name}.log")
    healthy = bool(known) and Embedded(layout).healthy()
    print(
        "healthy"
        if healthy
        else "down"
        if not known
        else "NOT HEALTHY: `python -m tests.support.cluster up` repairs it"
    )
    return 0 if healthy else 1


def env(_: argparse.Namespace) -> None:
    print(f"export KUBECONFIG={Layout.from_environment().kubeconfig}")


def build(_: argparse.Namespace) -> None:
    for name in binaries.names():
        print(binaries.path(Layout.from_environment().cache, name))


def build_images(_: argparse.Namespace) -> int:
    cache, worst, values = Layout.from_environment().cache, 0, {}
    for name in images.NAMES:
        size = images.size_mb(name, cache)
        over = size > images.LIMITS_MB[name]
        worst |= over
        print(f"{images.reference(name)}  {size} MB of {images.LIMITS_MB[name]}{'  TOO LARGE' if over else ''}")
        print(f"  {images.archive(name, cache)}")
        repository, _, tag = images.reference(name).rpartition(":")
        values[name] = {"repository": repository, "tag": tag}
    IMAGE_VALUES.parent.mkdir(exist_ok=True)
    IMAGE_VALUES.write_text(json.dumps({"images": values}, indent=2) + "\n")
    print(f"helm values that name them: {IMAGE_VALUES.relative_to(REPOSITORY)}")
    return worst


def load(options: argparse.Namespace) -> None:
    embedded = Embedded(Layout.from_environment())
    for archive in options.archives:
        for node in range(embedded.nodes):
            embedded.load(node, archive)


def kubectl(options: argparse.Namespace) -> None:
    layout = Layout.from_environment()
    program = str(binaries.path(layout.cache, "kube"))
    os.execv(program, [program, "kubectl", "--kubeconfig", str(layout.kubeconfig), *options.words])


def logs(options: argparse.Namespace) -> None:
    layout = Layout.from_environment()
    for name in options.names or services.known(layout):
        print(f"==> {name}\n{services.tail(layout, name, options.lines)}")


def fault(options: argparse.Namespace) -> None:
    faults.FAULTS[options.fault](Embedded(Layout.from_environment()), options.service)


def clean(_: argparse.Namespace) -> None:
    layout = Layout.from_environment()
    if services.known(layout):
        raise ClusterError("the cluster runs: `python -m tests.support.cluster down` first")
    shutil.rmtree(layout.cache, ignore_errors=True)


COMMANDS = {
    "up": up, "down": down, "status": status, "env": env, "build": build, "images": build_images, "load": load,
    "kubectl": kubectl, "logs": logs, "fault": fault, "clean": clean,
}  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.support.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("up", help="bring a cluster up, or repair it; prints the KUBECONFIG")
    starting.add_argument("--nodes", type=int, default=1, help="from 1 to 3 (embedded)")
    starting.add_argument("--images", action="store_true", help="build and load the project's images, too")
    commands.add_parser("down", help="stop it and leave nothing behind")
    commands.add_parser("status", help="what runs, and where its log is")
    commands.add_parser("env", help="print the KUBECONFIG")
    commands.add_parser("build", help="build the Go programs")
    commands.add_parser(
        "images", help="build the project's images; print their sizes and archives, and write helm's values for them"
    )
    loading = commands.add_parser("load", help="import image archives into every node")
    loading.add_argument("archives", nargs="+")
    commands.add_parser("kubectl", help="kubectl of this cluster", add_help=False)
    logging = commands.add_parser("logs", help="the ends of the logs")
    logging.add_argument("names", nargs="*")
    logging.add_argument("--lines", type=int, default=20)
    failing = commands.add_parser("fault", help="break something")
    failing.add_argument("fault", choices=sorted(faults.FAULTS))
    failing.add_argument("service", help="such as kube-apiserver, etcd, kubelet0")
    commands.add_parser("clean", help="remove the caches")
    return parser


if __name__ == "__main__":
    sys.exit(main())
