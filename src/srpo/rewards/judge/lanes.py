"""A short queue between threads, that can be closed from both ends."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Lane(Generic[Item]):
    """First in, first out, with at most `size` items in it. Safe for many threads.

    >>> lane = Lane[int](2)
    >>> lane.put(1), lane.finish(), lane.get(), lane.get()
    (True, None, 1, None)
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[Item] = deque()
        lock = threading.Lock()
        self._has_item = threading.Condition(lock)
        self._has_room = threading.Condition(lock)
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

    def drop(self) -> None:
        """As `finish`, and what is in the lane is thrown away."""
        with self._has_item:
            self._items.clear()
            self._finished = True
            self._has_item.notify_all()
            self._has_room.notify_all()
