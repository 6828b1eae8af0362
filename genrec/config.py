"""Settings: YAML files and ``key=value`` words become validated, frozen objects.

Every configurable part of genrec declares a subclass of `Settings` right above itself. An unknown key
or a value out of range is answered with the key as the user typed it and the nearest known name.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from genrec.errors import ConfigError

__all__ = ["Settings", "load_settings", "parse_overrides"]


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
    kind: type[S], path: str | Path | None = None, overrides: Iterable[str] = ()
) -> S:
    """Read settings of class `kind` from a YAML file, then apply ``key=value`` words over them.

    Args:
        kind: the settings class.
        path: a YAML file; None starts from the defaults.
        overrides: words such as ``training.epochs=3``; dots descend, values are YAML.

    Raises:
        ConfigError: the file is missing or not a mapping, a key is unknown, or a value is not allowed.
    """
    values = _read_yaml(Path(path)) if path is not None else {}
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


def parse_overrides(words: Iterable[str]) -> dict[str, Any]:
    """Split ``key=value`` words; the value is read as YAML (``1e-4`` is a number, ``[8, 8]`` a list)."""
    parsed: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ConfigError(
                f"{word!r} is not a setting: write key=value, such as training.epochs=3"
            )
        try:
            parsed[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"{word!r}: the value after '=' is not valid YAML") from None
    return parsed


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: the settings file cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a valid YAML file ({error})") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path}: expected settings as 'key: value' lines, found {type(content).__name__}"
        )
    return content


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        child = values.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"{dotted!r}: {parent!r} holds a value, not a group of settings")
        values = child
    values[last] = value


def _explain(kind: type[Settings], problem: dict[str, Any]) -> str:
    where = [str(part) for part in problem["loc"]]
    name = ".".join(where)
    if problem["type"] == "extra_forbidden":
        known = _known_names(kind)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        near = near or [full for full in known if full.rsplit(".", 1)[-1] == where[-1]][:1]
        hint = f", did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
        return f"unknown setting {name!r}{hint}"
    return f"{name or 'settings'} = {problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _known_names(kind: type[BaseModel], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, field in kind.model_fields.items():
        names.append(prefix + name)
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                names += _known_names(part, f"{prefix}{name}.")
    return list(dict.fromkeys(names))
