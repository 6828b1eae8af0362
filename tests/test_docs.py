"""The documentation's site: it builds without a warning, and says all that there is to say."""

import ast
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytest.importorskip("mkdocs", reason="needs pip install -e '.[docs]'")
pytest.importorskip("material", reason="needs pip install -e '.[docs]'")
pytest.importorskip("mkdocstrings", reason="needs pip install -e '.[docs]'")
pytest.importorskip("nbconvert", reason="needs pip install -e '.[docs]'")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Page(HTMLParser):
    """What a page shows, where it leads and what it loads."""

    def __init__(self, path):
        super().__init__()
        self.text, self.ids, self.links, self.loads = "", set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_data(self, data):
        self.text += data

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids.add(given.get("id"))
        if tag == "a":
            self.links.append(given.get("href") or "")
        elif tag == "link" and given.get("rel") != "canonical":
            self.loads.append(given.get("href") or "")
        self.loads.append(given.get("src") or "")


def page(site, name):
    return Page(site / name / "index.html")


def test_nothing_is_loaded_from_elsewhere(site):
    for path in site.rglob("*.html"):
        outside = [url for url in Page(path).loads if re.match(r"(https?:)?//", url)]
        assert outside == [], path
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//|@import\s", path.read_text("utf-8")), path


def test_every_link_leads_somewhere(site):
    pages = {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    for path, shown in pages.items():
        for link in shown.links:
            place, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", link) or not link:
                continue
            target = (path.parent / place).resolve() if place else path
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{path}: {link}"
            if anchor and target in pages:
                assert anchor in pages[target].ids, f"{path}: {link}"


def test_the_page_of_the_command_has_every_command_and_option(site):
    import typer

    from genrec.cli import app

    text = page(site, "command").text

    def commands(group, name):
        for inner in group.commands.values():
            yield f"{name} {inner.name}", inner
            if hasattr(inner, "commands"):
                yield from commands(inner, f"{name} {inner.name}")

    found = dict(commands(typer.main.get_command(app), "genrec"))
    assert len(found) > 10
    for name, command in found.items():
        assert name in text
        for option in command.params:
            assert any(word in text for word in option.opts if word.startswith("-")) or (
                option.param_type_name == "argument"
            )
        for line in re.findall(r"genrec \S.*", command.epilog or ""):
            assert re.split(r"\s{2,}then", line)[0].strip() in text
    assert "[bold]" not in text


def setting_names(schema, known, prefix=""):
    """Every setting by its dotted name, those of list entries and of tasks by the last part alone."""
    for name, field in schema["properties"].items():
        yield f"{prefix}{name}"
        text = str({key: value for key, value in field.items() if key != "default"})
        several = {"items", "additionalProperties"} & set(field)
        each = "" if several else f"{prefix}{name}."
        for reference in re.findall(r"#/\$defs/(\w+)", text):
            if "properties" in known[reference]:
                yield from setting_names(known[reference], known, each)


def test_the_page_of_settings_has_every_setting(site):
    from genrec.recommender.settings import FitSettings

    schema = FitSettings.model_json_schema()
    names = set(setting_names(schema, schema["$defs"]))
    assert {"seed", "training.epochs", "item_tokenizer.codes", "weight"} <= names
    text = page(site, "settings").text
    assert {name for name in names if name not in text} == set()


def public_names(path):
    """Classes and functions of a module that its `__all__` lists."""
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    made = {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    lists = [node.value for node in nodes if ast.unparse(node).startswith("__all__ = [")]
    return made & {name for listed in lists for name in ast.literal_eval(listed)}


def test_the_reference_has_every_public_name(site):
    found = set().union(*(Page(path).ids for path in (site / "reference").rglob("*.html")))
    for path in sorted((ROOT / "genrec").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if module == "genrec" or module.startswith("genrec.cli"):
            continue
        assert module in found
        assert {f"{module}.{name}" for name in public_names(path)} <= found


def test_the_page_of_routes_has_every_route(site):
    from genrec.serving.app import create_app

    text = page(site, "http").text
    for path, methods in create_app(shelf=None).openapi()["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}" in text


def test_every_document_and_notebook_is_a_page(site):
    for path in [*ROOT.glob("[!.]*/README.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")]:
        name = path.relative_to(ROOT).as_posix().removeprefix("docs/")
        name = name.removesuffix("README.md").removesuffix(".md")
        heading = re.search(r"^# (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)[1]
        assert heading in page(site, name).text
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert "from genrec" in page(site, f"notebooks/{path.stem}").text
