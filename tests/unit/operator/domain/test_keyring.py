"""Keys are turned over without a moment in which a pod does not know the one that signs."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from modelward_operator.domain.operator.keyring import LIFE, SPREAD, Keyring, published, signs, turned
from tests.support.builders import NOW


def maker():
    numbers = itertools.count(1)
    return lambda: {"kid": f"k{next(numbers)}", "kty": "OKP", "crv": "Ed25519", "x": "public", "d": "private"}


def at(seconds):
    return NOW + timedelta(seconds=seconds)


def kids(ring):
    return [k.key["kid"] for k in ring.keys]


def test_the_first_key_signs_at_once():
    ring = turned(Keyring(), NOW, maker())
    assert (kids(ring), signs(ring, NOW)["kid"]) == (["k1"], "k1")


def test_a_ring_stays_as_it_is_while_its_key_lives():
    make = maker()
    ring = turned(Keyring(), NOW, make)
    assert turned(ring, at(LIFE - 1), make) is not None
    assert turned(ring, at(LIFE - 1), make) == ring


def test_a_successor_is_published_before_it_signs_and_its_predecessor_after_it_did():
    make = maker()
    ring = turned(Keyring(), NOW, make)
    both = turned(ring, at(LIFE), make)
    assert (kids(both), signs(both, at(LIFE + SPREAD - 1))["kid"]) == (["k1", "k2"], "k1")
    assert signs(both, at(LIFE + SPREAD))["kid"] == "k2"
    assert kids(turned(both, at(LIFE + 2 * SPREAD - 1), make)) == ["k1", "k2"]
    assert kids(turned(both, at(LIFE + 2 * SPREAD), make)) == ["k2"]


def test_over_a_year_the_key_that_signs_was_published_long_enough_and_stays_so():
    make, ring, known = maker(), Keyring(), {}
    for second in range(0, 366 * 24 * 3600, 60):
        ring = turned(ring, at(second), make)
        for kid in kids(ring):
            known.setdefault(kid, second)
        signing = signs(ring, at(second))["kid"]
        assert second - known[signing] >= SPREAD or signing == "k1"
        assert len(ring.keys) <= 2
    assert len(known) == 13


def test_a_clock_that_went_back_signs_with_the_oldest_key():
    ring = turned(Keyring(), NOW, maker())
    assert signs(ring, at(-3600))["kid"] == "k1"


def test_an_empty_ring_signs_nothing():
    with pytest.raises(LookupError):
        signs(Keyring(), NOW)


def test_what_is_published_holds_no_private_key():
    ring = turned(Keyring(), NOW, maker())
    assert published(ring) == {"keys": [{"kid": "k1", "kty": "OKP", "crv": "Ed25519", "x": "public"}]}
