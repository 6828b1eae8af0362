"""The shape of the project: what may import what, what ships, and what must not be there."""

import ast
import graphlib
import importlib.machinery
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "genrec"
MODULES = sorted(PACKAGE.rglob("*.py"))
RECIPE_FOLDERS = ("tokenizers", "train", "eval")
RECIPES = sorted(path for folder in RECIPE_FOLDERS for path in (ROOT / folder).glob("*.py"))
BENCH = sorted((ROOT / "eval/bench").rglob("*.py"))

FLOORS = (
    {"cli"},
    {"generative_recommender"},
    {"fitting", "serving"},
    {"recommender", "testing"},
    {"decoding"},
    {"language_model", "semantic_ids", "evaluation", "training"},
    {"data", "encoders"},
    {"common"},
)
"""Rooms of `genrec`, from the roof down: a room imports rooms of lower floors, and knows none beside it."""
MOST_ENTRIES = 16


def test_the_package_is_where_these_tests_look():
    assert len(MODULES) > 40
    assert len(RECIPES) >= 4


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {module_name(path) for path in MODULES}


def imports_of(source):
    """Every module that a source imports, wherever in it: in functions and for types alone too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from {name if name in NAMES else node.module for name in submodules}


def imports(path):
    return imports_of(path.read_text(encoding="utf-8"))


SOURCES = {module_name(path): path.read_text(encoding="utf-8") for path in MODULES}


def arrows_from(name, source):
    """The modules of `genrec` that a module imports; none of the front door, which names all, lazily."""
    found = {imported for imported in imports_of(source) if imported in SOURCES} - {name}
    return set() if name == "genrec" else found


GRAPH = {name: arrows_from(name, source) for name, source in SOURCES.items()}


def with_line(name, line):
    """The graph with one more line at the end of a module."""
    return GRAPH | {name: arrows_from(name, SOURCES[name] + line)}


def upward(graph):
    """Imports of a room that does not stand lower, as (importer, imported)."""
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    arrows = [(name, imported) for name in graph for imported in sorted(graph[name])]

    def points_up(name, imported):
        if imported == "genrec":
            return True
        room, other = name.split(".")[1], imported.split(".")[1]
        return room != other and floor[room] >= floor[other]

    return [arrow for arrow in arrows if points_up(*arrow)]


def circle(graph):
    """Modules that import each other in a circle; None where there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return None


def test_every_room_has_a_floor_and_the_root_is_short():
    entries = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    rooms = {name.removesuffix(".py") for name in entries} - {"__init__", "py.typed"}
    assert rooms == set().union(*FLOORS)
    assert len(entries) <= MOST_ENTRIES


def test_imports_point_down():
    assert upward(GRAPH) == []


def test_no_module_is_in_a_circle():
    assert circle(GRAPH) is None


