"""From run directories to tables: figures worked out by hand from a few validations."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from srpo.comparison.comparing import print_against, rewrite_results
from srpo.comparison.jobs import rate_jobs, result_jobs
from srpo.comparison.plan import Comparison, load_comparison
from srpo.comparison.record import check_plan, keep_plan
from srpo.comparison.results import Course, RateChoice, best_rate, choose_rate, read_arm, read_run
from srpo.comparison.statistics import Cost
from srpo.comparison.summary import Where, summarize
from srpo.config.files import dump
from srpo.errors import ConfigError, RunDirectoryError
from srpo.rundir import RunDirectory
from tests.comparisons import PLAN, RATES, comparison, write_plan, write_run

# three validations: before training, after 400 and after 1200 tokens; the budget is 1000
TOKENS = [0, 400, 1200]
PLAIN = {"math": [0.2, 0.6, 1.0], "code": [0.4, 0.5, 0.9]}
OURS = {"math": [0.2, 1.0, 1.0], "code": [0.4, 0.9, 0.9]}


def whole(folder: Path) -> Comparison:
    """Two arms with two seeds each; ours is quicker by the same in both."""
    found = comparison(folder)
    keep_plan(found, lambda _: None)
    for arm, levels in zip(found.arms, (PLAIN, OURS), strict=True):
        for job in result_jobs(found, arm, None):
            write_run(job, TOKENS, levels, {"math": 0.75, "code": 0.5})
    return found


def test_accuracy_at_a_budget_is_that_of_the_last_validation_within_it(tmp_path: Path) -> None:
    found = whole(tmp_path)
    run = read_run(result_jobs(found, found.arms[0], None)[0])
    assert run.course.accuracy_at("tokens", 1000) == {"math": 0.6, "code": 0.5}
    assert run.course.accuracy_at("tokens", 1200) == {"math": 1.0, "code": 0.9}
    assert run.course.accuracy_at("rollouts", 20) == {"math": 1.0, "code": 0.9}
    assert run.test == {"math": 0.75, "code": 0.5}  # and no validation


def test_totals_and_shares_are_those_of_the_steps(tmp_path: Path) -> None:
    found = whole(tmp_path)
    run = read_run(result_jobs(found, found.arms[0], None)[0])
    assert (run.rollouts, run.tokens, run.seconds) == (20, 1200, 2)
    assert run.signal_share == 0.5
    assert run.gradient_share is None  # these rows do not count it


def test_a_target_is_for_the_worst_domain_and_within_the_budget() -> None:
    course = Course((0, 10, 20), (0, 400, 1200), (0, 1, 2), {d: tuple(v) for d, v in PLAIN.items()})
    # the lower domain: 0.2, 0.5, 0.9. To 0.7 half of the way from 400 to 1200: 800 tokens
    assert course.cost_of(0.7, "tokens", 1000).spent == pytest.approx(800)
    # to 0.8 three quarters of the way: 1000 tokens, 17.5 rollouts, 1.75 s
    assert course.cost_of(0.8, "tokens", 999) == Cost(999, False)
    assert course.cost_of(0.8, "rollouts", 0).spent == pytest.approx(17.5)
    assert course.cost_of(0.8, "seconds", 0).spent == pytest.approx(1.75)
    # never: what is known to be too little is where it was last looked at
    assert course.cost_of(0.95, "tokens", 5000) == Cost(1200, False)


def test_the_summary_pairs_arms_by_seed(tmp_path: Path) -> None:
    found = whole(tmp_path)
    arms = [read_arm(found, arm, None) for arm in found.arms]
    plain, ours = summarize(arms, "plain", found.plan)
    assert plain.differences == {} and plain.savings == {}
    difference = ours.differences[Where("tokens", 1000), "math"]  # 1.0 - 0.6 in both seeds
    assert difference.mean == pytest.approx(0.4) and difference.half == pytest.approx(0.0)
    # ours: 0.2 to 0.9 over 400 tokens; to 0.7 that is 5/7 of the way. plain: 800
    assert ours.costs[0.7, "tokens"].mean == pytest.approx(400 * 5 / 7)
    assert ours.savings[0.7, "tokens"].value == pytest.approx(800 / (400 * 5 / 7))


def test_a_budget_that_the_plan_does_not_have_gives_no_column(tmp_path: Path) -> None:
    found = comparison(tmp_path, PLAN.replace("rollouts = 100\n", ""))
    for job in result_jobs(found, found.arms[0], None):
        write_run(job, TOKENS, PLAIN)
    arms = [read_arm(found, arm, None) for arm in found.arms]
    summary = summarize(arms, "plain", found.plan)[0]
    assert {where for where, _ in summary.accuracy} == {("tokens", 1000)}  # no test was made either


@pytest.mark.usefixtures("undrawn")
def test_accuracy_is_shown_at_smaller_budgets_too(tmp_path: Path) -> None:
    text = PLAN.replace("[evaluation]", "[evaluation]\nbudgets_tokens = [1000, 399]")
    found = comparison(tmp_path, text)
    keep_plan(found, lambda _: None)
    for job in result_jobs(found, found.arms[0], None):
        write_run(job, TOKENS, PLAIN, {"math": 0.75, "code": 0.5})
    rewrite_results(found.path, found.out, io.StringIO())
    row = next(csv.DictReader((found.out / "results.csv").read_text().splitlines()))
    shown = {name: value for name, value in row.items() if name.startswith("math_")}
    # the first validation after the start is at 400 tokens: at 399 it is still the start's
    assert shown == {
        "math_at_100_rollouts": "",  # these runs drew 30 of them: nobody knows
        "math_at_399_tokens": "0.2",
        "math_at_1000_tokens": "0.6",
        "math_test": "0.75",
    }
    table = (found.out / "results.md").read_text()
    assert "| math, 399 tokens | code, 399 tokens | math, 1.0 k tokens |" in table
    assert "test at 1.0 k tokens" in table


def test_the_rate_with_the_highest_course_wins_and_a_tie_goes_to_the_smaller() -> None:
    def course(*levels: float) -> Course:
        return Course((0, 1, 2), (0, 100, 200), (0, 1, 2), {"math": levels, "code": (1, 1, 1)})

    slow, quick = course(0.0, 0.0, 1.0), course(0.0, 1.0, 1.0)
    choice = best_rate("a", {1e-4: {1: slow}, 2e-4: {1: quick}, 4e-4: {1: quick}})
    assert choice.chosen == 2e-4 and not choice.at_edge
    # slow: a triangle of 100/2 over 200; quick: 100/2 and 100 over 200
    assert choice.scores == {1e-4: {1: 0.25}, 2e-4: {1: 0.75}, 4e-4: {1: 0.75}}


def test_rates_are_compared_up_to_what_all_have_spent() -> None:
    short = Course((0, 1), (0, 100), (0, 1), {"math": (0.0, 1.0)})
    long = Course((0, 1, 2), (0, 100, 200), (0, 1, 2), {"math": (0.0, 0.9, 1.0)})
    choice = best_rate("a", {1e-4: {1: short}, 2e-4: {1: long}})
    assert choice.end_tokens == 100 and choice.chosen == 1e-4 and choice.at_edge


def test_a_rate_is_chosen_without_the_test_and_only_among_whole_ones(tmp_path: Path) -> None:
    text = PLAN.replace("[budget]", RATES.replace("[1]", "[1, 2]") + "[budget]")
    found = comparison(tmp_path, text)
    arm = found.arms[0]
    jobs = rate_jobs(found, arm)
    assert choose_rate(found, arm) is None
    for job in jobs:
        if (job.rate, job.seed) != (2e-4, 2):  # the better rate lacks a run
            better = {"math": [0.0, 0.9 if job.rate == 2e-4 else 0.1]}
            write_run(job, [0, 500], better, {"math": 0.0})
    choice = choose_rate(found, arm)
    assert choice is not None and choice.chosen == 1e-4
    assert choice.scores == {1e-4: {1: pytest.approx(0.05), 2: pytest.approx(0.05)}}


def with_rates(folder: Path, seeds: str = "[1]") -> Comparison:
    """The plan, with two learning rates to try."""
    return comparison(folder, PLAN.replace("[budget]", RATES.replace("[1]", seeds) + "[budget]"))


@pytest.mark.usefixtures("undrawn")
def test_a_rate_that_wins_later_does_not_take_over_runs_of_another(tmp_path: Path) -> None:
    found = with_rates(tmp_path)
    keep_plan(found, lambda _: None)
    arm = found.arms[0]
    small, large = rate_jobs(found, arm)
    write_run(small, [0, 500], {"math": [0.0, 0.1]})  # the run at the larger rate failed
    write_run(result_jobs(found, arm, 1e-4)[0], TOKENS, PLAIN)
    write_run(large, [0, 500], {"math": [0.0, 0.9]})  # tried again, it would win
    choice = choose_rate(found, arm)
    assert choice is not None and (choice.chosen, choice.better) == (1e-4, 2e-4)
    assert read_arm(found, arm, choice.chosen).rate == 1e-4
    stream = io.StringIO()
    rewrite_results(found.path, found.out, stream)
    said = "Learning rates that turned out better after results had begun: plain 0.0002."
    assert said in (found.out / "results.md").read_text()


@pytest.mark.parametrize(
    ("chosen", "better", "at_edge"),
    [
        (2e-4, None, False),
        (4e-4, None, True),
        (1e-4, 2e-4, False),  # the kept rate is at the edge; the best one is not
        (2e-4, 4e-4, True),
    ],
)
def test_the_edge_is_that_of_the_best_rate_and_not_of_the_kept_one(
    chosen: float, better: float | None, at_edge: bool
) -> None:
    scores = {rate: {1: 0.5} for rate in (1e-4, 2e-4, 4e-4)}
    assert RateChoice("plain", chosen, scores, better=better).at_edge is at_edge


def test_a_run_that_has_no_checkpoint_yet_keeps_its_rate_too(tmp_path: Path) -> None:
    found = with_rates(tmp_path)
    job = result_jobs(found, found.arms[0], 1e-4)[0]
    RunDirectory.create(job.folder, dump(job.config), {})  # it will be resumed, as it was begun
    for tried, high in zip(rate_jobs(found, found.arms[0]), (0.1, 0.9), strict=True):
        write_run(tried, [0, 500], {"math": [0.0, high]})
    choice = choose_rate(found, found.arms[0])
    assert choice is not None and (choice.chosen, choice.better) == (1e-4, 2e-4)


def test_the_rate_stays_even_where_the_runs_that_chose_it_are_gone(tmp_path: Path) -> None:
    found = with_rates(tmp_path)
    write_run(result_jobs(found, found.arms[0], 2e-4)[1], TOKENS, PLAIN)
    choice = choose_rate(found, found.arms[0])
    assert choice is not None and choice.chosen == 2e-4 and not choice.at_edge


def test_seeds_at_two_rates_are_refused_by_the_run(tmp_path: Path) -> None:
    found = with_rates(tmp_path)
    keep_plan(found, lambda _: None)
    arm = found.arms[1]
    write_run(result_jobs(found, arm, 1e-4)[0], TOKENS, PLAIN)
    write_run(result_jobs(found, arm, 2e-4)[1], TOKENS, PLAIN)
    for check in (check_plan, lambda one: keep_plan(one, lambda _: None)):
        with pytest.raises(
            RunDirectoryError, match=r"learning_rate = 0\.0002, and the plan asks for 0"
        ):
            check(found)


def test_a_run_whose_config_was_changed_by_hand_is_refused(tmp_path: Path) -> None:
    found = whole(tmp_path)
    path = RunDirectory(result_jobs(found, found.arms[0], None)[0].folder).config
    path.write_text(path.read_text().replace("group_size = 2", "group_size = 4"))
    with pytest.raises(
        RunDirectoryError, match="group_size = 4, and the plan asks for 2"
    ) as caught:
        check_plan(found)
    assert "\n" not in str(caught.value)


def test_rates_cannot_be_chosen_by_the_validation_before_training_alone(tmp_path: Path) -> None:
    found = with_rates(tmp_path)
    small, large = rate_jobs(found, found.arms[0])
    write_run(small, [0, 500], {"math": [0.0, 0.5]})
    write_run(large, [0], {"math": [0.0]})
    with pytest.raises(
        RunDirectoryError, match=r"plain: learning rate 0\.0002, seed 1: there is no"
    ):
        choose_rate(found, found.arms[0])


def test_a_run_without_validations_is_named(tmp_path: Path) -> None:
    found = comparison(tmp_path)
    job = result_jobs(found, found.arms[0], None)[0]
    write_run(job, [0], {"math": [0.5]})
    path = RunDirectory(job.folder).evaluations
    path.write_text(path.read_text().replace('"validation"', '"test"'))
    with pytest.raises(RunDirectoryError, match="no validation was made"):
        read_run(job)


@pytest.mark.parametrize("name", ["metrics.jsonl", "times.jsonl", "evaluations.jsonl"])
def test_a_run_that_lost_lines_has_no_figures(tmp_path: Path, name: str) -> None:
    found = comparison(tmp_path)
    job = result_jobs(found, found.arms[0], None)[0]
    write_run(job, TOKENS, PLAIN)
    path = job.folder / name
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(RunDirectoryError) as caught:
        read_run(job)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith("and the comparison trains it again")


def test_nothing_is_said_of_a_budget_that_a_run_did_not_spend() -> None:
    course = Course((0.0, 16.0), (0.0, 127.0), (0.0, 1.0), {"math": (0.1, 0.2)})
    assert course.accuracy_at("tokens", 127) == {"math": 0.2}
    assert course.accuracy_at("tokens", 126) == {"math": 0.1}
    assert course.accuracy_at("tokens", 128) == {}


def test_the_tables_say_how_much_is_known(tmp_path: Path) -> None:
    found = whole(tmp_path)
    # one more seed of each arm; the plain one never arrives within its 1000 tokens
    more = load_comparison(
        write_plan(tmp_path, PLAN.replace("[11, 12]", "[11, 12, 13, 14]")), found.out
    )
    keep_plan(more, lambda _: None)
    stuck = {"math": [0.2, 0.3, 0.3], "code": [0.4, 0.4, 0.4]}
    for arm, levels in zip(more.arms, (stuck, OURS), strict=True):
        write_run(result_jobs(more, arm, None)[2], TOKENS, levels, {"math": 0.5, "code": 0.5})
    stream = io.StringIO()
    rewrite_results(more.path, more.out, stream)
    text = (more.out / "results.md").read_text()
    assert "3 of 4" in text and "Not all seeds are finished: plain 3 of 4, ours 3 of 4." in text
    # plain: 800, 800 and more than 1000. ours: 5/7 of 400 = 286
    assert "| > 867 (2/3) |" in text and "| 286 ±0 |" in text
    # 2.8, 2.8 and at least 3.5: the third root of 27.44
    assert "| > 3.02 |" in text
    assert "scale model" in text
    rows = list(csv.DictReader(io.StringIO((more.out / "results.csv").read_text())))
    assert [row["tokens_to_0.7"] for row in rows if row["arm"] == "plain"][2] == ""
    assert len(rows) == 6
    data = json.loads((more.out / "results.json").read_text())
    assert [arm["name"] for arm in data["arms"]] == ["plain", "ours"]
    assert data["runs"][0]["course"]["tokens"] == TOKENS
    assert (more.out / "accuracy.png").stat().st_size > 10_000
    assert ElementTree.parse(more.out / "accuracy.svg").getroot().tag.endswith("svg")
    assert "Accuracy in %" in stream.getvalue()


def test_another_arm_may_be_the_baseline_of_tables_that_are_only_printed(tmp_path: Path) -> None:
    found = whole(tmp_path)
    keep_plan(found, lambda _: None)
    stream = io.StringIO()
    print_against(found.path, found.out, "ours", stream)
    # plain spends 800 tokens until .7, ours 5/7 of 400
    [row] = [
        line
        for line in stream.getvalue().splitlines()
        if line.split()[:1] == ["plain"]
        if "800" in line
    ]
    assert "0.36" in row and "Difference from ours in points" in stream.getvalue()
    assert not (found.out / "results.md").exists()
    with pytest.raises(ConfigError, match=r"--against hers: no such arm .* its arms: plain, ours"):
        print_against(found.path, found.out, "hers", stream)
