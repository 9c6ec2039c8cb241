"""A short queue between threads, that can be closed from both ends."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")
DROP_WAIT_S = 2.0  # no thread holds the lock for longer than a few lines of code take


class Lane(Generic[Item]):
    """First in, first out, with at most `size` items in it. Safe for many threads.

    >>> lane = Lane[int](2)
    >>> lane.put(1), lane.finish(), lane.get(), lane.get()
    (True, None, 1, None)
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[Item] = deque()
        self._lock = threading.Lock()
        self._has_item = threading.Condition(self._lock)
        self._has_room = threading.Condition(self._lock)
        self._finished = False

    def put(self, item: Item) -> bool:
        """Add an item; waits while the lane is full. False if the lane is over: it was dropped."""
        with self._has_room:
            while len(self._items) >= self._size and not self._finished:
                self._has_room.wait()
            if self._finished:
                return False
            self._items.append(item)
            self._has_item.notify()
            return True

    def get(self) -> Item | None:
        """The oldest item; waits for one. None if there are none and none will come."""
        with self._has_item:
            while not self._items and not self._finished:
                self._has_item.wait()
            if not self._items:
                return None
            item = self._items.popleft()
            self._has_room.notify()
            return item

    def finish(self) -> None:
        """Nothing more will be put; what is in the lane can still be taken."""
        with self._has_item:
            self._finished = True
            self._has_item.notify_all()
            self._has_room.notify_all()

    def drop(self) -> bool:
        """As `finish`, and what is in the lane is thrown away. False if it can not be had.

        Ctrl-C may come just after the main thread has taken the lock and before it has entered
        the block that gives it back; then nobody gives it back, and whoever waits waits for ever.
        """
        if not self._lock.acquire(timeout=DROP_WAIT_S):
            return False
        try:
            self._items.clear()
            self._finished = True
            self._has_item.notify_all()
            self._has_room.notify_all()
        finally:
            self._lock.release()
        return True
