"""The API's documents and the small rules around them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_api.base import seconds
from modelward_api.bundle.documents import Manifest
from modelward_api.resources.conditions import Condition, upsert
from modelward_api.store import InvalidAddressError, resolve
from modelward_api.wire.exchange import PairedCounts


@pytest.mark.parametrize(
    ("text", "expected"), [("250ms", 0.25), ("90s", 90), ("1h30m", 5400), ("7d", 604800), ("0.5h", 1800)]
)
def test_durations_are_read_as_kubernetes_writes_them(text, expected):
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "10", "s", "1w", "1h 30m", "-1s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("store://a/b.csv", "file:///store/a/b.csv"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("file:///store/a.csv", "file:///store/a.csv"),
    ],
)
def test_store_addresses_are_below_the_store(uri, expected):
    assert resolve(uri, "file:///store") == expected


@pytest.mark.parametrize("uri", ["store://../x", "store://a/../../x", "store:///etc/passwd", "store://%2e%2e/x"])
def test_an_address_that_leaves_the_store_is_refused(uri):
    with pytest.raises(InvalidAddressError):
        resolve(uri, "file:///store")


def test_without_a_store_its_addresses_are_refused():
    with pytest.raises(InvalidAddressError, match="no artifact store"):
        resolve("store://x", None)


def test_the_digest_depends_on_the_files_and_not_on_their_order():
    files = {"a": "sha256:" + "1" * 64, "b": "sha256:" + "2" * 64}
    one = Manifest(model="m", version="1.0.0", files=files)
    other = Manifest(model="m", version="1.0.0", files=dict(reversed(files.items())))
    assert one.digest == other.digest
    assert one.digest != Manifest(model="m", version="1.0.1", files=files).digest


def test_a_conditions_time_moves_only_with_its_status():
    def condition(status, time, message=""):
        return Condition(type="Ready", status=status, last_transition_time=time, reason="R", message=message)

    first = upsert((), condition("True", "2026-01-01T00:00:00Z"))
    same = upsert(first, condition("True", "2026-01-02T00:00:00Z", "new"))
    assert (same[0].last_transition_time, same[0].message) == ("2026-01-01T00:00:00Z", "new")
    assert upsert(same, condition("False", "2026-01-03T00:00:00Z"))[0].last_transition_time == "2026-01-03T00:00:00Z"


COUNTS = st.builds(
    PairedCounts, pairs=st.integers(0, 99), errors_challenger=st.integers(0, 99), flips=st.integers(0, 99)
)


@given(COUNTS, COUNTS, COUNTS)
def test_readings_merge_in_any_order_and_any_number(a, b, c):
    assert a.merge(b).merge(c) == c.merge(a).merge(b).merge(a)
