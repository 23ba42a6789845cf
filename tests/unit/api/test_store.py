"""Addresses that a container fetches, and how messages show them."""

from __future__ import annotations

import obstore
import pytest
from obstore.store import from_url

from modelward_api.resources.reasons import STORE_TROUBLES
from modelward_api.store import InvalidAddressError, is_missing, resolve, shown, trouble


@pytest.fixture
def root(tmp_path):
    (tmp_path / "store/data").mkdir(parents=True)
    (tmp_path / "store/data/a.csv").write_text("a\n")
    (tmp_path / "store/data/link.csv").symlink_to("/etc/passwd")
    (tmp_path / "store/out").symlink_to("/etc")
    (tmp_path / "store-2").mkdir()
    return tmp_path / "store"


@pytest.mark.parametrize("uri", ["store://data/a.csv", "file://{root}/data/a.csv", "store://data/./a.csv"])
def test_a_file_of_the_store_is_read(root, uri):
    assert resolve(uri.format(root=root), f"file://{root}") == f"file://{root}/data/a.csv"


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "file://localhost/etc/passwd",
        "file://{root}/../store-2/x",
        "file://{root}-2/x",
        "file://{root}/%2e%2e/store-2/x",
        "file://{root}/%252e%252e/store-2/x",
        "file://{root}/data/link.csv",
        "file://{root}/out/passwd",
        "file:///proc/self/root/etc/passwd",
        "store://data/link.csv",
        "store://out/passwd",
        "store:///etc/passwd",
        "store://data/../../x",
        "store://%2e%2e/x",
        "store://%252e%252e/x",
        "store://a\\..\\x",
        "store://a\x00b",
        "FILE:///etc/passwd",
    ],
)
def test_a_file_that_is_not_the_stores_is_refused(root, uri):
    with pytest.raises(InvalidAddressError):
        resolve(uri.format(root=root), f"file://{root}")


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "file:///var/lib/modelward/store/x"])
@pytest.mark.parametrize("store", [None, "s3://bucket/prefix"])
def test_no_file_is_read_when_the_store_is_not_in_the_file_system(uri, store):
    with pytest.raises(InvalidAddressError):
        resolve(uri, store)


@pytest.mark.parametrize(
    "uri",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://metadata.google.internal/x",
        "https://2852039166/x",
        "http://0xa9fea9fe/x",
        "http://0251.0376.0251.0376/x",
        "http://[::ffff:169.254.169.254]/x",
        "http://[fe80::1]/x",
        "https://kubernetes.default.svc/x",
        "https://user@example.org/x",
        "HTTPS://EXAMPLE.ORG./x",
        "gs://bucket/x",
        "az://container/x",
        "s3a://bucket/x",
        "memory:///x",
        "s3://user:secret@bucket/x",
        "s3://169.254.169.254:80/x",
        "s3://[::1]/x",
        "s3://bucket/x?endpoint=http://169.254.169.254",
        "s3://bucket/x#y",
        "s3://bucket/../other/x",
        "s3://bucket/%2e%2e/other/x",
        "s3:///x",
    ],
)
def test_an_address_cannot_choose_a_host(root, uri):
    with pytest.raises(InvalidAddressError):
        resolve(uri, f"file://{root}")


def test_a_bucket_is_at_the_endpoint_of_the_platform(root):
    assert resolve("s3://bucket/a/b.csv", f"file://{root}") == "s3://bucket/a/b.csv"
    assert resolve("store://a/b.csv", "s3://bucket/prefix/") == "s3://bucket/prefix/a/b.csv"


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("s3://user:secret@bucket/x.csv?token=secret#secret", "s3://bucket/x.csv"),
        ("https://host?secret/secret", "https://host"),
        ("https://a@secret@host/x@y", "https://host/x@y"),
        ("store://a/b.csv", "store://a/b.csv"),
    ],
)
def test_user_info_and_queries_are_not_told(uri, told):
    assert shown(uri) == told


@pytest.mark.parametrize("uri", ["http://secret@host/x?secret", "s3://secret@b/x?secret", "file:///x?secret"])
def test_a_refusal_tells_no_secret(root, uri):
    with pytest.raises(InvalidAddressError) as caught:
        resolve(uri, f"file://{root}")
    assert "secret" not in str(caught.value)


@pytest.fixture
def failure(tmp_path):
    """What reading an object of a store in the file system raises, as the client raises it."""

    def read(folder: str, name: str) -> Exception:
        with pytest.raises((OSError, obstore.exceptions.BaseError)) as caught:
            obstore.get(from_url(f"file://{tmp_path}/{folder}"), name)
        return caught.value

    return read


def test_a_missing_file_is_told_from_a_missing_folder_and_both_from_a_store_that_cannot_be_used(failure, tmp_path):
    (tmp_path / "there").mkdir()
    assert is_missing(failure("there", "nothing"))
    assert is_missing(failure("nowhere", "nothing"))
    assert is_missing(FileNotFoundError())


@pytest.mark.parametrize(
    "error",
    [
        PermissionError("Unable to canonicalize filesystem root: Permission denied"),
        OSError("Unable to canonicalize filesystem root: Permission denied (os error 13)"),
        obstore.exceptions.PermissionDeniedError("<Message>the key was not found</Message>"),
        obstore.exceptions.GenericError("error sending request, kind: Connect"),
    ],
    ids=["a folder of another user", "a folder of another group", "refused credentials", "no connection"],
)
def test_a_store_that_cannot_be_used_misses_nothing(error):
    assert not is_missing(error)
    assert trouble(error, "store://x").reason in STORE_TROUBLES
