"""The picture of a comparison with some of its arms only.

python -m benchmarks.figure benchmarks/plans/headline-1to2.toml docs/headline-1to2.png ARM ARM ...
"""

from __future__ import annotations

import argparse
from pathlib import Path

from srpo.comparison.comparing import rate_choices
from srpo.comparison.plan import load_comparison
from srpo.comparison.results import read_arm
from srpo.insight.comparison_figure import draw_comparison
from srpo.run.finish import notes_of


def main() -> None:
    """Draw the arms that are named; all, if none is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("arms", nargs="*")
    parser.add_argument("--out", type=Path, default=None, help="folder of the comparison")
    given = parser.parse_args()
    comparison = load_comparison(given.plan, given.out)
    arms = [arm for arm in comparison.arms if not given.arms or arm.name in given.arms]
    unknown = set(given.arms) - {arm.name for arm in arms}
    if unknown:
        parser.error(f"no such arm: {', '.join(sorted(unknown))}")
    rates = {name: choice.chosen for name, choice in rate_choices(comparison).items()}
    draw_comparison(
        [read_arm(comparison, arm, rates.get(arm.name)) for arm in arms],
        comparison.baseline.name,
        comparison.plan.evaluation.targets,
        [given.picture],
        " ".join(notes_of(arms[0].config)),
    )


if __name__ == "__main__":
    main()
