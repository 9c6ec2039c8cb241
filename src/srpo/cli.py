"""The command line: parse, call, print. What a command does is in the module it calls."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srpo import __version__
from srpo.errors import SrpoError
from srpo.run.interrupts import StoppedAtOnce

if TYPE_CHECKING:
    from srpo.config.files import LoadedConfig
    from srpo.problems.exports import Format

EXISTING = click.Path(path_type=Path)


def main() -> None:
    """Run a command; every mistake that a user can mend ends in one clear line and code 2."""
    if sys.stdout is None:  # closed before the program began
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - to the very end
    try:
        words = _one_flag_a_file(sys.argv[1:])
        with _broken_pipes():
            code = commands(words, prog_name="srpo", standalone_mode=False)
    except (Exception, KeyboardInterrupt, StoppedAtOnce) as error:  # noqa: BLE001 - or raised again
        code = _code_of(error)
    sys.exit(code if isinstance(code, int) else 0)


def _code_of(error: BaseException) -> int:
    """Say what went wrong, if a user can mend it, and give the exit code. Raises all others."""
    match error:
        case click.exceptions.Abort() | KeyboardInterrupt():
            return _fail("interrupted", 130)
        case click.ClickException():
            return _refuse(error)
        case SrpoError():
            return _fail(str(error), error.exit_code)
        case StoppedAtOnce():
            return _fail(str(error), error.exit_code)
        case BrokenPipeError():
            _print_no_more()
            return 0
    from srpo.rundir.disk import is_full

    if isinstance(error, Exception) and is_full(error):
        return _fail(f"no disk space: {error}; free some, then go on with srpo train --resume RUN")
    if isinstance(error, OSError) and error.filename is not None:
        return _fail(f"{error.filename}: {error.strerror}")
    raise error


def _fail(text: str, code: int = 2) -> int:
    click.echo(f"srpo: {text}", err=True)
    return code


@contextmanager
def _broken_pipes() -> Iterator[None]:
    """rich leaves the program when nobody reads any more; it is for us to say with which code."""
    try:
        yield
    except SystemExit as left:
        if isinstance(left.__context__, BrokenPipeError):
            raise left.__context__ from None
        raise


def _print_no_more() -> None:
    """What is still to be printed goes nowhere; else Python would fail on it once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse(error: click.ClickException) -> int:
    """Say in one line what is wrong with the command's words, and where help is."""
    text = error.format_message()
    if "\n" in text:  # srpo alone: click's message is the help itself
        error.show()
        return error.exit_code
    context = getattr(error, "ctx", None)
    named = [word for word in sys.argv[1:2] if word in commands.commands]
    command = context.command_path if context else " ".join(["srpo", *named])
    return _fail(f"{text.rstrip('.')}; see {command} --help", error.exit_code)


def _one_flag_a_file(words: Sequence[str]) -> list[str]:
    """`--problems A B` becomes `--problems A --problems B`; a .toml is the config, no problems."""
    spread: list[str] = []
    in_files = without_file = False
    for word in words:
        if in_files and not word.startswith("-") and not word.endswith(".toml"):
            spread += ["--problems", word]
            without_file = False
            continue
        if without_file:
            break
        in_files = without_file = word == "--problems"
        if not in_files:
            spread.append(word)
    return [*spread, "--problems"] if without_file else spread


