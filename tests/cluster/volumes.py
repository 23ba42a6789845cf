"""Local PersistentVolumes that are used again: the process that empties and renews a released one.

Local volumes, because unlike host-path ones they are owned by a pod's fsGroup, so that pods need not be root. All nodes
share the machine's file system, so a volume is good on every node. Kubernetes cannot recycle local volumes by itself.

Run as `python -m tests.cluster.volumes KUBE KUBECONFIG DIRECTORY`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.cluster.commands import run
from tests.cluster.errors import ClusterError

STORAGE_CLASS = "standard"
COUNT = 32


def storage_class() -> dict[str, object]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def volume(directory: Path, name: str) -> dict[str, object]:
    """One volume. Retain: the controller leaves a released volume alone, and we renew it."""
    everywhere = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": STORAGE_CLASS,
            "local": {"path": str(directory / name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [everywhere]}]}},
        },
    }


def objects(directory: Path) -> list[dict[str, object]]:
    """The class and all volumes; their directories are made."""
    names = [f"local-{number:02}" for number in range(1, COUNT + 1)]
    for name in names:
        (directory / name).mkdir(parents=True, exist_ok=True)
    return [storage_class(), *(volume(directory, name) for name in names)]


def empty(directory: Path) -> None:
    """A fresh directory in place of the old: no content, owner or mode of its last user."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)


def released(lines: Iterable[str]) -> Iterator[str]:
    """The names of our released volumes in kubectl's columns NAME, CLASS, PHASE."""
    for line in lines:
        match line.split():
            case [name, klass, "Released" | "Failed"] if klass == STORAGE_CLASS:
                yield name


def renew(kubectl: list[str], directory: Path, name: str) -> None:
    """Delete the volume, empty its directory, create it anew."""
    run([*kubectl, "delete", "persistentvolume", name, "--ignore-not-found"], timeout=60)
    empty(directory / name)
    run([*kubectl, "apply", "-f", "-"], stdin=json.dumps(volume(directory, name)), timeout=60)
    print(f"renewed {name}")


def watch(kubectl: list[str], directory: Path) -> None:
    """Renew what is released, as it is released, until the connection ends."""
    columns = "-o=custom-columns=N:.metadata.name,C:.spec.storageClassName,P:.status.phase"
    argv = [*kubectl, "get", "persistentvolumes", "--watch", "--no-headers", columns]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for name in released(process.stdout):
            renew(kubectl, directory, name)


def main(kube: str, kubeconfig: str, directory: str) -> None:
    kubectl = [kube, "kubectl", "--kubeconfig", kubeconfig]
    while True:
        try:
            watch(kubectl, Path(directory))
        except ClusterError as error:
            print(error)
        time.sleep(1)  # the API is away: it comes back, or `down` ends us


if __name__ == "__main__":
    main(*sys.argv[1:])
