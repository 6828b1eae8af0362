"""What a user may get wrong: one message that says what was given and what to do, and nothing made.

Every case runs in a folder with a good catalog and log, `items.csv` and `log.csv`, and adds the files it
needs. ``{rec}`` stands for a fitted recommender's folder.
"""

import io
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

import numpy as np
import pytest

ITEMS = "item_id,title\na1,Tent\na2,Rope\na3,Cup\na4,Mat\na5,Lamp\n"
ALIKE = "item_id,title\n" + "".join(f"a{n},Tent\n" for n in range(1, 6))
LOG = "user_id,item_id,timestamp\n" + "".join(
    f"u{user},a{1 + (user + time) % 5},{time}\n" for user in range(4) for time in range(4)
)
FIT = "fit --items items.csv --interactions log.csv --out out"
ONE = "recommend {rec} --history P0001"
MANY = "recommend {rec} --output out.csv --input"


def log_with(row):
    """The good log with one more row, its 17th."""
    return {"log.csv": LOG + row + "\n"}


def npy(rows, **options):
    """The bytes of a NumPy file."""
    file = io.BytesIO()
    np.save(file, np.array(rows, **options))
    return file.getvalue()


PICKLED = npy([[1, None]], dtype=object)


@dataclass(frozen=True)
class Bad:
    """A command that must be refused.

    Attributes:
        words: of the command. says: what the message must hold. files: more files, by name.
    """

    words: str
    says: tuple[str, ...]
    files: dict[str, str | bytes] = field(default_factory=dict)


