"""What the embedded cluster asks of a machine, and how it names things there."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.support.cluster import cgroups, requirements, services
from tests.support.cluster.binaries import content_hash, version_tuple
from tests.support.cluster.errors import ClusterError
from tests.support.cluster.layout import REPOSITORY, Layout

SETUP = REPOSITORY / "tests" / "setup.sh"


def layout(**environ):
    return Layout.from_environment({"HOME": "/home/x", **environ})


def test_defaults_are_one_cluster_in_var_lib():
    made = layout()
    assert str(made.root) == "/var/lib/modelward-cluster"
    assert made.server == "https://127.0.0.1:16443"
    assert str(made.cache) == "/home/x/.cache/modelward"


def test_clusters_with_other_roots_have_other_names():
    assert layout().name != layout(MODELWARD_CLUSTER_ROOT="/srv/other").name


@pytest.mark.parametrize("port", ["0", "70000", "http"])
def test_a_port_that_is_none_is_refused(port):
    with pytest.raises(ClusterError, match="MODELWARD_CLUSTER_PORT"):
        layout(MODELWARD_CLUSTER_PORT=port)


def test_a_root_that_every_node_would_hide_is_refused():
    with pytest.raises(ClusterError, match="below /run"):
        layout(MODELWARD_CLUSTER_ROOT="/run/modelward")


def test_missing_programs_are_told_as_packages_each_once():
    missing = requirements.missing_packages(
        ("any", "cluster"), has=lambda name: name not in ("ctr", "containerd", "nft", "buildah")
    )
    assert missing == ("containerd", "nftables")


def test_all_that_is_wrong_is_said_at_once_with_what_to_do():
    said = requirements.message(["runc"], root=False, purpose="the embedded cluster")
    assert "needs root" in said
    assert "CLUSTER=existing" in said
    assert "apt-get install runc" in said


def test_a_machine_that_has_everything_hears_nothing():
    assert requirements.message([], root=True, purpose="x") is None


@pytest.mark.parametrize(("purpose", "lacks_buildah"), [((), False), (("cluster",), True)])
def test_setup_lists_every_missing_package_at_once_where_it_cannot_install(tmp_path, purpose, lacks_buildah):
    for name in ("sh", "id", "dirname", "sort", "tr", "python3"):
        (tmp_path / name).symlink_to(shutil.which(name))
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path), "CLUSTER": "embedded"}
    done = subprocess.run([SETUP, *purpose], env=environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert {"git", "curl", "openssl"} <= set(done.stderr.split())
    assert ("buildah" in done.stderr.split()) is lacks_buildah


@pytest.fixture
def version_1(tmp_path):
    for name in ("cpu", "memory", "pids"):
        (tmp_path / name / "c" / "node0").mkdir(parents=True)
        for group in ("", "c", "c/node0"):
            (tmp_path / name / group / "cgroup.procs").write_text("")
    return tmp_path


def test_cgroups_version_1_are_several_hierarchies(version_1):
    assert not cgroups.is_unified(version_1)
    assert [path.name for path in cgroups.hierarchies(version_1)] == ["cpu", "memory", "pids"]
    assert cgroups.tracking(version_1).name == "pids"


def test_cgroups_version_2_are_one(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    assert cgroups.hierarchies(tmp_path) == (tmp_path,)
    assert cgroups.tracking(tmp_path) == tmp_path


def test_a_machine_without_cgroups_is_told_so(tmp_path):
    with pytest.raises(ClusterError, match="no cgroups are mounted"):
        cgroups.hierarchies(tmp_path)


def test_processes_are_found_in_all_groups_below(version_1):
    (version_1 / "pids" / "c" / "cgroup.procs").write_text("11\n")
    (version_1 / "pids" / "c" / "node0" / "cgroup.procs").write_text("12\n0\n")
    assert cgroups.processes("c", version_1) == {11, 12}


def test_a_process_is_itself_only_while_it_lives():
    process = subprocess.Popen(["sleep", "60"])
    known = services.identify(process.pid)
    assert known == services.identify(process.pid)
    process.kill()
    process.wait()
    assert services.identify(process.pid) is None


@pytest.mark.parametrize(("older", "newer"), [("1.26.7", "1.26.8"), ("1.9", "1.26"), ("1.26", "1.27rc1")])
def test_go_versions_compare_as_numbers(older, newer):
    assert version_tuple(older) < version_tuple(newer)


def test_a_hash_changes_with_names_and_contents():
    hashes = {
        content_hash([("a", b"1")]),
        content_hash([("b", b"1")]),
        content_hash([("a", b"2")]),
        content_hash([("a", b"1")], "x"),
    }
    assert len(hashes) == 4
