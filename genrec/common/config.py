"""Settings: YAML files and ``key=value`` words become validated, frozen objects.

Every configurable part of genrec declares a subclass of `Settings` right above itself. An unknown key
or a value out of range is answered with the key as the user typed it and the nearest known name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from genrec.common.errors import ConfigError

__all__ = ["ANY", "Settings", "load_settings", "parse_overrides", "validate", "without_retired"]

ANY = object()
"""Of a retired setting: that every value of it may be left out."""


class Settings(BaseModel):
    """Base of every settings class: frozen, typed, unknown keys refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True
    )

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with the given fields changed."""
        return type(self).model_validate({**self.model_dump(), **changes})


S = TypeVar("S", bound=Settings)


def load_settings(
    kind: type[S],
    path: str | Path | None = None,
    overrides: Iterable[str] = (),
    start: Mapping[str, Any] | None = None,
) -> S:
    """Read settings of class `kind` from a YAML file, then apply ``key=value`` words over them.

    Args:
        kind: the settings class.
        path: a YAML file; None for none.
        overrides: words such as ``training.epochs=3``; dots descend, values are YAML.
        start: plain values that hold where file and words say nothing; None takes the defaults.

    Raises:
        ConfigError: the file is missing or not a mapping, a key is unknown, or a value is not allowed.
    """
    values = _read_yaml(Path(path)) if path is not None else {}
    values = _merged(start or {}, values)
    for key, value in parse_overrides(overrides).items():
        _set(values, key, value)
    return validate(kind, values, source=str(path) if path is not None else "options")


def validate(kind: type[S], values: Mapping[str, Any], source: str) -> S:
    """Build `kind` from plain values, turning pydantic's report into one readable `ConfigError`."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = [_explain(kind, dict(problem)) for problem in error.errors()]
        raise ConfigError(f"{source}: " + "; ".join(lines)) from None


def without_retired(
    values: Mapping[str, Any], retired: Mapping[str, Any], source: str
) -> Mapping[str, Any]:
    """Settings of a saved folder, less those that are no more.

    Args:
        values: as the folder holds them.
        retired: dotted names, each with the value that is now the only one, or `ANY`.
        source: the folder, for the error.

    Raises:
        ConfigError: a retired setting has another value, so that what was saved cannot be had any more.
    """
    kept: Mapping[str, Any] = values
    for name, only in retired.items():
        kept = _pruned(kept, name.split("."), only, f"{source}: {name}")
    return kept


def parse_overrides(words: Iterable[str]) -> dict[str, Any]:
    """Split ``key=value`` words; the value is read as YAML (``1e-4`` is a number, ``[8, 8]`` a list).

    Raises:
        ConfigError: a word is not ``key=value``, its value is not YAML, or a key is given twice.
    """
    parsed: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not all(key.split(".")):
            raise ConfigError(
                f"{word!r} is not a setting: write key=value, such as training.epochs=3"
            )
        if key in parsed:
            raise ConfigError(f"{word!r}: {key!r} is given twice; keep one of the two")
        try:
            parsed[key] = _parse_yaml(value)
        except yaml.YAMLError:
            raise ConfigError(f"{word!r}: the value after '=' is not valid YAML") from None
    return parsed


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = _parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: the settings file cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: not a valid YAML file ({reason})") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path}: expected settings as 'key: value' lines, found {type(content).__name__}"
        )
    return content


_PLAIN_WORDS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?(0|[1-9][0-9]*)",
    "float": r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
    "merge": r"<<",
}


