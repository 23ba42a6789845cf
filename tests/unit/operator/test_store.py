"""The store of what the watches tell: late, lost, repeated and out of order, it comes to what the cluster has."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_api import names
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.watch_cache import Store

PLACE = "clinic"


def pod(name: str, version: int, uid: str | None = None, model: str = "m") -> dict:
    labels = {names.MANAGED_BY: names.MANAGER, names.MODEL: model}
    metadata = {"name": name, "namespace": PLACE, "uid": uid or f"uid-{name}", "labels": labels}
    return {"metadata": {**metadata, "resourceVersion": str(version)}}


def held(store: Store, model: str = "m") -> dict[str, int]:
    found = store.of_model(api.PODS, PLACE, model)
    return {m["metadata"]["name"]: int(m["metadata"]["resourceVersion"]) for m in found}


def listed(store: Store, *pods: dict) -> list:
    """A listing that begins and ends now; returns what it has told that was not known."""
    sweep = store.begin(api.PODS, PLACE)
    return [store.take(sweep, pods), store.end(sweep)]


def test_the_newer_state_is_kept_whatever_comes_last():
    store = Store()
    assert store.put(api.PODS, pod("a", 9))
    assert not store.put(api.PODS, pod("a", 10 - 1))
    assert not store.put(api.PODS, pod("a", 8))
    assert store.put(api.PODS, pod("a", 10))
    assert held(store) == {"a": 10}


def test_what_is_not_ours_or_of_no_model_is_not_kept():
    store = Store()
    foreign = pod("a", 1)
    foreign["metadata"]["labels"] = {names.MODEL: "m"}
    assert not store.put(api.PODS, foreign)
    assert not store.put(api.CONFIG_MAPS, pod("a", 1))
    assert len(store) == 0


def test_an_object_that_goes_over_to_another_model_is_of_that_one_alone():
    store = Store()
    store.put(api.PODS, pod("a", 1))
    store.put(api.PODS, pod("a", 2, model="other"))
    assert (held(store), held(store, "other")) == ({}, {"a": 2})


def test_what_no_watch_has_told_of_is_known_until_one_does():
    store = Store()
    store.put(api.PODS, pod("told", 1), told=True)
    listed(store, pod("told", 1), pod("a", 2), pod("b", 3))
    store.put(api.PODS, pod("c", 4))  # our own write
    before = store.order
    store.put(api.PODS, pod("d", 5))
    assert (store.untold(0), store.untold(before)) == ([], ["pods"])
    store.put(api.PODS, pod("a", 2), told=True)
    store.put(api.PODS, pod("b", 9), told=True)
    store.put(api.PODS, pod("c", 3), told=True)
    assert store.untold(before) == ["pods"], "what was told of c is older"
    store.drop(api.PODS, PLACE, "c", "uid-c")
    assert (store.untold(before), store.untold(store.order)) == ([], ["pods"])


def test_a_listing_that_began_before_a_deletion_was_told_does_not_bring_it_back():
    store = Store()
    store.put(api.PODS, pod("a", 1))
    sweep = store.begin(api.PODS, PLACE)
    store.drop(api.PODS, PLACE, "a", "uid-a")
    store.take(sweep, [pod("a", 1)])
    store.end(sweep)
    assert held(store) == {}


def test_what_came_while_it_was_listed_stays():
    store = Store()
    sweep = store.begin(api.PODS, PLACE)
    store.put(api.PODS, pod("a", 5))
    store.take(sweep, [])
    assert store.end(sweep) == []
    assert held(store) == {"a": 5}


def test_what_a_listing_does_not_name_is_gone_and_its_model_is_told():
    store = Store()
    store.put(api.PODS, pod("a", 1))
    store.put(api.PODS, pod("b", 2, model="other"))
    assert listed(store, pod("a", 1)) == [[], [(PLACE, "other")]]


def test_a_listing_of_one_namespace_says_nothing_of_another():
    store = Store()
    store.put(api.PODS, pod("a", 1))
    sweep = store.begin(api.PODS, "elsewhere")
    store.take(sweep, [])
    assert store.end(sweep) == []
    assert held(store) == {"a": 1}


def test_the_deletion_of_an_earlier_object_of_that_name_leaves_the_later_one():
    store = Store()
    store.put(api.PODS, pod("a", 1, "first"))
    store.put(api.PODS, pod("a", 7, "second"))
    store.drop(api.PODS, PLACE, "a", "first")
    assert held(store) == {"a": 7}


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_lost_late_and_repeated_words_come_to_what_is_there_once_all_is_listed(data):
    """Objects live and die; each word about them is told late, twice, or never, and listings come in between."""
    store, there, words, began = Store(), {}, [], None
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
                _tell(store, kind, manifest)
        elif what == "list" and began is None:
            began = store.begin(api.PODS, PLACE), list(there.values())
        elif what == "listed" and began is not None:
            store.take(*began)
            store.end(began[0])
            began = None
    for kind, manifest in words:
        _tell(store, kind, manifest)
    listed(store, *there.values())
    assert held(store) | held(store, "n") == {n: int(m["metadata"]["resourceVersion"]) for n, m in there.items()}


def _tell(store: Store, kind: str, manifest: dict) -> None:
    metadata = manifest["metadata"]
    if kind == "put":
        store.put(api.PODS, manifest)
    else:
        store.drop(api.PODS, PLACE, metadata["name"], metadata["uid"])
