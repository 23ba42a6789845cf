"""Every pod that Modelward makes is one that OpenShift's restricted-v2 lets in, as a real API server judges it."""

from __future__ import annotations

import copy
import os
import subprocess
import time

import pytest
import yaml

from tests.support import restricted
from tests.support.cluster import binaries
from tests.support.cluster.layout import REPOSITORY, cache_directory
from tests.unit.operator.manifests.golden import manifests

pytestmark = pytest.mark.slow
NAMESPACE = "clinic"
CREATE = ("create", "--namespace", NAMESPACE, "--dry-run=server", "--filename", "-")
MADE = {
    name: manifest
    for name, manifest in manifests()
    if "template" in manifest.get("spec", {}) and "placed" not in name  # in which a group is set
}


def chart():
    """Deployments and Jobs of the chart with its default values."""
    helm = binaries.path(cache_directory(os.environ), "helm")
    words = [str(helm), "template", "t", str(REPOSITORY / "charts" / "modelward"), "--namespace", NAMESPACE]
    done = subprocess.run([*words, "--kube-version", "1.35.0"], capture_output=True, text=True, check=True)
    return [d for d in yaml.safe_load_all(done.stdout) if d and d["kind"] in ("Deployment", "Job")]


@pytest.fixture(scope="module")
def openshift(control_plane):
    """A namespace with the policy in force."""
    control_plane.kubectl("create", "namespace", NAMESPACE)
    for document in restricted.objects(NAMESPACE):
        control_plane.kubectl("create", "--filename", "-", document=document)
    deadline = time.monotonic() + 30
    while not refusal(control_plane, spoiled(lambda pod: pod.update(hostNetwork=True))):
        assert time.monotonic() < deadline, "the API server does not heed the policy"
        time.sleep(0.2)
    yield control_plane
    control_plane.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def refusal(plane, document):
    """What the API server says against it; nothing if it lets it in."""
    done = plane.kubectl(*CREATE, document=document, check=False)
    return "" if done.returncode == 0 else done.stderr


def spoiled(change):
    """A Job that is one that may be made, but for a change of its pod."""
    job = copy.deepcopy(MADE["training-job"])
    job["metadata"].pop("ownerReferences")
    change(job["spec"]["template"]["spec"])
    return job


WRONG = {
    "host namespaces": lambda pod: pod.update(hostPID=True),
    "a user outside": lambda pod: pod["securityContext"].update(runAsUser=65532),
    "an fsGroup outside": lambda pod: pod["securityContext"].update(fsGroup=65532),
    "as root": lambda pod: pod["securityContext"].pop("runAsNonRoot"),
    "seccomp": lambda pod: pod["securityContext"].pop("seccompProfile"),
    "privileges": lambda pod: pod["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
    "capabilities": lambda pod: pod["containers"][0]["securityContext"].update(capabilities={"add": ["NET_RAW"]}),
    "a volume of the host's": lambda pod: pod["volumes"].append({"name": "h", "hostPath": {"path": "/"}}),
}


@pytest.mark.parametrize("said", WRONG)
def test_the_policy_refuses_what_restricted_v2_refuses(openshift, said):
    assert said in refusal(openshift, spoiled(WRONG[said]))


@pytest.mark.parametrize("name", MADE)
def test_what_the_operator_makes_is_let_in(openshift, name):
    document = copy.deepcopy(MADE[name])
    document["metadata"].pop("ownerReferences", None)
    assert refusal(openshift, document) == ""


def test_what_the_chart_makes_is_let_in(openshift):
    documents = chart()
    assert {document["kind"] for document in documents} == {"Deployment", "Job"}
    for document in documents:
        assert refusal(openshift, document) == ""