class _Loader(yaml.SafeLoader):
    """Reads plain words as YAML 1.2 does: ``no`` and ``2024-05-01`` are text, ``1e-4`` is a number.

    To PyYAML, which follows YAML 1.1, they are a boolean, a date and text. And a key may stand only once.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 the base class declares it
        None: [
            (f"tag:yaml.org,2002:{tag}", re.compile(f"({pattern})\\Z"))
            for tag, pattern in _PLAIN_WORDS.items()
        ]
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(
                problem=f"{twice[0]!r} stands twice", problem_mark=node.start_mark
            )
        return dict(super().construct_mapping(node, deep))


def _parse_yaml(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 a SafeLoader
    except (ValueError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML's own words for an explicit tag on the wrong value, such as "!!int x".
        raise yaml.YAMLError(f"a value cannot be read ({error})") from None


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two trees of settings as one; where both say something, `above` holds."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        if values.get(parent) is None:
            values[parent] = {}
        child = values[parent]
        if not isinstance(child, dict):
            raise ConfigError(f"{dotted!r}: {parent!r} holds a value, not a group of settings")
        values = child
    values[last] = value


def _explain(kind: type[Settings], problem: dict[str, Any]) -> str:
    keys, group = _written(kind, problem["loc"])
    name = ".".join(keys)
    if problem["type"] == "extra_forbidden":
        return f"unknown setting {name!r}{_hint(kind, keys, group)}"
    if problem["type"] == "union_tag_not_found":
        known = ", ".join(
            repr(_tag(member)) for member in _groups(group.model_fields[keys[-1]].annotation)
        )
        return f"{name} needs {name}.kind, one of {known}"
    return f"{name or 'settings'} = {problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _written(
    kind: type[BaseModel], location: Sequence[int | str]
) -> tuple[list[str], type[BaseModel]]:
    """Return the keys of a problem as the user wrote them, and the class that holds the last one.

    Pydantic puts the names of a union's members between the keys (``item_tokenizer.rqvae.codes``).
    """
    keys: list[str] = []
    groups = [kind]
    for place, part in enumerate(location):
        chosen = [group for group in groups if _tag(group) == part]
        if chosen and place < len(location) - 1:
            groups = chosen
            continue
        keys.append(str(part))
        inner = [group.model_fields[part] for group in groups if part in group.model_fields]
        deeper = [group for field in inner for group in _groups(field.annotation)]
        if deeper and place < len(location) - 1:
            groups = deeper
    return keys, groups[0]


def _tag(group: type[BaseModel]) -> Any:
    """The word by which a union of settings chooses this class."""
    return group.model_fields["kind"].default if "kind" in group.model_fields else None


def _hint(kind: type[BaseModel], keys: Sequence[str], group: type[BaseModel]) -> str:
    """Name the setting that was probably meant: of the same group, then of any."""
    *parents, last = keys
    siblings = {name: ".".join([*parents, name]) for name in group.model_fields}
    everywhere = {full.rsplit(".", 1)[-1]: full for full in reversed(_known_names(kind))}
    for names, cutoff in ((siblings, 0.6), (everywhere, 0.75)):
        if near := difflib.get_close_matches(last, list(names), n=1, cutoff=cutoff):
            return f", did you mean {names[near[0]]!r}?"
    return f"; known: {', '.join(siblings.values())}"


def _known_names(kind: type[BaseModel], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, field in kind.model_fields.items():
        names.append(prefix + name)
        for group in _groups(field.annotation):
            names += _known_names(group, f"{prefix}{name}.")
    return list(dict.fromkeys(names))


def _groups(annotation: Any) -> list[type[BaseModel]]:
    """The settings classes in an annotation, such as those of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [group for part in get_args(annotation) for group in _groups(part)]


def _pruned(values: Any, path: list[str], only: Any, name: str) -> Any:
    """Values without the one at `path`; a copy where it is there."""
    first, *rest = path
    if not isinstance(values, Mapping) or first not in values:
        return values
    if rest:
        return {**values, first: _pruned(values[first], rest, only, name)}
    if only is not ANY and values[first] != only:
        raise ConfigError(
            f"{name} = {values[first]!r} cannot be set any more, and {only!r} is what holds: fit again, or "
            "use the genrec it was made with"
        )
    return {key: value for key, value in values.items() if key != first}