BAD = {
    # files
    "no items file": Bad(
        FIT.replace("items.csv", "item.csv"),
        ("item.csv: no such file", "did you mean 'items.csv'?"),
    ),
    "no log file": Bad(FIT.replace("log.csv", "clicks.tsv"), ("clicks.tsv: no such file",)),
    "a folder of both files": Bad(
        FIT.replace("items.csv", "."),
        ("log.csv: its header is user_id, item_id, timestamp", "name those of one table by a glob"),
    ),
    "unknown ending": Bad(
        FIT.replace("items.csv", "items.xls"), ("items.xls", "use .csv, .tsv"), {"items.xls": "x"}
    ),
    "damaged parquet": Bad(
        FIT.replace("items.csv", "items.parquet"),
        ("items.parquet: not a readable Parquet file",),
        {"items.parquet": b"PAR1"},
    ),
    "damaged gzip": Bad(
        FIT.replace("log.csv", "log.csv.gz"), ("log.csv.gz", "damaged"), {"log.csv.gz": b"\x1f\x8b"}
    ),
    "empty items": Bad(FIT, ("items.csv: no rows",), {"items.csv": ""}),
    "items without rows": Bad(FIT, ("items.csv: no rows",), {"items.csv": "item_id,title\n"}),
    "empty log": Bad(FIT, ("log.csv: no rows",), {"log.csv": ""}),
    "log without rows": Bad(
        FIT, ("log.csv: no interactions are left: 0 read",), {"log.csv": "user_id,item_id\n"}
    ),
    "items not UTF-8": Bad(
        FIT,
        ("items.csv, row 2, column 'title'", "Caf\\xe9", "save the file as UTF-8"),
        {"items.csv": b"item_id,title\na1,Tent\na2,Caf\xe9\n"},
    ),
    "a row too short": Bad(
        FIT, ("log.csv, row 17", "the row has 2 fields, the header 3"), log_with("u9,a1")
    ),
    # columns
    "wrong item column": Bad(
        f"{FIT} --item-id asin", ("items.csv, column 'asin'", "found 'item_id', 'title'")
    ),
    "wrong user column": Bad(
        f"{FIT} --user-id userid", ("log.csv, column 'userid'", "did you mean 'user_id'?")
    ),
    "wrong time column": Bad(f"{FIT} --timestamp time", ("'time'", "did you mean 'timestamp'?")),
    "no ratings to compare": Bad(f"{FIT} --min-rating 3", ("log.csv, column 'rating'", "found")),
    "no such field of the text": Bad(
        f"{FIT} template.fields=[name]", ("'name'", "columns: item_id, title")
    ),
    # values
    "one id, two items": Bad(
        FIT,
        ("items.csv, row 6, column 'item_id', value 'a1'", "row 1 with another title"),
        {"items.csv": ITEMS + "a1,Stove\n"},
    ),
    "no item id": Bad(
        FIT,
        ("items.csv, row 6, column 'item_id', value ''", "the id is empty"),
        {"items.csv": ITEMS + ",Stove\n"},
    ),
    "no item id in the log": Bad(
        FIT, ("log.csv, row 17, column 'item_id', value ''",), log_with("u9,,5")
    ),
    "no user id": Bad(FIT, ("log.csv, row 17, column 'user_id', value ' '",), log_with(" ,a1,5")),
    "unknown item": Bad(
        FIT,
        ("log.csv, row 17, column 'item_id', value 'a11'", "similar ids: 'a1'", "drop"),
        log_with("u9,a11,5"),
    ),
    "time is NaN": Bad(
        FIT, ("log.csv, row 17, column 'timestamp', value 'nan'",), log_with("u9,a1,nan")
    ),
    "time is a word": Bad(
        FIT,
        ("log.csv, row 17, column 'timestamp', value 'soon'", "a number or an ISO date"),
        log_with("u9,a1,soon"),
    ),
    # too little
    "one item": Bad(
        FIT,
        ("items.csv: the catalog has a single item", "at least 2"),
        {"items.csv": "item_id,title\na1,Tent\n", "log.csv": "user_id,item_id\nu,a1\nu,a1\nu,a1\n"},
    ),
    "one interaction a user": Bad(
        FIT,
        ("log.csv: leave-one-out leaves no test case", "a user with two interactions"),
        {"log.csv": "user_id,item_id\nu,a1\nv,a2\nw,a3\n"},
    ),
    "nothing before the cut": Bad(
        f"{FIT} split.protocol=temporal split.valid_from=0 split.test_from=1",
        ("log.csv", "no training interaction"),
        {"log.csv": "user_id,item_id,timestamp\nu,a1,0\nu,a2,1\nv,a1,0.5\nv,a3,2\n"},
    ),
    "too few semantic IDs": Bad(
        f"{FIT} item_tokenizer.kind=rqkmeans item_tokenizer.codes=2 item_tokenizer.levels=1",
        ("5 items need 5 different semantic IDs", "[2]", "use more levels or more codes"),
    ),
    # vectors of the user's own
    "no vectors file": Bad(f"{FIT} --vectors v.npy", ("v.npy: no such file",)),
    "vectors of another format": Bad(
        f"{FIT} --vectors v.txt", ("v.txt", "read from .parquet and .npy"), {"v.txt": "x"}
    ),
    "vectors that are no file of NumPy": Bad(
        f"{FIT} --vectors v.npy:2", ("v.npy: not a NumPy file",), {"v.npy": "x"}
    ),
    "pickled vectors": Bad(
        f"{FIT} --vectors v.npy", ("pickled objects are never loaded",), {"v.npy": PICKLED}
    ),
    "vectors of other items": Bad(
        f"{FIT} --vectors v.npy",
        ("v.npy: none of its item ids is in the catalog; the first are 'x', 'y'",),
        {"v.npy": npy([[1.0], [2.0]]), "v.ids.txt": "x\ny\n"},
    ),
    "fewer vectors than items": Bad(
        f"{FIT} --vectors v.npy",
        ("v.npy: 2 vectors for 5 items in the catalog", "v.ids.txt"),
        {"v.npy": npy([[1.0], [2.0]])},
    ),
    "NaN among the vectors": Bad(
        f"{FIT} --vectors v.npy",
        ("v.npy, row 2, value 'a4'", "NaN"),
        {"v.npy": npy([[1.0], [float("nan")]]), "v.ids.txt": "a1\na4\n"},
    ),
    "vectors without weight": Bad(f"{FIT} --vectors v.npy:0", ("vectors.0.weight = 0.0",)),
    "no vectors at all": Bad(f"{FIT} encoder.weight=0", ("leaves items without vectors",)),
    "images for a model of text": Bad(
        f"{FIT} encoder.image_column=title", ("tfidf reads no images", "encoder.image_model")
    ),
    "indexing by a missing column": Bad(
        f"{FIT} item_tokenizer.kind=category",
        ("items.csv, column 'categories'", "item_tokenizer.column"),
    ),
    # settings
    "unknown setting": Bad(
        f"{FIT} training.epoch=1", ("'training.epoch'", "did you mean 'training.epochs'?")
    ),
    "setting of another kind": Bad(
        f"{FIT} item_tokenizer.kind=rqvae item_tokenizer.code=4",
        ("'item_tokenizer.code'", "did you mean 'item_tokenizer.codes'?"),
    ),
    "setting out of range": Bad(
        f"{FIT} training.epochs=0", ("training.epochs = 0", "greater than or equal to 1")
    ),
    "unknown attention": Bad(
        f"{FIT} language_model.item_attention=both",
        ("language_model.item_attention = 'both'", "'causal' or 'bidirectional'"),
    ),
    "a setting that is no more": Bad(
        f"{FIT} training.code_noise=0.1", ("training.code_noise", "unknown setting")
    ),
    "no setting at all": Bad(f"{FIT} seed", ("'seed' is not a setting: write key=value",)),
    "setting given twice": Bad(f"{FIT} seed=1 seed=2", ("'seed=2'", "given twice")),
    "widths that do not divide": Bad(
        f"{FIT} language_model.compact.width=16 language_model.compact.heads=3",
        ("language_model.compact.width = 16", "a multiple of heads = 3"),
    ),
    "temporal without cuts": Bad(
        f"{FIT} split.protocol=temporal", ("needs split.valid_from and split.test_from",)
    ),
    "temporal with cuts that cross": Bad(
        f"{FIT} split.protocol=temporal split.valid_from=3 split.test_from=1",
        ("valid_from must come before test_from, found 3, 1",),
        log_with("u9,a1,7"),
    ),
    "a rate that blows up": Bad(
        f"{FIT} training.learning_rate=1e30 training.clip=1e30 training.warmup_steps=0",
        ("the loss became", "lower training.learning_rate (now 1e+30)"),
    ),
    "YAML of a list": Bad(
        f"{FIT} --config c.yaml", ("c.yaml: expected settings as 'key: value'",), {"c.yaml": "- 1"}
    ),
    "YAML that is none": Bad(
        f"{FIT} --config c.yaml", ("c.yaml: not a valid YAML file",), {"c.yaml": "a: [b"}
    ),
    "no YAML file": Bad(f"{FIT} --config c.yaml", ("c.yaml: the settings file cannot be read",)),
    "no such backbone": Bad(
        f"{FIT} language_model.backbone=no/such/folder",
        ("language_model.backbone = 'no/such/folder' is neither 'compact', nor a local folder",),
    ),
    "no such encoder": Bad(
        f"{FIT} encoder.name=/models/minilm", ("'/models/minilm' cannot be loaded", "'tfidf'")
    ),
    "no such device": Bad(f"{FIT} device=gpu", ("device = 'gpu' cannot be used here",)),
    # semantic IDs
    "unknown collision policy": Bad(
        f"{FIT} collisions=best", ("collisions", "'nearest_free'", "'refuse'")
    ),
    "items that collide where that is refused": Bad(
        f"{FIT} collaborative.weight=0 collisions=refuse",
        ("5 of 5 items share their codes", "'Tent (a1)', 'Tent (a2)'", "nearest_free"),
        {"items.csv": ALIKE},
    ),
    "poor semantic IDs for a strict fit": Bad(
        f"{FIT} collaborative.weight=0 --strict",
        ("not worth training on", "100% of items collide", "item_tokenizer.codes", "--strict"),
        {"items.csv": ALIKE},
    ),
    "a gate that nothing passes": Bad(
        f"{FIT} gate.max_colliding=1.5", ("gate.max_colliding = 1.5", "less than or equal to 1")
    ),
    # outputs
    "out exists": Bad(
        FIT, ("out exists already", "choose another --out", "--overwrite"), {"out/x": "mine"}
    ),
    "out under a file": Bad(
        FIT.replace("--out out", "--out log.csv/out"), ("log.csv/out", "is a file, not a folder")
    ),
    "out is not ours to replace": Bad(
        f"{FIT} --overwrite", ("out was not made by genrec",), {"out/wedding.jpg": "mine"}
    ),
    "work folder is not ours": Bad(
        FIT, ("out.partial is not empty and not a fit's work folder",), {"out.partial/x": "mine"}
    ),
    "work folder is not ours to discard": Bad(
        f"{FIT} --restart", ("out.partial is not empty",), {"out.partial/x": "mine"}
    ),
    "work folder is a file": Bad(FIT, ("out.partial is in the way",), {"out.partial": "mine"}),
    # options
    "unknown option": Bad(f"{FIT} --epochs 3", ("No such option: --epochs",)),
    "missing option": Bad("fit --items items.csv", ("Missing option '--interactions'",)),
    "option given twice": Bad(f"{FIT} --out other", ("--out is given twice",)),
    "rating is no number": Bad(f"{FIT} --min-rating nan", ("min_rating = nan", "finite number")),
    "unknown command": Bad("recomend {rec}", ("No such command 'recomend'", "'recommend'")),
    # opening a recommender
    "no recommender folder": Bad(
        "recommend runs/shop --history a1", ("runs/shop is not a folder", "genrec fit --out")
    ),
    "a folder of something else": Bad(
        "evaluate .", (". is not a recommender: it has no recommender.json", "genrec fit --out")
    ),
    "a file for a recommender": Bad("inspect log.csv", ("log.csv is not a folder",)),
    # recommend
    "unknown item in the history": Bad(
        "recommend {rec} --history P0001,P0002x",
        ("'P0002x'", "item id 2 of 2 is not in the catalog", "similar ids: 'P0002'"),
    ),
    "unknown item to allow": Bad(f"{ONE} --allow P0002,x", ("'x'", "not in the catalog")),
    "unknown item to deny": Bad(f"{ONE} --deny x", ("'x'", "not in the catalog")),
    "no file to allow": Bad(
        f"{ONE} --allow @stock.txt", ("stock.txt: cannot be read (No such file",)
    ),
    "an empty file to allow": Bad(
        f"{ONE} --allow @stock.txt", ("stock.txt: the file holds no item id",), {"stock.txt": "\n"}
    ),
    "unknown item in a file to deny": Bad(
        f"{MANY} users.csv --deny @gone.txt",
        ("gone.txt, line 3, value 'P0004x'", "similar ids: 'P0004'", "2 of 3 ids are not"),
        {"gone.txt": "P0002\n\nP0004x\nx\n", "users.csv": "user_id,item_id\nu,P0001\n"},
    ),
    "a file to deny, not UTF-8": Bad(
        f"{ONE} --deny @gone.txt", ("gone.txt: not UTF-8 text",), {"gone.txt": b"P\xe9\n"}
    ),
    "no condition": Bad(f"{ONE} --where price", ("'price' is not a condition", "in quotes")),
    "condition without value": Bad(f"{ONE} --where price<", ("'price<' has an empty value",)),
    "condition with an unknown operator": Bad(
        f"{ONE} --where price=<20", ("'price=<20'", "no operator '=<', use = != < <= > >=")
    ),
    "condition with two bounds": Bad(f"{ONE} --where price<20|30", ("'<' takes one value",)),
    "condition on an unknown column": Bad(
        f"{ONE} --where color=Sand",
        ("column 'color'", "did you mean 'colour'?", "columns: item_id"),
    ),
    "condition on text as a number": Bad(
        f"{ONE} --where brand<20", ("column 'brand'", "(string) 120 hold something else, such as")
    ),
    "condition on a number as text": Bad(
        f"{ONE} --where price=cheap", ("column 'price'", "'cheap' cannot be compared", "(double)")
    ),
    "one good condition, one bad": Bad(
        f"{MANY} users.csv --where price<20 --where prise>1",
        ("column 'prise'", "did you mean 'price'?"),
        {"users.csv": "user_id,item_id\nu,P0001\n"},
    ),
    "k = 0": Bad(f"{ONE} -k 0", ("'-k'", "greater than or equal to 1")),
    "history given twice": Bad(f"{ONE} --history P0002", ("--history is given twice",)),
    "one user and many": Bad(f"{ONE} --input log.csv", ("either --history (one user) or --input",)),
    "no user at all": Bad("recommend {rec}", ("either --history (one user) or --input", "--query")),
    "an empty query": Bad("recommend {rec} --query=", ("the query '' is blank", "leave it out")),
    "a query of blanks": Bad(f"{ONE} --query=\x07\x1b", ("is blank", "in words")),
    "a query that is a book": Bad(
        f"{ONE} --query={'x' * 1001}", ("1,001 characters", "at most 1,000")
    ),
    "a query share of all": Bad(f"{FIT} query.share=1", ("query.share", "less than 1")),
    "fewer than no reasons": Bad(
        f"{ONE} --explain -1", ("'--explain'", "greater than or equal to 0")
    ),
    "reasons in words": Bad(f"{ONE} --explain all", ("'--explain'", "valid integer")),
    "output of one user": Bad(f"{ONE} --output out.csv", ("--output goes with --input",)),
    "output and JSON": Bad(f"{MANY} log.csv --json", ("--output", "without --json")),
    "many users, no output": Bad(
        "recommend {rec} --input log.csv", ("--input needs --output", "--json")
    ),
    "unknown ending of the output": Bad(
        "recommend {rec} --input log.csv --output out.txt", ("out.txt", ".parquet, .jsonl, .csv")
    ),
    "output exists": Bad(
        f"{MANY} log.csv",
        ("out.csv exists already: choose another --output, or remove it",),
        {"out.csv": "mine"},
    ),
    "output under a file": Bad(
        "recommend {rec} --input log.csv --output items.csv/out.csv", ("is a file, not a folder",)
    ),
    "parts are not ours": Bad(
        f"{MANY} good.csv",
        ("out.csv.partial is in the way: move it",),
        {"out.csv.partial/x": "mine", "good.csv": "user_id,item_id\nu,P0001\n"},
    ),
    "a cluster for one process": Bad(
        f"{MANY} log.csv --address auto", ("--address and --workers go with --engine ray",)
    ),
    "workers for one process": Bad(f"{MANY} log.csv --workers 2", ("go with --engine ray",)),
    "workers for one user": Bad(
        f"{ONE} --engine ray", ("--engine ray goes with --input and --output",)
    ),
    "no workers": Bad(
        f"{MANY} log.csv --engine ray --workers 0", ("'--workers'", "greater than or equal to 1")
    ),
    "workers for tfidf": Bad(
        f"{FIT} encoder.engine=ray", ("no work for encoder.engine=ray", "encoder.name")
    ),
    "no input file": Bad(f"{MANY} users.csv", ("users.csv: no such file",)),
    "input lacks a column": Bad(
        f"{MANY} users.csv",
        ("users.csv, column 'user_id'", "did you mean 'userid'?"),
        {"users.csv": "userid,item_id\nu,P0001\n"},
    ),
    "unknown item in the input": Bad(
        f"{MANY} log.csv", ("log.csv, row 1, column 'item_id', value 'a1'", "not in the catalog")
    ),
    "no such device to recommend on": Bad(f"{ONE} --device gpu", ("device = 'gpu'",)),
    # evaluate
    "evaluate on nothing known": Bad(
        "evaluate {rec} --split train", ("'train'", "'valid', 'test'")
    ),
    "result under a file": Bad(
        "evaluate {rec} --json log.csv/r.json", ("log.csv/r.json", "is a file, not a folder")
    ),
    "result is a folder": Bad("evaluate {rec} --json .", (". is a folder: name a file in it",)),
    # inspect
    "report is no page": Bad(
        "inspect {rec} --out report.pdf", ("report.pdf", "name it something.html", "--json")
    ),
    "report under a file": Bad(
        "inspect {rec} --out log.csv/r.html", ("log.csv/r.html", "is a file, not a folder")
    ),
    "report against nothing": Bad(
        "inspect {rec} --against runs/old", ("runs/old is not a folder", "genrec fit --out")
    ),
    "report against something else": Bad(
        "inspect {rec} --against .", (". is not a recommender: it has no recommender.json",)
    ),
    # items
    "items add to no recommender": Bad(
        "items add . --items items.csv", (". is not a recommender: it has no recommender.json",)
    ),
    "items add without a file": Bad("items add {rec}", ("Missing option '--items'",)),
    "no new items": Bad(
        "items add {rec} --items n.csv", ("n.csv: no rows",), {"n.csv": "item_id,title\n"}
    ),
    "one new id, two items": Bad(
        "items add {rec} --items n.csv",
        ("n.csv, row 2, column 'item_id', value 'x'", "row 1 with another title"),
        {"n.csv": "item_id,title\nx,Tent\nx,Stove\n"},
    ),
    "new items under an old id": Bad(
        "items add {rec} --items n.csv",
        ("n.csv, column 'item_id', value 'P0001'", "has this item already, with another title"),
        {"n.csv": "item_id,title\nx,Tent\nP0001,Stove\n"},
    ),
    "new items with another column": Bad(
        "items add {rec} --items n.csv",
        ("n.csv, column 'brands'", "no such column; did you mean 'brand'?"),
        {"n.csv": "item_id,brands\nx,Acme\n"},
    ),
    "new items without ids": Bad(
        "items add {rec} --items items.csv --item-id asin", ("items.csv, column 'asin'", "found")
    ),
    "new items into a folder that is there": Bad(
        "items add {rec} --items items.csv --out .", (". exists already", "leave it out to change")
    ),
    "new items with vectors nobody reads": Bad(
        "items add {rec} --items items.csv --vectors v.npy",
        ("fitted without vectors of your own",),
        {"v.npy": npy([[1.0]] * 5)},
    ),
    "a feed with another column": Bad(
        "items update {rec} --items n.csv",
        ("n.csv, column 'prices'", "no such column; did you mean 'price'?"),
        {"n.csv": "item_id,prices\nP0001,3\n"},
    ),
    "a feed with a price in words": Bad(
        "items update {rec} --items n.csv",
        ("n.csv, row 1, column 'price', value '$3'", "'P0001': the catalog holds double there"),
        {"n.csv": "item_id,price\nP0001,$3\n"},
    ),
    "a feed of other items": Bad(
        "items update {rec} --items n.csv --remove-missing",
        ("n.csv, column 'item_id', value 'x'", "all would be removed"),
        {"n.csv": "item_id,price\nx,3\n"},
    ),
    "a log without the column of events": Bad(
        f"{FIT} --event purchase --event-column ev",
        ("column 'ev'", "did you mean 'event'? Name it with --event-column (event= in Python)"),
        {"log.csv": "user_id,item_id,event\nu1,a1,purchase\n"},
    ),
    "a dry run that is to write": Bad(
        "items update {rec} --items items.csv --dry-run --out runs/new",
        ("--dry-run writes nothing: leave --out out",),
    ),
    "an unknown item to remove": Bad(
        "items remove {rec} --ids P0001,P0002x",
        ("'P0002x'", "item id 2 of 2 is not in the catalog", "similar ids: 'P0002'"),
    ),
    "an unknown item in a file to remove": Bad(
        "items remove {rec} --ids @gone.txt",
        ("gone.txt, line 2, value 'x'", "not in the catalog"),
        {"gone.txt": "P0001\nx\n"},
    ),
    "nothing to remove": Bad("items remove {rec} --ids ,", ("no item to remove",)),
    "remove from no recommender": Bad(
        "items remove runs/shop --ids a1", ("runs/shop is not a folder", "genrec fit --out")
    ),
    "unknown command of items": Bad("items delete {rec}", ("No such command 'delete'",)),
    "an adapter for no recommender": Bad(
        "adapters fit runs/shop --out out", ("runs/shop is not a folder", "genrec fit --out")
    ),
    "an adapter without rank": Bad("adapters fit {rec} --out out lora.rank=0", ("lora.rank",)),
    "an adapter of one recommender twice": Bad(
        "adapters fit {rec} --with {rec} --out out", ("given twice", "each recommender once")
    ),
    "an adapter into a folder that is there": Bad(
        "adapters fit {rec} --out out", ("out exists already",), {"out/x": "mine"}
    ),
    "an unknown adapter": Bad(
        "adapters combine {rec} --adapter books --out out",
        ("books is not a folder", "not a domain adapter", "genrec adapters fit"),
    ),
    "a weight for some adapters": Bad(
        "adapters combine {rec} --adapter a:0.5 --adapter b --out out",
        ("a weight is given for 1 of 2 adapters", "DIR:WEIGHT for each"),
    ),
    "weights stated and to be found": Bad(
        "adapters combine {rec} --adapter a:1 --weights similar --out out",
        ("--weights similar has nothing to find",),
    ),
    "settings of weights that are not learned": Bad(
        "adapters combine {rec} --adapter a --out out each_block=false",
        ("are for --weights learned: leave them out",),
    ),
    "unknown weights": Bad(
        "adapters combine {rec} --adapter a --weights best --out out", ("'best'", "learned")
    ),
    "demo's folder exists": Bad("demo --out out", ("out exists already",), {"out/x": "mine"}),
}


