"""The page of settings: every ``key=value`` of a fit, from the classes that check them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from genrec.recommender.settings import FitSettings

__all__ = ["settings_page"]

_START = """# Settings

Every setting of `genrec fit` can stand on the command line as `key=value`, or in a YAML file for `--config`,
where dots become nested keys; the command line goes first. An unknown key is refused with the nearest known
one. In the [recipes of training](train/README.md) the same settings stand under `fit`.

```bash
genrec fit --items products.csv --interactions clicks.csv --out runs/shop training.epochs=5 seed=1
genrec fit --items products.csv --interactions clicks.csv --out runs/shop --config shop.yaml
```
"""
Schema = dict[str, Any]


def settings_page() -> str:
    """Markdown: a section for each group of settings, a row for each setting."""
    schema = FitSettings.model_json_schema()
    return "\n\n".join([_START, *_sections(schema, "", schema["$defs"])]) + "\n"


def _sections(group: Schema, prefix: str, known: dict[str, Schema]) -> Iterator[str]:
    """The table of a group's own settings, then its groups, each below its name."""
    inner, rows = [], ["| setting | default | allowed | |", "|---|---|---|---|"]
    for name, field in group["properties"].items():
        alone = _groups([field, *_members(field)], known)
        inner += [(f"{prefix}{name}", part, field) for part in alone]
        inner += [
            (f"each of {prefix}{name}", part, field) for part in _groups(_parts(field), known)
        ]
        if not alone:
            rows.append(_row(f"{prefix}{name}", field, known))
    if len(rows) > 2:
        yield "\n".join(rows)
    for name, part, field in inner:
        kind = part["properties"].get("kind", {}).get("const")
        yield (
            "#" * min(2 + name.count(".") + bool(kind), 4)
            + f" {name}"
            + (f", {kind}" if kind else "")
        )
        yield (kind is None and field.get("description")) or part.get("description", "")
        each = name.startswith("each of ")
        yield from _sections(part, "" if each else f"{name}.", known)


def _members(field: Schema) -> list[Schema]:
    """The members of a union, and of unions in it."""
    members = [*field.get("anyOf", []), *field.get("oneOf", [])]
    return members + [inner for member in members for inner in _members(member)]


def _parts(field: Schema) -> list[Schema]:
    """What a list, or a mapping by names of the user's, is made of."""
    parts = [field.get("items"), field.get("additionalProperties")]
    parts = [part for part in parts if isinstance(part, dict)]
    return parts + [inner for part in parts for inner in _members(part)]


def _groups(fields: list[Schema], known: dict[str, Schema]) -> list[Schema]:
    found = (known[field["$ref"].rsplit("/", 1)[-1]] for field in fields if "$ref" in field)
    return [group for group in found if "properties" in group]


def _row(name: str, field: Schema, known: dict[str, Schema]) -> str:
    cells = (f"`{name}`", _default(field), _allowed(field, known), field.get("description", ""))
    return f"| {' | '.join(' '.join(cell.replace('|', '&#124;').split()) for cell in cells)} |"


def _default(field: Schema) -> str:
    if "default" not in field:
        return ""
    value = field["default"]
    return "none" if value is None else f"`{json.dumps(value)}`".replace('"', "")


def _allowed(field: Schema, known: dict[str, Schema]) -> str:
    """What a value may be, in words."""
    if "$ref" in field:
        return _allowed(known[field["$ref"].rsplit("/", 1)[-1]], known)
    if "oneOf" in field:
        return _KINDS["object"]
    if "anyOf" in field:
        return " or ".join(_allowed(member, known) for member in field["anyOf"])
    if words := field.get("enum", [field["const"]] if "const" in field else []):
        return ", ".join(f"`{word}`" for word in words)
    if field.get("type") == "array":
        return f"a list of {_allowed(field.get('items', {}), known)}"
    kind = field.get("type", "any")
    return " ".join([_KINDS.get(kind, kind), *_bounds(field)])


_KINDS = {
    "null": "none",
    "string": "text",
    "boolean": "true, false",
    "object": "settings, see below",
}


def _bounds(field: Schema) -> list[str]:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {field[name]:g}" for name, sign in signs.items() if name in field]
    return [", ".join(found)] if found else []
