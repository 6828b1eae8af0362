"""What the documents say can be done as they say it."""

import ast
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
import typer

from genrec.cli import app
from genrec.common.config import load_settings, parse_overrides
from genrec.recommender.settings import FitSettings

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *(ROOT / folder / "README.md" for folder in ("tokenizers", "train", "eval", "notebooks")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def blocks(path, language):
    """The fenced blocks of a language ('' for those without one), in order."""
    found, inside, lines = [], None, []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        fence = re.match(r"```(\w*)\s*$", line)
        if not fence:
            lines.append(line)
        elif inside is None:
            inside, lines = fence[1], []
        else:
            found += ["".join(lines)] if inside == language else []
            inside = None
    return found


def every(language):
    return [
        pytest.param(block, id=f"{path.relative_to(ROOT)}-{number}")
        for path in DOCUMENTS
        for number, block in enumerate(blocks(path, language), start=1)
    ]


def commands(block, program):
    """The argument lists of every call of `program` in a shell block."""
    for line in block.replace("\\\n", " ").splitlines():
        parts = re.split(r"&&|\||;", line.removeprefix("$ "))
        for part in parts:
            words = shlex.split(part, comments=True)
            if words[:1] == [program]:
                yield words[1:]


def check_genrec(arguments):
    """Parse a call of the command without running it; click complains about what it does not know."""
    group = typer.main.get_command(app)
    root = group.make_context("genrec", list(arguments))
    if not arguments or "--version" in arguments:
        return
    rest = [*root._protected_args, *root.args]
    name, command, rest = group.resolve_command(root, rest)
    context = command.make_context(name, rest, parent=root)
    while isinstance(command, type(group)):  # commands of commands, such as items add
        name, command, rest = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        context = command.make_context(name, rest, parent=context)
    if name == "fit":
        words = context.params["settings"] or []
        parse_overrides(words)
        load_settings(FitSettings, None, words)


@pytest.mark.parametrize("block", every("bash") + every("console") + every("sh"))
def test_commands_exist_with_their_options(block):
    for arguments in commands(block, "genrec"):
        try:
            check_genrec(arguments)
        except click.exceptions.Exit:
            pass  # --help
        except click.ClickException as error:
            pytest.fail(f"genrec {shlex.join(arguments)}: {error.format_message()}")


@pytest.mark.parametrize("block", every("bash") + every("console") + every("sh"))
def test_recipes_that_are_called_exist(block):
    calls = [*commands(block, "python"), *(c[1:] for c in commands(block, "accelerate"))]
    for word in (word for call in calls for word in call):
        if re.match(r"(tokenizers|train|eval)/", word):
            assert (ROOT / word).is_file(), word


@pytest.mark.parametrize("block", every("python"))
def test_python_blocks_compile_and_import_what_exists(block):
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "genrec":
            module = import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                import_module(alias.name)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", path.read_text("utf-8")):
        assert (path.parent / target).exists(), target


def test_the_example_of_an_item_tokenizer_keeps_the_contract(tmp_path):
    [example] = [
        block
        for block in blocks(ROOT / "CONTRIBUTING.md", "python")
        if "ItemTokenizerContract" in block
    ]
    tokenizer = example[example.index("class LandmarksSettings") : example.index("class Test")]
    assert sum(bool(line.strip()) for line in tokenizer.splitlines()) < 30
    (tmp_path / "test_example.py").write_text(example, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_example.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 15


def test_the_first_two_blocks_install_and_test():
    """`.ci/run` takes them word for word."""
    first, second, *_ = blocks(README, "bash")
    assert "genrec demo" in first
    assert "constraints.txt" in first
    assert second.strip().endswith("pytest")


def tree():
    """The words of the README's tree of folders that name files and folders."""
    [block] = [
        block
        for block in blocks(README, "") + blocks(README, "text")
        if all(name in block for name in ("genrec/", "tokenizers/", "train/", "eval/"))
    ]
    return set(re.findall(r"[\w.-]+/|[\w-]+\.(?:py|toml|md|txt|ipynb)", block))


def folders(parent):
    skipped = {"__pycache__", "build", "dist", "runs", "site"}
    return {
        f"{path.name}/"
        for path in parent.iterdir()
        if path.is_dir() and path.name not in skipped and not re.match(r"\.|.*egg-info$", path.name)
    }


def test_the_tree_lists_every_folder():
    assert folders(ROOT) | folders(ROOT / "genrec") <= tree()


def test_the_tree_names_nothing_that_is_not_there():
    inside = [*ROOT.iterdir(), *(ROOT / "genrec").rglob("*"), *(ROOT / "eval").iterdir()]
    there = {f"{p.name}/" if p.is_dir() else p.name for p in inside}
    assert tree() <= there
