"""Who may import whom. The way of the data knows no machine, and only machines load torch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src"

# A module may import from its own room and from those above it in this list. A package stands
# for all of its modules, unless one of them is named itself.
ROOMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "words",
        ("types", "errors", "digests", "resuming", "run", "planning", "formats"),
    ),
    ("config", ("config",)),
    ("seam", ("engines",)),
    (
        "the way of the data",
        (
            "problems", "selection", "prefixes", "drafts", "prompts", "rollouts", "rewards",
            "sandbox", "subsets", "advantages", "batching", "importance", "account",
            "history", "schedule", "run.figures", "run.watcher", "run.state",
        ),
    ),
    (
        "machines",
        ("engines.local", "engines.scripted", "embedded", "rundir", "resuming.checkpoints"),
    ),
    ("beside the run", ("evaluation", "insight", "run.interrupts")),
    (
        "the run",
        (
            "planning.plan", "planning.draws", "planning.memory", "planning.known_models",
            "planning.cost", "run.problem_sets", "run.probing", "run.session", "run.recording",
            "run.health", "run.stepping", "run.held_out", "run.finish", "resuming.changes",
            "resuming.lost", "resuming.resume", "trainer",
        ),
    ),
    (
        "over the run",
        (
            "", "embedded.pretrain", "embedded.base_report", "insight.plan_view",
            "insight.cost_view", "insight.export_view", "insight.ledger_command",
            "insight.run_view", "insight.doctor_view", "insight.judge_command",
            "resuming.doctor", "comparison", "insight.comparison_view",
            "insight.comparison_plan_view", "insight.comparison_figure",
            "insight.comparison_progress",
        ),
    ),
    ("command line", ("cli", "__main__")),
)  # fmt: skip
RANK = {name: rank for rank, (_, names) in enumerate(ROOMS) for name in names}

# Where torch may be imported at all.
TORCH = ("engines.local", "embedded.pretrain", "embedded.base_report")
# What of the local engine loads no torch, so that a plan can be made by it.
TORCH_FREE = ("engines.local", "engines.local.limits", "engines.local.model_shape")


def modules() -> dict[str, ast.Module]:
    """Every module by its dotted name below srpo; the package itself is ""."""
    found = {}
    for path in sorted((SOURCES / "srpo").rglob("*.py")):
        parts = path.relative_to(SOURCES / "srpo").with_suffix("").parts
        if parts[:3] == ("rewards", "exploits", "programs"):
            continue  # text for the sandbox, imported by nothing
        name = ".".join(part for part in parts if part != "__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = modules()


def room_of(module: str) -> str | None:
    """The entry of `RANK` that a module belongs to: the longest that it begins with."""
    parts = module.split(".")
    names = (".".join(parts[:size]) for size in range(len(parts), 0, -1))
    return next((name for name in names if name in RANK), None)


def package_of(module: str, level: int) -> str:
    """The dotted name that `level` dots at the beginning of an import stand for in a module."""
    parts = ["srpo", *module.split(".")] if module else ["srpo"]
    is_package = module == "" or any(name.startswith(f"{module}.") for name in MODULES)
    return ".".join(parts[: len(parts) - level + is_package])


def imports(module: str, tree: ast.AST, *, in_functions: bool = True) -> Iterator[str]:
    """Dotted names of all that a module imports, functions included, type checking aside."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = [package_of(module, node.level)] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                if (base, alias.name) == ("srpo", "__version__"):
                    continue  # a text, of which anybody may know
                inner = f"{base}.{alias.name}"
                yield inner if inner.removeprefix("srpo.") in MODULES else base
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        elif in_functions or not isinstance(node, ast.FunctionDef):
            yield from imports(module, node, in_functions=in_functions)


def own_imports(module: str) -> Iterator[str]:
    """Names below srpo; "" is the package itself, which reaches the whole run."""
    for name in imports(module, MODULES[module]):
        if name.split(".")[0] == "srpo":
            yield name.removeprefix("srpo").removeprefix(".")


def test_every_module_has_its_room() -> None:
    homeless = [name for name in MODULES if name and room_of(name) is None]
    assert homeless == [], "name them in ROOMS, where they belong"
    missing = [name for name in RANK if name not in MODULES]
    assert missing == [], "they are in ROOMS and not on disk"


@pytest.mark.parametrize("module", [name for name in MODULES if name])
def test_no_module_imports_from_a_room_below_its_own(module: str) -> None:
    room = room_of(module)
    assert room is not None
    upward = [
        imported for imported in own_imports(module) if RANK[room_of(imported) or ""] > RANK[room]
    ]
    assert upward == []


def test_torch_is_imported_by_the_local_engine_alone() -> None:
    found = [
        module
        for module, tree in MODULES.items()
        for name in imports(module, tree)
        if name.split(".")[0] == "torch" and not module.startswith(TORCH)
    ]
    assert found == []


def test_whoever_needs_the_local_engine_loads_it_only_when_it_is_needed() -> None:
    found = [
        (module, name)
        for module, tree in MODULES.items()
        for name in imports(module, tree, in_functions=False)
        if name.startswith("srpo.engines.local")
        and name.removeprefix("srpo.") not in TORCH_FREE
        and not module.startswith(TORCH)
    ]
    assert found == []


def test_what_of_the_local_engine_is_free_of_torch_imports_none_of_the_rest() -> None:
    found = [
        (module, name)
        for module in TORCH_FREE
        for name in imports(module, MODULES[module])
        if not name.startswith(("__future__", "dataclasses"))
    ]
    assert found == []


def test_the_way_of_the_data_knows_no_engine_but_the_seam() -> None:
    data = dict(ROOMS)["the way of the data"]
    for module in MODULES:
        if room_of(module) in data:
            assert [n for n in own_imports(module) if n.startswith("engines.")] == []


def test_the_check_sees_imports_inside_functions_and_of_modules() -> None:
    tree = ast.parse("from srpo import types\ndef f():\n    import torch.nn\n")
    assert list(imports("history", tree)) == ["srpo.types", "torch.nn"]
    assert list(imports("history", tree, in_functions=False)) == ["srpo.types"]


@pytest.mark.parametrize(
    ("module", "line", "found"),
    [
        ("schedule", "from . import trainer", "srpo.trainer"),
        ("schedule", "from .trainer import Run", "srpo.trainer"),
        ("run.session", "from .. import trainer", "srpo.trainer"),
        ("run.session", "from . import finish", "srpo.run.finish"),
        ("run", "from . import finish", "srpo.run.finish"),  # a package: one dot is itself
        ("", "from . import trainer", "srpo.trainer"),
        ("schedule", "from srpo import train", "srpo"),
        ("schedule", "import srpo", "srpo"),
    ],
)
def test_the_check_sees_relative_imports_and_the_package_itself(
    module: str, line: str, found: str
) -> None:
    assert list(imports(module, ast.parse(line))) == [found]


def test_the_package_itself_is_below_whatever_it_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODULES, "history", ast.parse("from srpo import train"))
    assert list(own_imports("history")) == [""]
    with pytest.raises(AssertionError):
        test_no_module_imports_from_a_room_below_its_own("history")
