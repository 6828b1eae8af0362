"""The page of the command: what ``--help`` says of each, from the command itself."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.cli import get_docs_for_click

from genrec.cli import app

__all__ = ["command_page"]


def command_page() -> str:
    """Markdown: a section for every command, with its options and examples."""
    group = typer.main.get_command(app)
    _for_a_page(group)
    context = group.make_context("genrec", ["--version"], resilient_parsing=True)
    return get_docs_for_click(obj=group, ctx=context, name="genrec", title="The command")


def _for_a_page(command: Any) -> None:
    """Make the examples, marked up for a terminal, a block of commands; do not cut what a command is for."""
    command.short_help = (command.help or "").split("\n\n")[0]
    if command.epilog:
        command.epilog = _block(command.epilog)
    for inner in getattr(command, "commands", {}).values():
        _for_a_page(inner)


def _block(epilog: str) -> str:
    words = re.sub(r"\[bold\]Examples?\[/\]", "", epilog)
    calls = [part.strip() for part in re.split(r"\n\n|\s{2,}then\s{2,}", words)]
    return "\n".join(["**Examples**:\n\n```bash", *filter(None, calls), "```\n"])
