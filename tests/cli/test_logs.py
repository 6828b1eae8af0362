"""Options of ``genrec fit`` and its like that say how a log is to be read."""

import json

import pytest

ITEMS = "item_id,title\n" + "".join(f"i{n},lamp {n}\n" for n in range(20))
QUICK = {
    "encoder": {"dimension": 8},
    "collaborative": {"dimension": 4},
    "language_model": {"compact": {"width": 16, "layers": 1, "heads": 2}},
    "training": {"max_steps": 4, "batch_items": 128, "validations": 1},
    "search": {"beams": 10},
}


def fit(tmp_path, log, ending=".csv"):
    """The words of a fit on a log."""
    (tmp_path / "items.csv").write_text(ITEMS)
    (tmp_path / f"log{ending}").write_text(log)
    (tmp_path / "quick.yaml").write_text(json.dumps(QUICK))
    words = ["fit", "--items", tmp_path / "items.csv", "--interactions", tmp_path / f"log{ending}"]
    return [*words, "--config", tmp_path / "quick.yaml", "--out", tmp_path / "out"]


def events(missing):
    rows = (
        f"{'' if (u + t) % missing == 0 else f'u{u}'},i{(u + t) % 20},{t}"
        for u in range(20)
        for t in range(8)
    )
    return "user_id,item_id,timestamp\n" + "\n".join(rows) + "\n"


def test_rows_without_a_user(tmp_path, command, caplog):
    words = fit(tmp_path, events(missing=4))
    refused = command(*words)
    assert refused.status == 2
    assert "row 1, column 'user_id', value '': the id is empty" in refused.message
    assert "(40 of 160 interactions have none)" in refused.message
    assert "--missing-users drop" in refused.message
    assert not (tmp_path / "out").exists()
    assert command(*words, "--missing-users", "drop").status == 0
    assert "160 of 160 rows read, 40 dropped (no user), 120 kept" in caplog.text
    users = tmp_path / "users.csv"
    users.write_text("user_id,item_id\n,i3\nu,i4\n")
    asked = ["recommend", tmp_path / "out", "--input", users, "--json"]
    assert command(*asked).status == 2
    assert [row["user_id"] for row in command(*asked, "--missing-users", "drop").json] == ["u"]
    moved = [
        "transfer",
        tmp_path / "out",
        "--items",
        tmp_path / "items.csv",
        "--out",
        tmp_path / "moved",
    ]
    moved += ["--interactions", tmp_path / "log.csv"]
    assert command(*moved).status == 2
    assert command(*moved, "--missing-users", "drop").status == 0


@pytest.mark.parametrize(
    ("list_of", "ending"),
    [(str, ".tsv"), (" ".join, ".tsv"), ("^".join, ".csv"), (json.dumps, ".tsv")],
)
def test_lists_as_others_write_them(tmp_path, command, caplog, list_of, ending):
    between = "\t" if ending == ".tsv" else ","
    lines = [f"u{u}{between}{list_of([f'i{(u + t) % 20}' for t in range(6)])}" for u in range(20)]
    if list_of is json.dumps:  # a TSV of quotes, as a writer of CSV quotes them
        lines = [line.replace('"', '""').replace("\t", '\t"') + '"' for line in lines]
    done = command(*fit(tmp_path, "\n".join([f"user_id{between}item_id", *lines]) + "\n", ending))
    assert done.status == 0, done.message
    assert "20 rows in the file, 120 interactions read, 120 kept" in caplog.text
    assert "one row a user, 20 rows" in caplog.text


def test_a_separator_that_has_to_be_said(tmp_path, command, caplog):
    lines = [f"u{u},{'~'.join(f'i{(u + t) % 20}' for t in range(6))}" for u in range(20)]
    words = fit(tmp_path, "\n".join(["user_id,item_id", *lines]) + "\n")
    assert command(*words).status == 2
    assert command(*words, "--history-separator", "~").status == 0
    assert "20 rows in the file, 120 interactions read, 120 kept" in caplog.text


def test_a_list_with_strangers_asks_for_the_separator_and_takes_it(tmp_path, command, caplog):
    lines = [f"u{u},{'^'.join(f'i{(u + t) % 20}' for t in range(5))}^gone" for u in range(20)]
    words = fit(tmp_path, "\n".join(["user_id,item_id", *lines]) + "\n")
    words += ["--unknown-items", "drop"]
    refused = command(*words)
    assert refused.status == 2
    assert "--history-separator '^'" in refused.message
    assert command(*words, "--history-separator", "^").status == 0
    assert (
        "20 rows in the file, 120 interactions read, 20 dropped (unknown item), 100 kept"
        in caplog.text
    )


def test_single_ids_that_hold_separators(tmp_path, command, caplog):
    """The refusal names both ways out, and each works."""
    rows = [f"u{u},i{(u + t) % 20}" for u in range(20) for t in range(6)] + ["u0,i1->i2"]
    words = fit(tmp_path, "\n".join(["user_id,item_id", *rows]) + "\n")
    refused = command(*words)
    assert refused.status == 2
    assert "value 'i1->i2': the item is not in the catalog" in refused.message
    assert "--history-separator '->'" in refused.message
    no = ["--history-separator", "no", "--unknown-items", "drop"]
    assert command(*words, *no).status == 0
    assert "1 dropped (unknown item), 120 kept" in caplog.text
    assert command(*words, "--overwrite", "--history-separator", "->").status == 0
    assert "121 rows in the file, 122 interactions read, 122 kept" in caplog.text


def test_lists_beside_one_time(tmp_path, command, caplog):
    """As MIND's impressions: the hint names all that has to be said."""
    lists = [" ".join(f"i{(u + t) % 20}" for t in range(6)) for u in range(20)]
    rows = [f"u{u},{items},11/{u + 1}/2019 9:55:12 AM" for u, items in enumerate(lists)]
    words = fit(tmp_path, "\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    refused = command(*words)
    assert refused.status == 2
    assert "--history-separator ' '" in refused.message
    assert "--timestamp ''" in refused.message
    refused = command(*words, "--history-separator", "space")
    assert refused.status == 2
    assert "one time a row cannot order the row's list of items" in refused.message
    assert "--timestamp ''" in refused.message
    done = command(*words, "--history-separator", "space", "--timestamp", "")
    assert done.status == 0, done.message
    assert "20 rows in the file, 120 interactions read, 120 kept" in caplog.text


def test_a_robot_is_named_and_told(tmp_path, command, caplog):
    shoppers = [f"u{u},i{(u + t) % 20},{t}" for u in range(40) for t in range(6)]
    robot = [f"robot,i{7 * t % 20},{t}" for t in range(1500)]
    words = fit(tmp_path, "\n".join(["user_id,item_id,timestamp", *shoppers, *robot]) + "\n")
    assert command(*words).status == 0
    assert (
        "user 'robot' holds 90.3% of the training events (1,498 of 1,658): 16 of them count"
        in caplog.text
    )
    good = command("evaluate", tmp_path / "out", "-k", 1, "--json", "-").json["metrics"]["recall@1"]
    assert command(*words, "--overwrite", "split.heavy_user_share=1").status == 0
    bad = command("evaluate", tmp_path / "out", "-k", 1, "--json", "-").json["metrics"]["recall@1"]
    assert good > 0.9 > 0.5 > bad, (good, bad)