def _config_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that make up a config, in the order in which --help shows them."""
    for option in reversed(
        [
            click.argument("config", required=False, type=EXISTING),
            click.option("--model", help='A folder, a hub name, or "embedded".'),
            click.option(
                "--problems", multiple=True, type=EXISTING, help="JSONL or Parquet, one or more."
            ),
            click.option(
                "--algorithm", type=click.Choice(["srpo", "grpo", "r1-zero", "dapo", "dr-grpo"])
            ),
            click.option("--ledger", help="Begin with what the ledger of another run knows."),
            click.option("--seed", type=click.IntRange(min=0)),
            click.option(
                "--set",
                "settings",
                multiple=True,
                metavar="NAME=VALUE",
                help="Any setting by its name, e.g. stage.1.steps=40; repeatable.",
            ),
        ]
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="srpo")
def commands() -> None:
    """Train language models to reason: two stages, history resampling (arXiv 2504.14286)."""


@commands.command()
@_config_options
@click.option("--out", type=EXISTING, help="The run directory to make.")
@click.option("--resume", type=EXISTING, help="Go on with this run directory.")
def train(out: Path | None, resume: Path | None, **options: Any) -> int:
    """Train. Without CONFIG: the embedded demo, minutes on a CPU."""
    from srpo.config.files import parse_set
    from srpo.insight.watchers import watcher_for
    from srpo.trainer import train as run_training

    watcher = watcher_for(sys.stdout)
    if resume is not None:
        words = {"config": "CONFIG"}
        others = {**options, "out": out, "settings": ()}
        given = [words.get(name, f"--{name}") for name in others if others[name] not in (None, ())]
        if given:
            names = ", ".join(sorted(given))
            raise click.UsageError(f"--resume takes only --set beside it (given: {names})")
        changes = [parse_set(text) for text in options["settings"]]
        run = run_training(resume=resume, settings=changes, watcher=watcher)
    else:
        loaded, notes = _load(**options)
        for note in notes:
            watcher.note(note)
        name = options["config"].stem if options["config"] else _run_name(**options)
        run = run_training(loaded.config, out, name=name, watcher=watcher)
    try:
        with _broken_pipes():
            _print_run(run)
    except OSError as error:  # whoever looked on has gone, and the run's end stands all the same
        _print_no_more()
        _fail(f"the summary cannot be printed here ({error.strerror}); it is in {run.directory}")
    return run.exit_code


@commands.command()
@_config_options
@click.option(
    "--assume", multiple=True, metavar="SET=COUNT", help="Problems of a set whose file is not here."
)
@click.option(
    "--memory",
    type=float,
    help="GiB of a device: what fits in it, and how many devices. Default: 80.",
)
@click.option("--peak-tflops", type=float, help="Peak speed of a device. Default: 989, an H100's.")
@click.option(
    "--training-share", type=float, help="Share of the peak reached in training. Default: 0.4."
)
@click.option(
    "--sampling-share", type=float, help="Share of the peak reached in sampling. Default: 0.1."
)
@click.option(
    "--length-share", type=float, help="Mean length as a share of the longest allowed. Default: 1."
)
@click.option("--rates", type=EXISTING, metavar="RUN", help="Use the rates that a run measured.")
def plan(memory: float | None, assume: Sequence[str], rates: Path | None, **others: Any) -> None:
    """Show what a config comes to and what it costs, without training.

    Problem files need not be there, nor the hub: what is assumed in their place is said.
    """
    from srpo.insight.plan_view import Question, print_plan
    from srpo.planning.cost import Assumptions
    from srpo.planning.plan import parse_assumed

    names = ("peak_tflops", "training_share", "sampling_share", "length_share")
    given = {name: others.pop(name) for name in names} | {"device_gib": memory}
    assumptions = Assumptions(**{k: value for k, value in given.items() if value is not None})
    question = Question(memory, parse_assumed(assume), assumptions, rates)
    loaded, notes = _load(**others)
    print_plan(loaded, notes, question=question)


@commands.command()
@click.argument("run", type=EXISTING)
@click.option(
    "--problem", metavar="ID", help="One problem's history, by the start of its id or name."
)
@click.option("--decisions", is_flag=True, help="What was kept, dropped and revived, and why.")
@click.option(
    "--epoch",
    type=click.IntRange(min=1),
    help="With --decisions: those of one epoch, problem by problem.",
)
@click.option(
    "--never", is_flag=True, help="Problems that were never solved, and those never gradable."
)
@click.option("--preview", is_flag=True, help="What the next resampling would drop and save.")
@click.option("--export", type=EXISTING, help="Write the kept problems: a new .jsonl or .parquet.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["srpo", "verl", "trl"]),
    help="With --export: for srpo train --problems (default), verl, or TRL.",
)
def ledger(run: Path, epoch: int | None, form: Format | None, **views: Any) -> None:
    """Show what became of a run's problems: an overview, or one view of it."""
    from srpo.insight.ledger_command import show_ledger

    given = [f"--{name}" for name, value in views.items() if value not in (None, False)]
    if len(given) > 1:
        raise click.UsageError(f"one view at a time (given: {', '.join(given)})")
    if epoch is not None and not views["decisions"]:
        raise click.UsageError("--epoch goes with --decisions")
    if form is not None and views["export"] is None:
        raise click.UsageError("--format goes with --export")
    show_ledger(run, epoch, form or "srpo", **views)


