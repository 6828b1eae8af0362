"""Whether changes cost a served recommender a request: folder, items in and items out, under load.

    python eval/serving_changes.py eval/serving_changes_demo.yaml [seconds=60 …]

Clients ask without a pause while the folder is replaced and reloaded, items are added and items are removed.
No request may fail, and none may be answered from two catalogs: every answer names its catalog's hash.
"""

import tempfile
from pathlib import Path

from bench.changes import Changer, Seen, Version, replace_folder
from bench.load import drive, request, served
from genrec import GenerativeRecommender
from genrec.common.artifacts import provenance, require_file
from genrec.common.config import Settings
from genrec.common.errors import GenrecError
from genrec.common.recipe import run_recipe, write_results

TOKEN = "the-token-of-this-measurement"  # noqa: S105 of a server that lives as long as this program


class Config(Settings):
    """What is served, who asks, and how it changes."""

    recommender: Path
    """Folder of a fitted recommender; copies of it are changed."""
    clients: int = 24
    """That ask at once, each its next request when it has its answer."""
    seconds: float = 60.0
    """For which they ask."""
    users: int = 1000
    """Whose histories are sent, from the recommender's own log."""
    k: int = 10
    """Items asked for."""
    fewer: float = 0.3
    """Share of the items that every other folder lacks."""
    new: int = 3
    """Items that are added and removed between two reloads."""
    out: Path = Path("runs/serving_changes.json")
    """JSON document; the table goes beside it, ending in .md."""


def main(config: Config) -> None:
    """Measure, write and print.

    Raises:
        GenrecError: a request failed, or an answer mixed catalogs; after both files were written.
    """
    require_file(config.out)
    recommender = GenerativeRecommender.from_pretrained(config.recommender)
    with tempfile.TemporaryDirectory() as work:
        measured = measure(recommender, Path(work), config)
    document = measured | {"config": config.model_dump(mode="json"), "provenance": provenance()}
    table = as_table(document)
    write_results(config.out, document, table)
    print(table)
    if document["failed"] or document["mixed"]:
        raise GenrecError(f"{document['failed']} requests failed, {document['mixed']} were mixed")


def measure(recommender: GenerativeRecommender, work: Path, config: Config) -> dict:
    """Serve a copy, ask, and change it all the while."""
    ids = recommender.catalog.item_ids
    gone = ids[:: max(2, round(1 / config.fewer))]
    fewer = recommender.remove_items(gone)
    fewer.save_pretrained(work / "fewer")
    versions = [
        Version(config.recommender, frozenset(ids)),
        Version(work / "fewer", frozenset(fewer.catalog.item_ids)),
    ]
    folder, seen = work / "served", Seen()
    replace_folder(folder, config.recommender)
    # What was removed is new again under another id, so its own text brings it into answers.
    rows = recommender.catalog.table.take(list(range(config.new))).to_pylist()
    with served(folder, token=TOKEN) as server:
        changer = Changer(server, folder, versions, rows, TOKEN)
        with changer.changing():
            asked = requests(recommender, config)
            answers = drive(
                server, asked, clients=config.clients, seconds=config.seconds, look=seen.look
            )
    mixed = seen.mixed(changer.catalogs)
    return answers.facts() | {
        "changes": dict(changer.done),
        "catalogs": len(seen.answers),
        "failed": answers.statuses.total() - answers.statuses[200],
        "mixed": sum(seen.answers[name] for name in mixed),
    }


def requests(recommender: GenerativeRecommender, config: Config) -> list[bytes]:
    """Histories of the log; what a catalog lacks of them is passed over."""
    ids, users = recommender.catalog.item_ids, list(recommender.log.histories)[: config.users]
    bodies = [
        {"history": [ids[item] for item in user], "k": config.k, "unknown_items": "drop"}
        for user in users
    ]
    return [request("POST", "/recommend", body, TOKEN) for body in bodies]


def as_table(document: dict) -> str:
    """The results as a Markdown table."""
    names = ["requests", "a second", "p50", "p99", "failed", "mixed"]
    names += ["reloads", "adds", "removes", "catalogs that answered"]
    changes, total = document["changes"], sum(document["statuses"].values())
    row = [f"{total:,}", f"{document['requests_per_second']:.0f}"]
    row += [f"{document[name]:.1f} ms" for name in ("p50_ms", "p99_ms")]
    row += [document["failed"], document["mixed"], *(changes[n] for n in names[6:9])]
    row += [document["catalogs"]]
    lines = [names, ["---:"] * len(names), row]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


if __name__ == "__main__":
    run_recipe(main, Config)
