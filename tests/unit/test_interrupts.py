"""Ctrl-C and SIGTERM: the first asks, the second stops."""

from __future__ import annotations

import signal
import threading

import pytest

from srpo.run.interrupts import Interrupts, StoppedAtOnce

ADVICE = "the same command goes on"


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGINT, 128 + 2), (signal.SIGTERM, 128 + 15)]
)
def test_the_first_signal_is_noted_and_said_and_nothing_is_raised(
    number: signal.Signals, exit_code: int
) -> None:
    said: list[str] = []
    with Interrupts(said.append, ADVICE) as interrupts:
        assert (interrupts.caught, interrupts.exit_code) == (None, 0)
        signal.raise_signal(number)
        assert (interrupts.caught, interrupts.exit_code) == (number, exit_code)
    assert said == [
        f"{number.name}: finishing this step, then saving; press again to stop immediately"
    ]


def test_a_second_signal_of_either_kind_stops_at_once() -> None:
    said: list[str] = []
    with Interrupts(said.append, ADVICE) as interrupts:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(StoppedAtOnce, match=f"^stopped at once; {ADVICE}$") as caught:
            signal.raise_signal(signal.SIGTERM)
        assert caught.value.exit_code == 128 + 15
        assert interrupts.caught is signal.SIGINT
    assert len(said) == 1


def test_until_there_is_something_to_save_the_first_signal_stops_at_once() -> None:
    said: list[str] = []
    with Interrupts(said.append, "nothing was written", saves=False) as interrupts:
        with pytest.raises(StoppedAtOnce, match=r"^stopped at once; nothing was written$"):
            signal.raise_signal(signal.SIGINT)
        assert (said, interrupts.exit_code) == ([], 0)
        interrupts.begin(ADVICE)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(StoppedAtOnce, match=ADVICE):
            signal.raise_signal(signal.SIGINT)
    assert len(said) == 1


def test_the_handlers_from_before_come_back_even_after_an_error() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ValueError, match="inside"), Interrupts(lambda _: None, ADVICE):
        assert signal.getsignal(signal.SIGINT) != before[0]
        raise ValueError("inside")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_outside_the_main_thread_nothing_is_held() -> None:
    found: list[object] = []

    def work() -> None:
        with Interrupts(lambda _: None, ADVICE) as interrupts:
            found.extend([signal.getsignal(signal.SIGINT), interrupts.exit_code])

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before, 0]
