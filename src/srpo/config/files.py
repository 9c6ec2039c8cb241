"""TOML in, resolved TOML out: files, `--set` overrides, and one clear line for each mistake."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import tomli_w
from pydantic import ValidationError

from srpo.config import Algorithm, Config, with_mixed_stages
from srpo.config.mistakes import Loc, Place, dotted, explain, shown
from srpo.errors import ConfigError

CONFIGS = Path(__file__).parents[1] / "configs"
DEMO = CONFIGS / "demo.toml"
OWN_PROBLEMS = CONFIGS / "own.toml"
CHANGED = "--problems"  # where a value comes from that the problem files brought
PRESETS = CONFIGS / "algorithms"
MOST_BESIDE = 4  # flags that are named with a mistake that no one of them makes alone
PROBLEM_FILES = (".jsonl", ".json", ".parquet")  # taken for a config by mistake


@dataclass(frozen=True, slots=True)
class Setting:
    """A value given on the command line: dotted name, the flag it came from, and the value.

    `text` is what followed the flag, for messages.

    >>> Setting("seed", "--seed", 40).words
    '--seed 40'
    """

    name: str
    flag: str
    value: object
    text: str = field(default="", compare=False)

    @property
    def words(self) -> str:
        """The flag and what followed it."""
        return f"{self.flag} {shown(str(self.text or self.value))}"


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A config, and where the value of every setting came from.

    `sources` maps a setting's dotted name to a file's name, a flag, "preset NAME", "mix_stages"
    (made of what several stages say), or "default".
    """

    config: Config
    sources: Mapping[str, str]


def load_config(
    path: Path | None = None,
    settings: Sequence[Setting] = (),
    change: Callable[[dict[str, Any]], None] = lambda _: None,
) -> LoadedConfig:
    """Read `path` (the demo's if None), `change` it, apply `settings`, check, and resolve.

    Stages are numbered from 1: `stage.1.steps`. Raises `ConfigError` with one line a mistake.
    """
    path = path or DEMO
    settings = [each for setting in settings for each in spread(setting)]
    data = _read_toml(path)
    in_file = dict(_leaves(data))
    change(data)
    changed = {name for name, value in _leaves(data) if in_file.get(name, ...) != value}
    for setting in settings:
        _assign(data, setting)
        _withdraw_from_stages(data, setting.name)
    preset = preset_of(data.get("algorithm"))
    in_preset = {name for name, _ in _leaves(preset)}
    preset_name = f"preset {data.get('algorithm')}"

    def source(name: str) -> Setting | str:
        found = _source(name, in_file.keys(), path.name, settings)
        if name in changed and not isinstance(found, Setting):
            return CHANGED
        return _source(name, in_preset, preset_name, ()) if found == "default" else found

    config = resolve(data, origin=str(path), source=source, settings=settings)
    names = {name: name for name in settings_of(config)}
    if config.mix_stages:
        names = {name: _before_mixing(name, len(data["stage"])) for name in names}
    sources = {name: source(before) if before else "mix_stages" for name, before in names.items()}
    told = {n: s.flag if isinstance(s, Setting) else s for n, s in sources.items()}
    return LoadedConfig(config, told)


def _before_mixing(name: str, num_stages: int) -> str:
    """What a setting of the one stage was called before; empty if mixing gave it its value."""
    parts = name.split(".")
    if parts[0] != "stage":
        return name
    made = ("name", "plateau_steps", *(("steps", "epochs") if num_stages > 1 else ()))
    return "" if parts[2] in made else ".".join(["stage", str(num_stages), *parts[2:]])


def _source(name: str, in_file: Set[str], file: str, settings: Sequence[Setting]) -> Setting | str:
    """Where a setting's value came from: a setting of the command line, the file, or "default".

    `[every_stage]` speaks for every stage.
    """
    parts = name.split(".")
    shared = ".".join(["every_stage", *parts[2:]]) if parts[0] == "stage" else name
    for setting in reversed(settings):
        if any(f"{key}.".startswith(f"{setting.name}.") for key in (name, shared)):
            return setting
    if name in in_file or shared in in_file:
        return file
    inside = (f"{name}.", f"{shared}.")
    within = [setting for setting in settings if name and setting.name.startswith(inside)]
    if within and not any(key.startswith(inside) for key in in_file):
        return within[-1]  # a section that only the command line speaks of
    return "default"


