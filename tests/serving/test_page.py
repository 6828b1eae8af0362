"""The page's files: how they are sent, that they load nothing else, and that no text becomes HTML."""

import re
import zipfile

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from genrec.data import Catalog
from genrec.serving.page_files import FOLDER, PAGE_PATHS

from .conftest import TOKEN, Stand

KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
SCRIPTS = sorted(FOLDER.glob("*.js"))
MAKES_HTML = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|setHTML|createContextualFragment|DOMParser|document\.write"
    r"|srcdoc|\beval\b|\bFunction\(|javascript:|localStorage|cookie"
)


def path_of(file):
    return "/" if file.name == "index.html" else f"/page/{file.name}"


def test_every_file_of_the_folder_is_served_and_no_other():
    assert {path_of(file) for file in FOLDER.iterdir()} == PAGE_PATHS
    assert len(SCRIPTS) > 5


@pytest.mark.parametrize("path", sorted(PAGE_PATHS))
def test_files_come_with_their_type_and_a_strict_policy(client, path):
    file = FOLDER / (path.removeprefix("/page/") if path != "/" else "index.html")
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.content == file.read_bytes()
    assert answer.headers["content-type"].partition(";")[0] == KINDS[file.suffix]
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path", ["/page/", "/page/app.js", "/page/../page_files.py", "/page/index.html"]
)
def test_nothing_else_lies_below_page(client, path):
    assert client.get(path).status_code == 404


def test_the_page_needs_no_token_and_what_it_shows_does(recommender, make_app):
    with TestClient(make_app(recommender, tokens=[TOKEN])) as client:
        assert {client.get(path).status_code for path in PAGE_PATHS} == {200}
        assert client.get("/page/app.js").status_code == 401
        assert client.get("/tree").status_code == 401


def test_the_page_has_no_inline_script_or_style_and_loads_its_own_files_only():
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", page)
    loaded = re.findall(r'(?:src|href)="(?!#)([^"]+)"', page)
    loaded += [
        f"page/{name}"
        for script in SCRIPTS
        for name in re.findall(r'from "\./([^"]+)"', script.read_text())
    ]
    assert len(loaded) > 10
    assert {f"/{name}" for name in loaded} <= PAGE_PATHS
    for file in FOLDER.iterdir():
        outside = re.findall(r"(?:https?:)?//[\w.]+\.\w+", file.read_text())
        assert outside in ([], ["http://www.w3.org"]), file.name


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_scripts_make_no_html_of_text(script):
    assert not MAKES_HTML.findall(script.read_text())


def test_a_title_with_a_script_arrives_as_data(recommender, make_app):
    title = "<img src=x onerror=alert(1)>"

    class Hostile(Stand):
        catalog = Catalog.from_table(pa.table({"item_id": ["<b>1</b>"], "title": [title]}))

    with TestClient(make_app(Hostile(recommender))) as client:
        answer = client.get("/items/%3Cb%3E1%3C%2Fb%3E")
        assert answer.json()["item"] == {"item_id": "<b>1</b>", "title": title}
        assert answer.headers["content-type"] == "application/json"
        page = client.get("/?x=1")
        assert page.status_code == 422  # nothing of an address ever enters the page


def test_what_the_scripts_look_for_is_there():
    page = (FOLDER / "index.html").read_text()
    there = re.findall(r'\bid="([^"]+)"', page)
    assert len(there) == len(set(there))
    wanted = {n for file in SCRIPTS for n in re.findall(r'byId\("([^"]+)"\)', file.read_text())}
    wanted |= set(re.findall(r'\bfor="([^"]+)"', page))
    for names in re.findall(r'aria-(?:labelledby|describedby)="([^"]+)"', page):
        wanted |= set(names.split())
    assert len(wanted) > 20
    assert wanted <= set(there)


def test_every_field_has_a_label():
    page = (FOLDER / "index.html").read_text()
    fields = re.findall(r'<(?:input|textarea)[^>]*\bid="([^"]+)"', page)
    labelled = set(re.findall(r'<label[^>]*\bfor="([^"]+)"', page))
    labelled |= set(re.findall(r'<label[^>]*><input id="([^"]+)"', page))
    assert len(fields) == 6
    assert set(fields) <= labelled


def test_the_wheel_holds_the_page(root, tmp_path):
    from hatchling.builders.wheel import WheelBuilder

    [wheel] = WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"])
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"genrec/serving/page/{file.name}" for file in FOLDER.iterdir()} <= names
