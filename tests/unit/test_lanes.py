"""A queue between threads that is closed from both ends."""

from __future__ import annotations

import threading
import time

import pytest

from srpo.rewards.judge.lanes import Lane


def test_items_come_in_order_and_then_none() -> None:
    lane = Lane[int](3)
    assert [lane.put(i) for i in range(3)] == [True] * 3
    lane.finish()
    assert [lane.get() for _ in range(5)] == [0, 1, 2, None, None]
    assert not lane.put(9)


def test_a_full_lane_waits_for_room() -> None:
    lane = Lane[int](2)
    taken: list[int] = []

    def put_all() -> None:
        for number in range(100):
            lane.put(number)
        lane.finish()

    putting = threading.Thread(target=put_all, daemon=True)
    putting.start()
    while len(lane._items) < 2 and putting.is_alive():
        time.sleep(0.001)
    putting.join(timeout=0.05)
    assert putting.is_alive() and list(lane._items) == [0, 1]  # the third waits
    while (item := lane.get()) is not None:
        assert len(lane._items) <= 2
        taken.append(item)
    putting.join(timeout=10)
    assert taken == list(range(100)) and not putting.is_alive()


def test_dropping_wakes_who_waits_at_either_end() -> None:
    full, empty = Lane[int](1), Lane[int](1)
    full.put(0)
    found: list[object] = []
    waiting = [
        threading.Thread(target=lambda: found.append(full.put(1)), daemon=True),
        threading.Thread(target=lambda: found.append(empty.get()), daemon=True),
    ]
    for thread in waiting:
        thread.start()
    full.drop()
    empty.drop()
    for thread in waiting:
        thread.join(timeout=10)
    assert sorted(map(str, found)) == ["False", "None"]
    assert full.get() is None


def test_dropping_a_lane_whose_lock_was_never_given_back_ends_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # as Ctrl-C leaves it between the lock's taking and the block that gives it back
    monkeypatch.setattr("srpo.rewards.judge.lanes.DROP_WAIT_S", 0.05)
    lane = Lane[int](2)
    assert lane.drop()
    stuck = Lane[int](2)
    stuck._lock.acquire()
    assert not stuck.drop()
