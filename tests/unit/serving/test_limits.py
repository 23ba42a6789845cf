"""Which connection makes room for another, and what a process may have strangers make it hold."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from modelward_serving.transport.budget import MIN_BUDGET, UNLIMITED, Budget, free_memory, within
from modelward_serving.transport.connections import BACK, TLS_MEMORY, Connections, shares


@dataclass(eq=False)
class Idle:
    since: float | None
    evicted: bool = False

    def idle_since(self):
        return self.since

    def evict(self):
        self.evicted = True


def test_the_longest_idle_connection_of_the_peer_with_the_most_makes_room():
    port, old, many = Connections(3), Idle(0.0), [Idle(5.0), Idle(4.0)]
    assert port.admit(old, "ward")
    assert all(port.admit(one, "flood") for one in many)
    assert port.admit(Idle(9.0), "kubelet")
    assert [one.evicted for one in (old, *many)] == [False, False, True]
    assert len(port) == 3


def test_who_waits_for_an_answer_keeps_the_connection():
    port = Connections(2)
    assert port.admit(Idle(None), "a")
    assert port.admit(Idle(None), "a")
    assert not port.admit(Idle(1.0), "b")
    port.leave(Idle(None))
    assert len(port) == 2


@pytest.mark.parametrize("descriptors", [100, 200, 1024, 65_536])
def test_all_ports_together_have_fewer_connections_than_there_are_files(descriptors):
    http, grpc, control = shares(descriptors)
    assert min(http, grpc, control) >= 8
    assert descriptors <= BACK + 24 or http + grpc + control <= descriptors - BACK + 16


@pytest.mark.parametrize("free", [1 << 20, 100 << 20, 400 << 20, 2**40])
def test_tls_connections_take_a_quarter_of_the_free_memory_at_most(free):
    http, grpc, control = shares(65_536, free)
    assert control == shares(65_536)[2]
    assert (
        (http, grpc) == shares(65_536)[:2]
        if free == 2**40
        else (http + grpc) * TLS_MEMORY <= max(free / 4, 16 * TLS_MEMORY)
    )
    assert min(http, grpc) >= 8


def test_a_budget_gives_no_more_than_it_has():
    budget = Budget(10)
    assert budget.take(6)
    assert not budget.take(5)
    budget.give(6)
    assert budget.take(10)


@pytest.mark.parametrize(
    ("limit", "total"), [("max", UNLIMITED), (str(2**40), UNLIMITED), (str(400 << 20), 150 << 20), ("1", MIN_BUDGET)]
)
def test_a_budget_is_below_what_the_container_may_still_use(tmp_path, limit, total):
    (tmp_path / "max").write_text(limit + "\n")
    (tmp_path / "statm").write_text(f"999999 {(100 << 20) // 4096} 1\n")
    assert within(free_memory((tmp_path / "none", tmp_path / "max"), tmp_path / "statm")).total == total
