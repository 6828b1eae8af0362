"""Names that others build on: of the package, of its extension points, and of the command."""

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest
import typer

import genrec
from genrec.cli import app

NAMES = [
    "Cases",
    "Catalog",
    "FitSettings",
    "GenerativeRecommender",
    "GenrecError",
    "Histories",
    "InputError",
    "Interactions",
    "Protocol",
    "Ranking",
    "Recommendation",
    "SyntheticShop",
    "evaluate",
]
HOMES = {
    "genrec.evaluation.baselines": ["PCTM", "SeqRules", "chosen", "standard_baselines"],
    "genrec.decoding": ["CatalogLogitsProcessor", "Trie", "BeamSearch", "BeamSettings"],
    "genrec.language_model": ["CodeVocabulary", "LanguageModel", "LevelHead"],
    "genrec.testing.contracts": ["ItemTokenizerContract"],
}
COMMANDS = {
    "adapters combine": "--adapter --config --out --overwrite --restart --weights FOLDER SETTINGS",
    "adapters fit": "--config --out --overwrite --restart --with FOLDER SETTINGS",
    "demo": "--json --out",
    "evaluate": (
        "--baselines --cases --components --device --dtype --json --k --keep-seen --report "
        "--split -k FOLDER OTHER"
    ),
    "export": "--base --out FOLDER",
    "fit": (
        "--config --date-format --encoding --event --event-column --from --history-separator "
        "--interactions --item-columns --item-id --items --list-column --log-columns "
        "--log-item-id --min-rating --missing-users --name --out --overwrite --quoting --rating "
        "--repeats --restart --separator --strict --timestamp --title --unknown-items --user-id "
        "--vectors SETTINGS"
    ),
    "inspect": "--against --json --out FOLDER",
    "items add": (
        "--encoding --item-columns --item-id --items --json --out --quoting --separator --title "
        "--vectors FOLDER"
    ),
    "items update": (
        "--dry-run --encoding --item-columns --item-id --items --json --out --quoting --recode "
        "--remove-missing --separator --title --vectors FOLDER"
    ),
    "items remove": "--ids --json --out FOLDER",
    "recommend": (
        "--address --allow --date-format --deny --device --dtype --encoding --engine --explain "
        "--history --history-separator --input --item-id --json --k --keep-seen --log-columns "
        "--missing-users --output --query --quoting --separator --timestamp --unknown-items "
        "--user-id --where --workers -k FOLDER"
    ),
    "refit": "--out --overwrite --restart FOLDER",
    "serve": (
        "--device --drain --dtype --host --max-batch --max-body --max-wait-ms --no-auth --port "
        "--queue --timeout --watch FOLDER"
    ),
    "titles": "--device --dtype --history --json --mode --seed -n FOLDER",
    "transfer": (
        "--date-format --encoding --history-separator --interactions --item-columns --item-id "
        "--items --list-column --log-columns --log-item-id --missing-users --out --overwrite "
        "--pointer-weight --quoting --repeat-weight --separator --text-weight --timestamp "
        "--title --unknown-items --user-id --vectors FOLDER"
    ),
}
"""Command -> its options and arguments."""


def test_the_front_door_offers_what_it_did():
    assert sorted(genrec.__all__) == NAMES
    for name in NAMES:
        assert getattr(genrec, name).__name__ == name


@pytest.mark.parametrize("module", HOMES)
def test_extension_points_stand_where_they_did(module):
    for name in HOMES[module]:
        assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("module", ["vllm_processor", "vllm_v2_processor"])
def test_vllm_finds_its_processors_where_it_did(module):
    """Read, not imported: vLLM need not be installed."""
    found = importlib.util.find_spec(f"genrec.decoding.{module}")
    tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    assert "CatalogProcessor" in {n.name for n in tree.body if isinstance(n, ast.ClassDef)}


def commands(command, path=()):
    """Every command below one, by its words."""
    inside = getattr(command, "commands", None)
    if inside is None:
        return {" ".join(path): command.params}
    return {k: v for name, own in inside.items() for k, v in commands(own, (*path, name)).items()}


def test_every_command_has_the_options_that_it_had():
    found = {
        name: {
            word
            for parameter in parameters
            for word in (
                parameter.opts
                if parameter.param_type_name == "option"
                else [parameter.name.upper()]
            )
        }
        - {"--help"}
        for name, parameters in commands(typer.main.get_command(app)).items()
    }
    assert found == {name: set(words.split()) for name, words in COMMANDS.items()}