def resolve(
    data: Mapping[str, Any],
    origin: str,
    source: Callable[[str], Setting | str] = lambda _: "default",
    settings: Sequence[Setting] = (),
) -> Config:
    """Merge preset and `[every_stage]` into the data, validate, and mix the stages if told to.

    A setting of the preset holds where the data says nothing. A mistake is said to be in
    `origin`, or in the `Setting` that `source` names for it, or in the one with some of the
    `settings` that were put over it.
    """
    whole = _deep_merge(preset_of(data.get("algorithm")), data)
    merged = _merge_every_stage(whole, origin, source)
    try:
        config = Config.model_validate(merged)
        return with_mixed_stages(config) if config.mix_stages else config
    except ValidationError as error:
        place = _places(whole, origin, source, settings)
        raise ConfigError(explain(error, Config, place, also=["every_stage"])) from None
    except ValueError as error:
        raise ConfigError(f"{origin}: {error}") from None


def preset_of(algorithm: object) -> dict[str, Any]:
    """The settings of an algorithm's preset; none for a name that is no algorithm.

    The config refuses such a name itself, so that all its mistakes are told together.
    """
    known = algorithm in get_args(Algorithm)
    return _read_toml(PRESETS / f"{algorithm}.toml") if known else {}


def apply_preset(config: Config) -> Config:
    """A `Config` made in Python, with its algorithm's preset below it, as a file would have it.

    Only settings that were not given take the preset's value; stages are mixed if it says so.
    Applied twice it changes nothing. Raises `ConfigError` if the two do not fit.
    """
    given = config.model_dump(mode="json", exclude_unset=True)
    return resolve({**given, "algorithm": config.algorithm}, origin="the Config")


def check_preset_applied(config: Config) -> None:
    """Raise `ConfigError` if its algorithm is only a name: if `apply_preset` would change it."""
    applied = apply_preset(config)
    if applied == config:
        return
    mine, meant = settings_of(config), settings_of(applied)
    names = [name for name in meant if name in mine and mine[name] != meant[name]]
    if len(applied.stage) < len(config.stage):  # mixed: stages are one by one other ones
        names = [*(n for n in names if not n.startswith("stage.")), "stage"]
    raise ConfigError(
        f"the Config names algorithm {config.algorithm!r} without its settings ({', '.join(names)} "
        "would differ); train srpo.config.files.apply_preset(config)"
    )


