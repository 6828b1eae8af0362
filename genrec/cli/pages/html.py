"""HTML that the pages share: no script, nothing loaded from elsewhere, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from genrec.cli.pages.svg import require_plots
from genrec.common.artifacts import require_file
from genrec.common.errors import InputError

__all__ = ["html_table", "plot_row", "require_page", "section", "tiles_of", "whole_page"]

STYLE = """
:root { color-scheme: light dark; --ink: #1c2127; --soft: #5c6773; --line: #d5dae0; --paper: #fff;
  --tint: #f3f5f8; --warn: #b4540a; --good: #1a7f4b; }
@media (prefers-color-scheme: dark) { :root { --ink: #dfe4ea; --soft: #98a3af; --line: #363d46;
  --paper: #14181d; --tint: #1c2229; --warn: #f0a35e; --good: #5fc58f; } }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .4rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .3rem; }
p { margin: .3rem 0 .9rem; } p.lead { color: var(--soft); max-width: 48rem; }
table { border-collapse: collapse; min-width: min(100%, 36rem); margin: .6rem 0 1rem; font-size: .92rem; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; font-variant-numeric: tabular-nums; }
th { color: var(--soft); font-weight: 500; vertical-align: bottom; }
td.text, th.text { text-align: left; } td.number { white-space: nowrap; }
.wide { overflow-x: auto; } summary { color: var(--soft); cursor: pointer; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .8rem;
  margin: 1.2rem 0; }
.tile { background: var(--tint); border-radius: .5rem; padding: .7rem 1rem; line-height: 1.35; }
.tile b { display: block; font-size: 1.35rem; font-weight: 600; } .tile span { color: var(--soft);
  font-size: .85rem; }
.verdict { border-left: 4px solid var(--good); background: var(--tint); padding: .6rem 1rem; }
.verdict.warn { border-color: var(--warn); } .verdict ul { margin: .2rem 0; padding-left: 1.2rem; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; margin: .8rem 0; }
.plot { max-width: 100%; height: auto; color: var(--ink); }
.families { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(18rem, 100%), 1fr));
  gap: .8rem; }
.family { background: var(--tint); border-radius: .5rem; padding: .6rem 1rem; font-size: .9rem; }
.family ul { margin: .3rem 0; padding-left: 1.1rem; } .family span { float: right; }
.family span, .family code { color: var(--soft); }
@media (max-width: 36rem) { body { margin: 1.5rem auto; padding: 0 .8rem; } table { font-size: .8rem; }
  th, td { padding: .3rem .25rem; } .tiles { grid-template-columns: 1fr 1fr; gap: .6rem; }
  details td.number { white-space: normal; } }
"""


def require_page(target: Path) -> None:
    """Refuse a page that could not be written, before anything is measured.

    Raises:
        InputError: the name does not end in .html, or the place cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    if target.suffix.lower() not in (".html", ".htm"):
        raise InputError(
            f"{target}: the report is an HTML page, so name it something.html; for JSON use --json"
        )
    require_file(target)
    require_plots()


def whole_page(title: str, parts: Iterable[str]) -> str:
    """Return the page around its parts, which are HTML; the title is escaped."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def tiles_of(facts: Mapping[str, object]) -> str:
    """Show the values large, each above what it is."""
    shown = "".join(
        f"<div class=tile><b>{escape(str(value))}</b><span>{escape(name)}</span></div>"
        for name, value in facts.items()
    )
    return f"<div class=tiles>{shown}</div>"


def plot_row(drawn: Iterable[str]) -> str:
    """Set drawn plots side by side where there is room."""
    return f"<div class=plots>{''.join(drawn)}</div>"


def section(title: str, lead: str, *parts: str) -> str:
    """Put a heading and what it is about above the parts; all of them are HTML."""
    return f"<h2>{title}</h2><p class=lead>{lead}</p>{''.join(parts)}"


def html_table(
    header: Sequence[str], rows: Iterable[Sequence[object]], texts: Sequence[int] = (0,)
) -> str:
    """Return a table; cells are escaped, columns in `texts` set to the left."""

    def row(tag: str, cells: Sequence[object]) -> str:
        filled = [
            f"<{tag} class={'text' if place in texts else 'number'}><bdi>{escape(str(cell))}</bdi></{tag}>"
            for place, cell in enumerate(cells)
        ]
        return f"<tr>{''.join(filled)}</tr>"

    body = "".join(row("td", cells) for cells in rows)
    return f"<div class=wide><table>{row('th', header)}{body}</table></div>"
