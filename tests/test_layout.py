"""The shape of the project: what may import what, what ships, and what must not be there."""

import ast
import importlib.util
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

BASE = {"config", "errors", "program", "progress", "ray_workers", "strict_json"}
MAY_IMPORT = {
    "errors": set(),
    "program": {"errors"},
    "progress": set(),
    "config": {"errors"},
    "ray_workers": {"config", "errors"},
    "strict_json": {"errors"},
    "folder_safety": {"errors", "strict_json"},
    "artifacts": BASE | {"folder_safety"},
    "data": BASE,
    "vector_cache": BASE | {"encoders"},
    "encoders": BASE | {"vector_cache"},
    "semantic_ids": BASE | {"data"},
    "language_model": BASE | {"data", "semantic_ids"},
    "evaluation": BASE | {"data"},
    "decoding": BASE | {"language_model"},
    # Training maximises the very probabilities that the search adds up: one definition, in decoding.
    "training": BASE
    | {"data", "semantic_ids", "language_model", "decoding.trie", "decoding.scores"},
    "mixtures": BASE | {"data", "evaluation"},
    "memory": BASE | {"data", "evaluation", "mixtures"},
    "query": BASE | {"data", "evaluation"},
    "settings": BASE
    | {"data", "encoders", "semantic_ids", "language_model", "decoding", "training", "memory"}
    | {"query"},
}
"""Part -> the parts (or modules of parts) it may import. Parts not named are the outer shell."""
OUTERMOST = ("cli", "recipe", "testing")
"""Parts that no other part may import."""


def test_the_package_is_where_these_tests_look():
    assert len(MODULES) > 40
    assert len(RECIPES) >= 4


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {module_name(path) for path in MODULES}


def imports(path):
    """Every module that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from {name if name in NAMES else node.module for name in submodules}


def inner_imports(path):
    return {name.removeprefix("genrec.") for name in imports(path) if name.startswith("genrec.")}


def part_of(name):
    return name.split(".")[0]


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_arrows_never_turn_back(path):
    if path.parent == PACKAGE and path.stem == "__init__":
        return  # the front door names everything, lazily
    part = part_of(module_name(path).removeprefix("genrec."))
    allowed = MAY_IMPORT.get(part)
    for name in inner_imports(path):
        if part_of(name) == part:
            continue
        assert part_of(name) not in OUTERMOST, f"{path} imports genrec.{name}"
        if allowed is not None:
            assert part_of(name) in allowed or name in allowed, f"{path} imports genrec.{name}"
    if part == "decoding":
        assert "language_model.prompts" not in inner_imports(path)


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_nothing_in_the_package_imports_a_recipe(path):
    stems = {recipe.stem for recipe in RECIPES}
    for name in imports(path):
        assert name.split(".")[0] not in stems | {"train", "eval"}, f"{path} imports {name}"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_recipes_import_only_genrec_and_the_standard_library(path):
    stems = {recipe.stem for recipe in RECIPES}
    for name in imports(path):
        root = name.split(".")[0]
        assert root == "genrec" or root in sys.stdlib_module_names, f"{path} imports {name}"
        assert root not in stems, f"{path} imports a recipe"


@pytest.mark.parametrize("folder", RECIPE_FOLDERS)
def test_recipe_folders_are_not_packages(folder):
    assert not list((ROOT / folder).rglob("__init__.py"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_recipes_shadow_no_library(path):
    """Run by path, a recipe's folder comes first on sys.path: its files would hide libraries."""
    assert importlib.util.find_spec(path.stem) is None


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


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_every_module_says_what_it_is_and_what_it_offers(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path} has no docstring"
    if len(tree.body) > 1:
        targets = [t for node in tree.body if isinstance(node, ast.Assign) for t in node.targets]
        assert any(getattr(t, "id", "") == "__all__" for t in targets), f"{path} has no __all__"


FORBIDDEN_IMPORTS = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {"eval", "exec", "torch.load", "torch.save"}


@pytest.mark.parametrize("path", [*MODULES, *RECIPES], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_can_run_code_that_it_reads(path):
    assert not FORBIDDEN_IMPORTS & {name.split(".")[0] for name in imports(path)}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in FORBIDDEN_CALLS, f"{path}:{node.lineno}"
            for keyword in node.keywords:
                if keyword.arg in ("trust_remote_code", "allow_pickle"):
                    assert ast.unparse(keyword.value) == "False", f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_files_hold_one_idea(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
