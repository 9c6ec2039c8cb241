"""When a stage ends."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from srpo.schedule import Progress, StageEnd, Switch

NEVER = Switch(steps=None, epochs=None, plateau_steps=None, idle_epochs=3)


def after(rewards: list[float | None]) -> Progress:
    progress = Progress()
    for reward in rewards:
        progress = progress.after_step(reward)
    return progress


def test_the_smoothed_reward_is_nine_tenths_old_and_one_tenth_new() -> None:
    # 1.0; 0.9 * 1.0 + 0.1 * 0.0 = 0.9; 0.9 * 0.9 + 0.1 * 2.0 = 1.01
    assert after([1.0]).smoothed_reward == 1.0
    assert after([1.0, 0.0]).smoothed_reward == pytest.approx(0.9)
    assert after([1.0, 0.0, 2.0]).smoothed_reward == pytest.approx(1.01)


def test_steps_since_the_best_count_from_the_last_rise() -> None:
    assert after([1.0, 0.0, 0.0]).steps_since_best == 2
    assert after([1.0, 0.0, 2.0]).steps_since_best == 0
    assert after([1.0, 1.0]).steps_since_best == 1  # as good is no rise
    assert after([1.0, 0.0]).best_smoothed == 1.0


def test_a_step_in_which_nothing_was_gradable_is_a_step_without_a_rise() -> None:
    progress = after([1.0, None, None])
    assert (progress.steps, progress.steps_since_best, progress.smoothed_reward) == (3, 2, 1.0)
    assert after([None]).smoothed_reward is None


def test_an_epoch_is_idle_if_none_of_its_steps_had_a_signal() -> None:
    one_signal = Progress().after_step(0.5, had_signal=False).after_step(0.5, had_signal=True)
    assert one_signal.after_epoch().idle_epochs == 0
    idle = Progress().after_step(0.5, had_signal=False).after_epoch()
    assert idle.after_step(0.5, had_signal=False).after_epoch().idle_epochs == 2
    # a signal starts the count again, and does not carry over into the epoch after it
    again = idle.after_step(0.5, had_signal=True).after_epoch()
    assert again.idle_epochs == 0
    assert again.after_step(0.5, had_signal=False).after_epoch().idle_epochs == 1
    assert again.epochs == 2


def test_a_stage_ends_after_its_steps() -> None:
    switch = Switch(steps=25, epochs=None, plateau_steps=None, idle_epochs=3)
    assert switch.end(Progress(steps=24)) is None
    assert switch.end(Progress(steps=25)) == StageEnd("steps", "its 25 steps are done")


def test_a_stage_ends_after_its_epochs() -> None:
    switch = Switch(steps=None, epochs=2, plateau_steps=None, idle_epochs=3)
    assert switch.end(Progress(epochs=1, steps=1000)) is None
    assert switch.end(Progress(epochs=2)) == StageEnd("epochs", "its 2 epochs are done")
    once = replace(switch, epochs=1)
    assert once.end(Progress(epochs=1)) == StageEnd("epochs", "its epoch is done")


def test_a_stage_ends_when_the_reward_has_stopped_rising() -> None:
    switch = Switch(steps=100, epochs=None, plateau_steps=3, idle_epochs=3)
    assert switch.end(after([0.1, 0.2, 0.1, 0.1])) is None  # 0.11 was the best; two steps ago
    flat = StageEnd("plateau", "the smoothed reward has not risen for 3 steps")
    assert switch.end(after([0.2, 0.1, 0.1, 0.1])) == flat


def test_a_stage_is_given_up_after_idle_epochs() -> None:
    assert NEVER.end(Progress(idle_epochs=2)) is None
    idle = StageEnd("idle", "nothing could be learned in 3 whole epochs")
    assert NEVER.end(Progress(idle_epochs=3)) == idle


def test_the_first_reason_wins_and_none_means_never() -> None:
    switch = Switch(steps=5, epochs=5, plateau_steps=5, idle_epochs=5)
    everything = Progress(steps=5, epochs=5, steps_since_best=5, idle_epochs=5)
    assert switch.end(everything) == StageEnd("steps", "its 5 steps are done")
    assert NEVER.end(Progress(steps=10**6, epochs=10**6, steps_since_best=10**6)) is None


def test_progress_can_be_saved_as_plain_values() -> None:
    progress = after([0.1, None, 0.3]).after_epoch()
    assert Progress(**asdict(progress)) == progress