PLANTED = {
    "at module level": "from genrec.cli import main\n",
    "in a function": "def late():\n    from genrec.cli import main\n",
    "for types": "if TYPE_CHECKING:\n    from genrec.cli import main\n",
    "of the package's front door": "from genrec import Catalog\n",
    "by its whole name": "import genrec.cli\n",
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_an_import_that_points_up_is_found(planted):
    name = "genrec.decoding.scores"
    [(importer, _)] = upward(with_line(name, planted))
    assert importer == name


def test_an_import_of_a_room_beside_is_found():
    name = "genrec.training.loop"
    planted = with_line(name, "from genrec.evaluation.metrics import recall\n")
    assert upward(planted) == [(name, "genrec.evaluation.metrics")]


@pytest.mark.parametrize("place", ["", "def late():\n    ", "if TYPE_CHECKING:\n    "])
def test_a_circle_is_found(place):
    """A room's own modules may not meet in a circle either."""
    assert "genrec.data.catalog" in GRAPH["genrec.data.interactions"]
    line = f"{place}from genrec.data.interactions import Interactions\n"
    found = circle(with_line("genrec.data.catalog", line))
    assert {"genrec.data.catalog", "genrec.data.interactions"} <= set(found)


def test_decoding_knows_no_prompts():
    for name, found in GRAPH.items():
        if name.startswith("genrec.decoding."):
            assert "genrec.language_model.prompts" not in found, name


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_nothing_in_the_package_imports_a_recipe(path):
    stems = {recipe.stem for recipe in RECIPES}
    for name in imports(path):
        assert name.split(".")[0] not in stems | {"train", "eval", "bench"}, (
            f"{path} imports {name}"
        )


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_recipes_import_only_genrec_and_the_standard_library(path):
    stems = {recipe.stem for recipe in RECIPES}
    for name in imports(path):
        root = name.split(".")[0]
        own = {"genrec", "bench"} if path.parent.name == "eval" else {"genrec"}
        assert root in own or root in sys.stdlib_module_names, f"{path} imports {name}"
        assert root not in stems, f"{path} imports a recipe"


@pytest.mark.parametrize("path", BENCH, ids=lambda path: path.stem)
def test_no_bench_imports_a_recipe(path):
    stems = {recipe.stem for recipe in RECIPES}
    assert not {name.split(".")[0] for name in imports(path)} & stems


@pytest.mark.parametrize("folder", RECIPE_FOLDERS)
def test_recipe_folders_are_not_packages(folder):
    assert not list((ROOT / folder).rglob("__init__.py"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_recipes_shadow_no_library(path):
    """Run by path, a recipe's folder comes first on sys.path: its files would hide libraries."""
    elsewhere = [place for place in sys.path if place not in ("", str(ROOT), str(path.parent))]
    assert importlib.machinery.PathFinder.find_spec(path.stem, elsewhere) is None


def test_the_benches_shadow_no_library():
    elsewhere = [place for place in sys.path if place not in ("", str(ROOT), str(ROOT / "eval"))]
    assert importlib.machinery.PathFinder.find_spec("bench", elsewhere) is None


def test_the_real_tokenizers_library_is_found_from_the_root():
    code = "import tokenizers; print(tokenizers.Tokenizer.__module__)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "tokenizers"


def test_the_wheel_holds_genrec_and_nothing_else(tmp_path):
    from hatchling.builders.wheel import WheelBuilder

    [wheel] = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"genrec"}
    assert len(top) == 2
    assert {module_name(ROOT / name) for name in names if name.endswith(".py")} == NAMES
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_import_is_light():
    heavy = "torch transformers pandas pyarrow sklearn scipy faiss duckdb datasets matplotlib typer"
    code = f"import genrec, sys; print(*sorted(set({heavy.split()}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_help_does_not_wait_for_torch():
    code = "import genrec.cli, sys; print(*sorted({'torch', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("path", [*MODULES, *BENCH], ids=module_name)
def test_every_module_says_what_it_is_and_what_it_offers(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path} has no docstring"
    if len(tree.body) > 1:
        targets = [t for node in tree.body if isinstance(node, ast.Assign) for t in node.targets]
        assert any(getattr(t, "id", "") == "__all__" for t in targets), f"{path} has no __all__"


FORBIDDEN_IMPORTS = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {"eval", "exec", "torch.load", "torch.save"}


@pytest.mark.parametrize(
    "path", [*MODULES, *RECIPES, *BENCH], ids=lambda path: str(path.relative_to(ROOT))
)
def test_no_file_can_run_code_that_it_reads(path):
    assert not FORBIDDEN_IMPORTS & {name.split(".")[0] for name in imports(path)}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in FORBIDDEN_CALLS, f"{path}:{node.lineno}"
            for keyword in node.keywords:
                if keyword.arg in ("trust_remote_code", "allow_pickle"):
                    assert ast.unparse(keyword.value) == "False", f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", [*MODULES, *BENCH], ids=module_name)
def test_files_hold_one_idea(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


NAMED = re.compile(r"`(genrec(?:\.\w+)+)`")


def names_in(path):
    """What a module or package offers: names at its top level, and its submodules."""
    if path.is_dir():
        return {inner.stem for inner in path.iterdir()} | names_in(path / "__init__.py")
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = getattr(node, "targets", [getattr(node, "target", node)])
        found |= {getattr(target, "id", getattr(target, "name", None)) for target in targets}
        found |= {alias.asname or alias.name for alias in getattr(node, "names", ())}
    return found


@pytest.mark.parametrize(
    "path", [*MODULES, *RECIPES, *BENCH], ids=lambda path: str(path.relative_to(ROOT))
)
def test_what_a_docstring_names_is_there(path):
    for name in NAMED.findall(path.read_text(encoding="utf-8")):
        place, parts = PACKAGE, name.split(".")[1:]
        for part in parts:
            assert part in names_in(place), f"{path} names {name}"
            inner = place / part if place.is_dir() else None
            if inner is None or not (inner.is_dir() or inner.with_suffix(".py").is_file()):
                break  # a name in a module; what is inside of it may come from a base class
            place = inner if inner.is_dir() else inner.with_suffix(".py")
