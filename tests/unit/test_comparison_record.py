"""A comparison's folder: begun, gone on with, and refused where plan or srpo have changed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from srpo.comparison import source
from srpo.comparison.comparing import rewrite_results
from srpo.comparison.jobs import result_jobs
from srpo.comparison.plan import Comparison, load_comparison
from srpo.comparison.record import check_plan, keep_plan
from srpo.config.files import load_config
from srpo.digests import fingerprint
from srpo.errors import ConfigError, RunDirectoryError
from tests.comparisons import PLAN, RATES, comparison, write_plan, write_run


def changed(folder: Path, text: str) -> tuple[Comparison, list[str]]:
    """The comparison of `PLAN`, begun, and then kept again with another plan."""
    keep_plan(comparison(folder), lambda _: None)
    told: list[str] = []
    after = comparison(folder, text)
    keep_plan(after, told.append)
    return after, told


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("tokens = 1000", "tokens = 2000", "budget was {'rollouts': 100, 'tokens': 1000} and is"),
        ("[11, 12]", "[11]", "seed 12 is gone"),
        ('name = "ours"', 'name = "new"', "arm ours is gone"),
        ("targets = [0.7]", "targets = [0.8]", "evaluation was"),
        (
            'name = "ours"',
            'name = "ours"\nsettings.reuse.drafts = true',
            "arm 'ours': reuse.drafts",
        ),
        ("seeds = ", 'baseline = "ours"\nseeds = ', "baseline was 'plain' and is 'ours'"),
        ("[budget]", RATES + "[budget]", "learning_rate was not set and is"),
    ],
)
def test_a_changed_plan_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match="the plan has changed since") as caught:
        changed(tmp_path, PLAN.replace(old, new))
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert (tmp_path / "out" / "plan.toml").read_text() == PLAN


def test_a_comparison_that_was_killed_before_it_wrote_its_plan_can_be_begun(tmp_path: Path) -> None:
    found = comparison(tmp_path)
    keep_plan(found, lambda _: None)
    (found.out / "plan.toml").unlink()
    (found.out / "arms" / "plain.toml").write_text("half")
    check_plan(found)
    keep_plan(found, lambda _: None)
    assert load_config(found.out / "arms" / "plain.toml").config == found.arms[0].config
    (found.out / "plan.toml").unlink()
    (found.out / "letters").touch()
    with pytest.raises(RunDirectoryError, match="already exists and is not a comparison"):
        check_plan(found)


def test_a_changed_base_is_refused_by_the_setting(tmp_path: Path) -> None:
    keep_plan(comparison(tmp_path), lambda _: None)
    base = (tmp_path / "base.toml").read_text().replace("group_size = 2", "group_size = 4")
    again = load_comparison(write_plan(tmp_path, PLAN, base), tmp_path / "out")
    with pytest.raises(ConfigError, match=r"group_size was 2 and is 4 \(and 2 more changes\)"):
        keep_plan(again, lambda _: None)


@pytest.mark.usefixtures("undrawn")
def test_another_srpo_is_refused_for_running_and_said_in_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = comparison(tmp_path)
    keep_plan(found, lambda _: None)
    keep_plan(found, lambda _: None)  # the same: nothing to say
    for arm in found.arms:
        write_run(result_jobs(found, arm, None)[0], [0, 400], {"math": [0.2, 0.4]})
    monkeypatch.setattr(source, "fingerprint", lambda: "another")
    with pytest.raises(RunDirectoryError, match="srpo itself has changed since") as caught:
        keep_plan(found, lambda _: None)
    assert "\n" not in str(caught.value)
    stream = io.StringIO()
    rewrite_results(found.path, found.out, stream)
    assert (
        "These runs were trained by a different version of srpo"
        in (found.out / "results.md").read_text()
    )


def test_the_fingerprint_is_of_what_trains_and_of_nothing_else(tmp_path: Path) -> None:
    for folder in ("insight", "planning", "engines"):
        (tmp_path / folder).mkdir()
    for name in ("trainer.py", "engines/local.py", "insight/view.py", "planning/plan.py"):
        (tmp_path / name).write_text("a = 1\n")
    before = fingerprint(tmp_path)
    for name in ("insight/view.py", "planning/plan.py"):
        (tmp_path / name).write_text("a = 2\n")
    (tmp_path / "trainer.pyc").write_bytes(b"compiled")
    assert fingerprint(tmp_path) == before
    (tmp_path / "engines" / "local.py").write_text("a = 2\n")
    changed_file = fingerprint(tmp_path)
    (tmp_path / "engines" / "local.py").rename(tmp_path / "engines" / "other.py")
    assert len({before, changed_file, fingerprint(tmp_path)}) == 3


def test_seeds_and_arms_may_be_added_and_that_is_said(tmp_path: Path) -> None:
    more = PLAN.replace("[11, 12]", "[11, 12, 13]") + '[[arm]]\nname = "third"\n'
    _, told = changed(tmp_path, more)
    assert told == [
        "added since the folder was begun: seed 13",
        "added since the folder was begun: arm third",
    ]
    with pytest.raises(ConfigError, match="seed 13 is gone"):
        keep_plan(comparison(tmp_path, PLAN), lambda _: None)


def test_naming_the_baseline_that_it_was_changes_nothing(tmp_path: Path) -> None:
    _, told = changed(tmp_path, PLAN.replace("seeds = ", 'baseline = "plain"\nseeds = '))
    assert told == []


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    with pytest.raises(RunDirectoryError, match="is not a comparison"):
        keep_plan(comparison(tmp_path), lambda _: None)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]