def contents(folder):
    """Every path below a folder, with its bytes."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder, with a good catalog and log."""
    (tmp_path / "items.csv").write_text(ITEMS)
    (tmp_path / "log.csv").write_text(LOG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_is_refused(bad, place, command, recommender_folder):
    for name, content in bad.files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = contents(place)
    answer = command(*bad.words.replace("{rec}", str(recommender_folder)).split())
    assert answer.status == 2, answer
    for expected in bad.says:
        assert expected in answer.message, answer.message
    assert answer.out == ""
    assert "Traceback" not in answer.err
    assert answer.message.count("Error") == 1
    assert contents(place) == before


PARTS = [
    "catalog.parquet",
    "interactions.parquet",
    "metrics.json",
    "recommender.json",
    "collaborative/model.safetensors",
    "encoder/vocabulary.json",
    "item_tokenizer/config.json",
    "language_model/model.safetensors",
    "language_model/tokenizer.json",
]


@pytest.fixture
def copy(recommender_folder, tmp_path):
    """A recommender folder that may be spoilt."""
    return shutil.copytree(recommender_folder, tmp_path / "copy")


@pytest.mark.parametrize("name", PARTS)
def test_a_changed_byte_is_refused(name, copy, command):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    answer = command("recommend", copy, "--history", "P0001")
    assert (answer.status, answer.out) == (2, "")
    assert name in answer.message
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("name", PARTS)
def test_a_missing_file_is_refused(name, copy, command):
    (copy / name).unlink()
    answer = command("evaluate", copy)
    assert (answer.status, answer.out) == (2, "")
    assert name in answer.message


def test_another_format_version_is_refused(copy, command):
    manifest = copy / "recommender.json"
    text = manifest.read_text().replace('"format_version": 1', '"format_version": 2')
    manifest.write_text(text)
    answer = command("inspect", copy)
    assert (answer.status, answer.out) == (2, "")
    assert "has format version 2" in answer.message
    assert "reads version 1" in answer.message


@pytest.mark.parametrize("words", [FIT.replace("items.csv", "nothing.csv"), "recommend . -k 0"])
def test_the_console_prints_one_message(place, words):
    """The same through a real process, as a shell sees it."""
    code = "from genrec.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split()], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("Error") == 1
    assert "Traceback" not in done.stderr


QUICK = (
    "training.max_steps=3 training.validations=1 encoder.dimension=4 collaborative.dimension=4 "
    "language_model.compact.width=8 language_model.compact.heads=1 language_model.compact.layers=1"
)
ODD = {
    "one user": {"log.csv": "user_id,item_id\nu,a1\nu,a2\nu,a3\n"},
    "two items": {
        "items.csv": "item_id,title\na1,Tent\na2,Rope\n",
        "log.csv": "user_id,item_id\nu,a1\nu,a2\nu,a1\n",
    },
    "two interactions a user": {"log.csv": "user_id,item_id\nu,a1\nu,a2\nv,a3\nv,a4\n"},
    "one item again and again": {"log.csv": "user_id,item_id\nu,a1\nu,a1\nu,a1\n"},
    "no titles": {"items.csv": "item_id\na1\na2\na3\na4\na5\n"},
    "one title for all": {"items.csv": ITEMS.replace("Rope", "Tent").replace("Cup", "Tent")},
    "titles with markup": {"items.csv": ITEMS.replace("Rope", "[/b] 2 m [red]")},
    "quotes, commas, emoji": {"items.csv": ITEMS.replace("Rope", '"Rope, ""thin"" 🧗"')},
}


@pytest.mark.parametrize("files", ODD.values(), ids=ODD)
def test_odd_but_good_inputs_work_to_the_end(files, place, command):
    for name, content in files.items():
        (place / name).write_text(content, encoding="utf-8")
    assert command(*FIT.split(), *QUICK.split()).status == 0
    assert not (place / "out.partial").exists()
    shown = command("recommend", "out", "--history", "a1", "-k", "9")
    assert shown.status == 0
    for title in ("[/b] 2 m [red]", 'Rope, "thin"'):
        assert (title in shown.out) == any(title[-4:] in text for text in files.values())
    assert command("inspect", "out").status == 0
    found = command("recommend", "out", "--history", "a1", "-k", "9", "--json").json
    items = (place / "items.csv").read_text(encoding="utf-8").count("\n") - 1
    comes_back = "u,a1\nu,a1\n" in files.get("log.csv", "")  # then a1 may be recommended again
    assert len(found["recommendations"]) == items - (not comes_back)
    assert command("evaluate", "out", "--baselines", "--json", "-").json["invalid"] == 0


def test_an_unwritable_folder_is_refused(place, command):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (place / "locked").mkdir(mode=0o500)
    answer = command(*FIT.replace("--out out", "--out locked/out").split())
    assert answer.status == 2
    assert "locked/out cannot be written: Permission denied" in answer.message
