"""The store of what the watches tell: late, lost, repeated and out of order, it comes to what the cluster has."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_api import names
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.watch_cache import WatchCache

PLACE = "clinic"


def pod(name: str, version: int, uid: str | None = None, model: str = "m") -> dict:
    labels = {names.MANAGED_BY: names.MANAGER, names.MODEL: model}
    metadata = {"name": name, "namespace": PLACE, "uid": uid or f"uid-{name}", "labels": labels}
    return {"metadata": {**metadata, "resourceVersion": str(version)}}


def held(cache: WatchCache, model: str = "m") -> dict[str, int]:
    found = cache.of_model(api.PODS, PLACE, model)
    return {m["metadata"]["name"]: int(m["metadata"]["resourceVersion"]) for m in found}


def listed(cache: WatchCache, *pods: dict) -> list:
    """A listing that begins and ends now; returns what it has told that was not known."""
    sweep = cache.begin(api.PODS, PLACE)
    return [cache.take(sweep, pods), cache.end(sweep)]


def test_the_newer_state_is_kept_whatever_comes_last():
    cache = WatchCache()
    assert cache.put(api.PODS, pod("a", 9))
    assert not cache.put(api.PODS, pod("a", 10 - 1))
    assert not cache.put(api.PODS, pod("a", 8))
    assert cache.put(api.PODS, pod("a", 10))
    assert held(cache) == {"a": 10}


def test_what_is_not_ours_or_of_no_model_is_not_kept():
    cache = WatchCache()
    foreign = pod("a", 1)
    foreign["metadata"]["labels"] = {names.MODEL: "m"}
    assert not cache.put(api.PODS, foreign)
    assert not cache.put(api.CONFIG_MAPS, pod("a", 1))
    assert len(cache) == 0


def test_an_object_that_goes_over_to_another_model_is_of_that_one_alone():
    cache = WatchCache()
    cache.put(api.PODS, pod("a", 1))
    cache.put(api.PODS, pod("a", 2, model="other"))
    assert (held(cache), held(cache, "other")) == ({}, {"a": 2})


def test_what_no_watch_has_told_of_is_known_until_one_does():
    cache = WatchCache()
    cache.put(api.PODS, pod("told", 1), from_watch=True)
    listed(cache, pod("told", 1), pod("a", 2), pod("b", 3))
    cache.put(api.PODS, pod("c", 4))  # our own write
    before = cache.order
    cache.put(api.PODS, pod("d", 5))
    assert (cache.unconfirmed(0), cache.unconfirmed(before)) == ([], ["pods"])
    cache.put(api.PODS, pod("a", 2), from_watch=True)
    cache.put(api.PODS, pod("b", 9), from_watch=True)
    cache.put(api.PODS, pod("c", 3), from_watch=True)
    assert cache.unconfirmed(before) == ["pods"], "what was told of c is older"
    cache.drop(api.PODS, PLACE, "c", "uid-c")
    assert (cache.unconfirmed(before), cache.unconfirmed(cache.order)) == ([], ["pods"])


def test_a_listing_that_began_before_a_deletion_was_told_does_not_bring_it_back():
    cache = WatchCache()
    cache.put(api.PODS, pod("a", 1))
    sweep = cache.begin(api.PODS, PLACE)
    cache.drop(api.PODS, PLACE, "a", "uid-a")
    cache.take(sweep, [pod("a", 1)])
    cache.end(sweep)
    assert held(cache) == {}


def test_what_came_while_it_was_listed_stays():
    cache = WatchCache()
    sweep = cache.begin(api.PODS, PLACE)
    cache.put(api.PODS, pod("a", 5))
    cache.take(sweep, [])
    assert cache.end(sweep) == []
    assert held(cache) == {"a": 5}


def test_what_a_listing_does_not_name_is_gone_and_its_model_is_told():
    cache = WatchCache()
    cache.put(api.PODS, pod("a", 1))
    cache.put(api.PODS, pod("b", 2, model="other"))
    assert listed(cache, pod("a", 1)) == [[], [(PLACE, "other")]]


def test_a_listing_of_one_namespace_says_nothing_of_another():
    cache = WatchCache()
    cache.put(api.PODS, pod("a", 1))
    sweep = cache.begin(api.PODS, "elsewhere")
    cache.take(sweep, [])
    assert cache.end(sweep) == []
    assert held(cache) == {"a": 1}


def test_the_deletion_of_an_earlier_object_of_that_name_leaves_the_later_one():
    cache = WatchCache()
    cache.put(api.PODS, pod("a", 1, "first"))
    cache.put(api.PODS, pod("a", 7, "second"))
    cache.drop(api.PODS, PLACE, "a", "first")
    assert held(cache) == {"a": 7}


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_lost_late_and_repeated_words_come_to_what_is_there_once_all_is_listed(data):
    """Objects live and die; each word about them is told late, twice, or never, and listings come in between."""
    cache, there, words, began = WatchCache(), {}, [], None
    for version in range(1, data.draw(st.integers(5, 40))):
        what = data.draw(st.sampled_from(["write", "delete", "tell", "lose", "list", "listed"]))
        name = data.draw(st.sampled_from("abc"))
        if what == "write":
            uid = there[name]["metadata"]["uid"] if name in there else f"uid-{version}"
            there[name] = pod(name, version, uid, data.draw(st.sampled_from("mn")))
            words.append(("put", there[name]))
        elif what == "delete" and name in there:
            words.append(("drop", there.pop(name)))
        elif what in ("tell", "lose") and words:
            kind, manifest = words.pop(0)
            if what == "tell":
                _tell(cache, kind, manifest)
        elif what == "list" and began is None:
            began = cache.begin(api.PODS, PLACE), list(there.values())
        elif what == "listed" and began is not None:
            cache.take(*began)
            cache.end(began[0])
            began = None
    for kind, manifest in words:
        _tell(cache, kind, manifest)
    listed(cache, *there.values())
    assert held(cache) | held(cache, "n") == {n: int(m["metadata"]["resourceVersion"]) for n, m in there.items()}


def _tell(cache: WatchCache, kind: str, manifest: dict) -> None:
    metadata = manifest["metadata"]
    if kind == "put":
        cache.put(api.PODS, manifest)
    else:
        cache.drop(api.PODS, PLACE, metadata["name"], metadata["uid"])
