"""What pilots save and lose: `python -m benchmarks.pilots` prints a table, in seconds.

No model: problems have pass rates drawn from a distribution, and rollouts are coins. A group is 8
rollouts, a pilot 4, a step 8 problems. Each entry: rollouts saved, groups lost that 8 rollouts
would have made mixed, and (in brackets) the change of mixed groups a rollout, all in per cent.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from srpo.selection.pilot import Pilots, chance_of_mixed
from srpo.selection.rule import Tally

GROUP, PILOT, STEP, PROBLEMS = 8, 4, 8, 2000
SEEDS = (1, 2, 3)
THRESHOLDS = (0.15, 0.20, 0.25, 0.30, 0.35)
DISTRIBUTIONS: Mapping[str, Callable[[random.Random], float]] = {
    "easy for the most part: Beta(4, .6)": lambda rng: rng.betavariate(4, 0.6),
    "solved or impossible: Beta(.2, .2)": lambda rng: rng.betavariate(0.2, 0.2),
    "hard for the most part: Beta(.5, 4.5)": lambda rng: rng.betavariate(0.5, 4.5),
    "uniform": lambda rng: rng.random(),
    "all .1": lambda rng: 0.1,
    "all .02": lambda rng: 0.02,
}


def simulate(
    draw: Callable[[random.Random], float], threshold: float, visits: int, seed: int
) -> tuple[float, float]:
    """(rollouts saved, mixed groups lost), as shares of those of whole groups."""
    rng = random.Random(seed)
    rates = {str(i): draw(rng) for i in range(PROBLEMS)}
    pilots = Pilots(rates)
    saved = lost = mixed = 0
    for _ in range(visits):
        order = rng.sample(list(rates), PROBLEMS)
        for start in range(0, PROBLEMS, STEP):
            seen = []
            for name in order[start : start + STEP]:
                right = [rng.random() < rates[name] for _ in range(GROUP)]
                pilot = Tally(sum(right[:PILOT]), PILOT)
                chance = chance_of_mixed(pilots.belief(name), pilot, GROUP - PILOT)
                size = GROUP if chance >= threshold else PILOT
                would_be_mixed = 0 < sum(right) < GROUP
                mixed += would_be_mixed
                saved += GROUP - size
                lost += would_be_mixed and size < GROUP
                seen.append((name, pilot, Tally(sum(right[:size]), size)))
            for visit in seen:
                pilots.observe(*visit)
    return saved / (GROUP * PROBLEMS * visits), lost / mixed


def main() -> None:
    """Print the table."""
    columns = [(threshold, 1) for threshold in THRESHOLDS] + [(0.25, 3)]
    heads = [f"{threshold:.2f}" + ", 3 visits" * (visits > 1) for threshold, visits in columns]
    print("| pass rates | " + " | ".join(heads) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, draw in DISTRIBUTIONS.items():
        print(f"| {name} | " + " | ".join(_entry(draw, *column) for column in columns) + " |")


def _entry(draw: Callable[[random.Random], float], threshold: float, visits: int) -> str:
    found = [simulate(draw, threshold, visits, seed) for seed in SEEDS]
    saved = sum(one[0] for one in found) / len(SEEDS)
    lost = sum(one[1] for one in found) / len(SEEDS)
    change = (1 - lost) / (1 - saved) - 1
    return f"{100 * saved:.0f} / {100 * lost:.0f} ({100 * change:+.0f})"


if __name__ == "__main__":
    main()