def parse_set(text: str) -> Setting:
    """`stage.1.steps=40` -> the setting with the value 40. Values are TOML; else a string.

    Raises `ConfigError` if there is no `=`, or no name before it.
    """
    name, separator, raw = text.partition("=")
    if not separator or not all(part.strip() for part in name.split(".")):
        raise ConfigError(f"--set {text}: write it as NAME=VALUE, for example stage.1.steps=40")
    if "\n" in text:
        raise ConfigError(f"--set {shown(text)}: more than one line")
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        value = raw.strip()
    return Setting(name.strip(), "--set", value, text)


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted names and values of settings, whether written as "a.b" or as nested tables.

    A stage's `sets` is one value. A table with nothing in it sets nothing.

    >>> list(flat({"a.b": 1, "c": {"d": 2, "e": {}}, "stage.1.sets": {"math": 1}}))
    [('a.b', 1), ('c.d', 2), ('stage.1.sets', {'math': 1})]
    """
    for key, value in settings.items():
        name = f"{prefix}{key}"
        mix = name.startswith(("stage.", "every_stage.")) and name.endswith(".sets")
        if isinstance(value, Mapping) and not mix:
            yield from flat(value, f"{name}.")
        else:
            yield name, value


def spread(setting: Setting) -> list[Setting]:
    """A setting whose value is a table, as one of each value in it: the others stay."""
    return [replace(setting, name=n, value=v) for n, v in flat({setting.name: setting.value})]


def for_each_stage(setting: Setting, stages: int) -> list[Setting]:
    """A setting of `every_stage` as one of each stage, as a resolved config has them."""
    first, _, rest = setting.name.partition(".")
    if first != "every_stage" or not rest:
        return [setting]
    return [replace(setting, name=f"stage.{n}.{rest}") for n in range(1, stages + 1)]


def dump(config: Config) -> str:
    """The resolved config as TOML; reading it back gives an equal config."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def settings_of(config: Config) -> dict[str, object]:
    """Every setting by dotted name, stages numbered from 1, in the order of the classes."""
    return dict(_leaves(config.model_dump(mode="json")))


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path}: no such config file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        hint = "; problems are given after --problems" if path.suffix in PROBLEM_FILES else ""
        raise ConfigError(f"{path}: not valid TOML: {error}{hint}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _leaves(data: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted name and value of everything that is not a table."""
    if isinstance(data, Mapping) and (data or not prefix):
        items = [(str(key), value) for key, value in data.items()]
    elif isinstance(data, list | tuple) and data and isinstance(data[0], Mapping):
        items = [(str(number), value) for number, value in enumerate(data, start=1)]
    else:
        yield prefix, data
        return
    for key, value in items:
        yield from _leaves(value, f"{prefix}.{key}" if prefix else key)


def _assign(data: dict[str, Any], setting: Setting) -> None:
    """Set a dotted name in nested tables; numbers index stages from 1."""
    *parents, last = setting.name.split(".")
    place: Any = data
    for part in parents:
        if isinstance(place, list):
            place = place[_index(place, part, setting)]
        else:
            place = place.setdefault(part, {})
        if not isinstance(place, dict | list):
            raise ConfigError(f"{setting.words}: {part} is {place!r}, not a section")
    if isinstance(place, list):
        place[_index(place, last, setting)] = setting.value
    else:
        place[last] = setting.value


def _index(place: list[Any], part: str, setting: Setting) -> int:
    if part in map(str, range(1, len(place) + 1)):
        return int(part) - 1
    raise ConfigError(f"{setting.words}: {part} is not a stage; stages are 1 to {len(place)}")


def _merge_every_stage(
    data: Mapping[str, Any], origin: str, source: Callable[[str], Setting | str]
) -> dict[str, Any]:
    """Fill each stage with the values of `[every_stage]` that it does not give itself."""
    merged = {key: value for key, value in data.items() if key != "every_stage"}
    shared = data.get("every_stage", {})
    stages = data.get("stage", [])
    if not isinstance(shared, dict) or not isinstance(stages, list):
        blamed = source("stage" if isinstance(shared, dict) else "every_stage")
        place = blamed.words if isinstance(blamed, Setting) else origin
        raise ConfigError(f"{place}: write [every_stage] and [[stage]] as tables")
    if all(isinstance(stage, dict) for stage in stages):
        merged["stage"] = [_deep_merge(shared, stage) for stage in stages]
    return merged


def _withdraw_from_stages(data: Mapping[str, Any], name: str) -> None:
    """What is set for every stage on the command line holds over what a stage of the file says."""
    first, *rest = name.split(".")
    stages = data.get("stage", [])
    if first != "every_stage" or not rest or not isinstance(stages, list):
        return
    *tables, last = rest[:1] if rest[0] == "sets" else rest  # a mix is one value
    for stage in stages:
        table = stage
        for part in tables:
            table = table.get(part) if isinstance(table, dict) else None
        if isinstance(table, dict):
            table.pop(last, None)


def _deep_merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        both_tables = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        # `sets` is one value, not a section: a stage's own mix replaces the shared one
        merged[key] = _deep_merge(merged[key], value) if both_tables and key != "sets" else value
    return merged


def _places(
    data: Mapping[str, Any],
    origin: str,
    source: Callable[[str], Setting | str],
    settings: Sequence[Setting],
) -> Callable[[Loc], Place]:
    """Where a wrong value came from, and its name there: `every_stage.steps`, not a stage's."""
    shared = [name for name, _ in _leaves(data.get("every_stage", {}))]
    own = [name for name, _ in _leaves({"stage": data.get("stage", [])})]

    def place(loc: Loc) -> Place:
        name = dotted(loc)
        in_stage = dotted(loc[2:]) if loc[:1] == ("stage",) else ""
        if in_stage and _reaches(in_stage, shared) and not _reaches(name, own):
            name = f"every_stage.{in_stage}"
        blamed = source(name)
        if isinstance(blamed, Setting):
            return Place(blamed.words, name, named=blamed.name == name)
        beside = [s.words for s in settings if not name or s.name.startswith(f"{name}.")]
        more = [f"{len(beside) - MOST_BESIDE} more"] if len(beside) > MOST_BESIDE else []
        flags = ", ".join([*beside[:MOST_BESIDE], *more])
        return Place(f"{origin} with {flags}" if flags else origin, name)

    return place


def _reaches(name: str, leaves: Sequence[str]) -> bool:
    """Whether a name is that of a value that is there, or of a table around one."""
    return any(f"{leaf}.".startswith(f"{name}.") for leaf in leaves)
