"""Fit item tokenizers on several catalogs together, and see how their codes hold on catalogs they never saw.

    python tokenizers/elsewhere.py tokenizers/elsewhere_demo.yaml

A code space that several catalogs share is frozen after the fit; items of any other catalog get their codes
by `encode` alone. How many of the codes it uses, how many of its items collide and how well they are
reconstructed says whether that is still fine enough to tell them apart.
"""

from pathlib import Path
from typing import Any

from genrec.common.config import Settings
from genrec.common.errors import ConfigError
from genrec.common.recipe import run_recipe, write_results
from genrec.data import Catalog
from genrec.data.item_text import ItemTemplate
from genrec.data.settings import DataSettings
from genrec.encoders import EncoderSettings, encode_cached, make_encoder
from genrec.semantic_ids.base import ItemTokenizer
from genrec.semantic_ids.collisions import Policy
from genrec.semantic_ids.indexing.settings import IndexingSettings
from genrec.semantic_ids.kinds import make_item_tokenizer
from genrec.semantic_ids.quality import quality
from genrec.semantic_ids.semantic_ids import SemanticIds
from genrec.semantic_ids.settings import AnyItemTokenizerSettings


class Config(Settings):
    """Fitted on which catalogs, tried on which others, and how."""

    catalogs: dict[str, DataSettings]
    """The catalogs that it is fitted on, by name; logs are not read from."""
    elsewhere: dict[str, DataSettings]
    """Catalogs that it never sees before."""
    template: ItemTemplate = ItemTemplate()
    """How an item's fields become its text."""
    encoder: EncoderSettings = EncoderSettings()
    """Text to vectors."""
    vectors: Path = Path("runs/vectors")
    """Folder where vectors are kept."""
    rows: dict[str, AnyItemTokenizerSettings]
    """The item tokenizers, by name."""
    collisions: Policy = "nearest_free"
    """How items with the same codes are told apart."""
    out: Path
    """JSON document; the table goes beside it, ending in .md."""


def main(config: Config) -> None:
    """Fit each on all, measure each on each catalog, write, print."""
    for row, settings in config.rows.items():
        if isinstance(settings, IndexingSettings):
            raise ConfigError(
                f"rows.{row}: {settings.kind} numbers the items of one catalog; what several share are the "
                "codes of an item tokenizer of vectors, such as rqkmeans or fsq"
            )
    everywhere = config.catalogs | config.elsewhere
    catalogs = {name: data.read()[0] for name, data in everywhere.items()}
    texts = {name: catalog.texts(config.template) for name, catalog in catalogs.items()}
    fitted_on = [text for name in config.catalogs for text in texts[name]]
    encoder = make_encoder(config.encoder).fit(fitted_on)
    vectors = {name: encode_cached(encoder, own, config.vectors) for name, own in texts.items()}
    together = encode_cached(encoder, fitted_on, config.vectors)
    found = []
    for row, settings in config.rows.items():
        tokenizer = make_item_tokenizer(settings).fit(together)
        for name, catalog in catalogs.items():
            measured = measure(tokenizer, catalog, vectors[name], config.collisions)
            seen = name in config.catalogs
            found.append({"item tokenizer": row, "catalog": name, "seen": seen} | measured)
    document = {"config": config.model_dump(mode="json"), "rows": found}
    write_results(config.out, document, table(found))
    print(table(found))


def measure(
    tokenizer: ItemTokenizer, catalog: Catalog, vectors: Any, policy: Policy
) -> dict[str, Any]:
    """What is known of the semantic IDs that a catalog gets."""
    ids = SemanticIds.build(catalog.item_ids, vectors, tokenizer, policy, catalog.titles)
    report = quality(ids, tokenizer.encode(vectors), vectors, tokenizer)
    return report.to_json()


def table(rows: list[dict[str, Any]]) -> str:
    """Rows of the table in this folder's README."""
    lines = [cells(row) for row in rows]
    body = [lines[0], ["---"] * 3 + ["---:"] * (len(lines[0]) - 3), *(r.values() for r in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in body)


def cells(row: dict[str, Any]) -> dict[str, str]:
    """One line of it."""
    moves = row["moves"]["items"] if row["moves"] else 0
    return {
        "item tokenizer": row["item tokenizer"],
        "catalog": row["catalog"] + ("" if row["seen"] else ", unseen"),
        "codes": "x".join(str(level["codes"]) for level in row["levels"]),
        "items": f"{row['items']:,}",
        "codes used": " ".join(f"{level['used'] / level['codes']:.0%}" for level in row["levels"]),
        "colliding before": f"{row['before']['share']:.1%}",
        "at most at once": str(row["before"]["largest"]),
        "moved": f"{moves:,}",
        "reconstruction error": f"{row['reconstruction_error']:.3f}",
    }


if __name__ == "__main__":
    run_recipe(main, Config)