@commands.command()
@click.argument("run", type=EXISTING)
def doctor(run: Path) -> int:
    """Check a run directory: is it complete and consistent, and what can be done.

    Nothing is changed. The exit code is 1 if something is wrong.
    """
    from srpo.insight.doctor_view import print_findings
    from srpo.resuming.doctor import examine, exit_code

    findings = examine(run)
    try:
        with _broken_pipes():
            print_findings(run, findings)
    except BrokenPipeError:
        _print_no_more()
    return exit_code(findings)


@commands.command()
@click.argument("plan", type=EXISTING)
@click.option("--out", type=EXISTING, help="Folder of the comparison, instead of the plan's.")
@click.option("--cores", type=click.IntRange(min=1), help="Runs side by side; default: all cores.")
@click.option("--dry-run", is_flag=True, help="Check everything and show the arms; run nothing.")
@click.option("--results", is_flag=True, help="Write tables of the runs that are finished.")
@click.option("--against", metavar="ARM", help="With --results: only print them, paired with ARM.")
def compare(
    plan: Path,
    out: Path | None,
    cores: int | None,
    dry_run: bool,
    results: bool,
    against: str | None,
) -> int:
    """Compare algorithms at equal budgets: every arm of PLAN with every seed (docs/compare.md).

    The same command goes on with a comparison that was stopped.
    """
    from srpo.comparison import comparing

    if dry_run and results:
        raise click.UsageError("give either --dry-run or --results, not both")
    if against is not None and not results:
        raise click.UsageError("--against goes with --results")
    if against is not None:
        comparing.print_against(plan, out, against, sys.stdout)
        return 0
    if dry_run:
        comparing.show_plan(plan, out, sys.stdout)
        return 0
    if results:
        comparing.rewrite_results(plan, out, sys.stdout)
        return 0
    return comparing.compare(plan, out, cores, sys.stdout)


@commands.command()
@click.argument("file", required=False, type=EXISTING)
@click.option("--out", type=EXISTING, default=Path("-"), help="Verdicts; - for standard output.")
@click.option("--workers", type=click.IntRange(min=0), default=0, help="0: one per core.")
@click.option("--timeout", type=float, help="Seconds for a test, or to compare two answers.")
@click.option("--strength", default="auto", help="Isolation of programs: auto, namespaces, ...")
@click.option(
    "--allow-unsafe", is_flag=True, help="Run programs even where no isolation is possible."
)
@click.option("--selftest", is_flag=True, help="Try the known exploits here; takes no FILE.")
def judge(file: Path | None, selftest: bool, **options: Any) -> int:
    """Judge completions: rows of JSON Lines in FILE (- for standard input), verdicts out.

    A row: {"id", "domain": "math" or "code", "completion", "answer" or "tests"}. Its verdict:
    {"id", "verdict", "detail", "seconds", "parts"}. docs/rewards.md has the forms.
    """
    from srpo.insight.judge_command import run_judge, run_selftest

    if selftest and file is None:
        return run_selftest(click.echo, **options)
    if selftest or file is None:
        raise click.UsageError("give FILE (- for standard input), or --selftest without a FILE")
    return run_judge(file, lambda text: click.echo(f"srpo: {text}", err=True), **options)


def _load(
    config: Path | None,
    model: str | None,
    problems: Sequence[Path],
    algorithm: str | None,
    ledger: str | None,
    seed: int | None,
    settings: Sequence[str],
) -> tuple[LoadedConfig, list[str]]:
    """The config that the options describe, and what is to be said about it."""
    from srpo.config.files import OWN_PROBLEMS, Setting, load_config, parse_set
    from srpo.problems.own import use_problem_files

    notes: list[str] = []
    given = (
        ("model.name", "--model", model),
        ("algorithm", "--algorithm", algorithm),
        ("selection.history", "--ledger", ledger),
        ("seed", "--seed", seed),
    )
    flags = [Setting(name, flag, value) for name, flag, value in given if value is not None]

    def change(data: dict[str, Any]) -> None:
        if problems:
            notes.extend(use_problem_files(data, problems))

    path = config if config is not None or not problems else OWN_PROBLEMS
    loaded = load_config(path, [*flags, *(parse_set(text) for text in settings)], change)
    return loaded, notes


def _run_name(problems: Sequence[Path], **_: object) -> str:
    return "own" if problems else "demo"


def _print_run(run: Any) -> None:
    """The end of a run, for a person: accuracy, the curve, where things are, how to load them."""
    from srpo.insight.run_view import print_run

    print_run(run)
