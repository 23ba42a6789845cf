"""A newcomer's path: the commands of docs/getting-started.md, as they are, in a namespace of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.cluster.layout import REPOSITORY

PAGE = REPOSITORY / "docs" / "getting-started.md"
NAMESPACE = "newcomer"


def commands() -> str:
    """Every bash block of the page; only the namespace is another one, as `clinic` may be the demo's."""
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 5
    text = "".join(blocks).replace("clinic", NAMESPACE)
    assert "8080:8080" in text
    return text.replace("8080:8080", "18980:8080").replace("127.0.0.1:8080", "127.0.0.1:18980")


@pytest.fixture
def newcomer(cluster: Cluster, tmp_path: Path):
    """A shell with kubectl, helm and the cluster's KUBECONFIG."""
    for name, program in {"kubectl": "kube", "helm": "helm"}.items():
        (tmp_path / name).symlink_to(cluster.binary(program))
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(cluster.kubeconfig.read_text())
    yield {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "KUBECONFIG": str(kubeconfig)}
    cluster.kubectl("--namespace", NAMESPACE, "delete", "mv,tj", "--all", "--ignore-not-found", "--timeout=120s")
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=180s")


@pytest.mark.timeout(420)
def test_a_newcomer_gets_from_helm_install_to_a_prediction_by_the_commands_of_the_page(newcomer):
    script = f"set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{commands()}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=REPOSITORY, env=newcomer, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    answer = json.loads(done.stdout[done.stdout.rindex('{"model_name"') :])
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    assert 0 < outputs["score"][0] < 1
