"""Public data sets as their authors publish them, read by the commands of docs/your_data.md.

The rows are made up; names of files and columns, separators, encodings and kinds of values are the authors'.
"""

import gzip
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "your_data.md"
QUICK = [
    "encoder.dimension=16",
    "collaborative.dimension=8",
    "language_model.compact.width=16",
    "language_model.compact.layers=1",
    "language_model.compact.heads=2",
    "training.max_steps=4",
    "training.validations=1",
    "search.beams=10",
]
TITLES = ["Toy Fair", "Léon's Night", "Heat & Dust", "Jumanji Two", "Grumpy Old Cats", "Waiting"]
CLICKS = [(user, (user + time) % 6, time) for user in range(5) for time in range(4)]
"""User, item and time of each event."""


def lines(*rows):
    return "".join(row + "\n" for row in rows)


def json_lines(rows):
    return lines(*map(json.dumps, rows))


def movielens():
    genres = ["Comedy", "Drama|Crime", "Drama", "Adventure|Children's", "Comedy|Romance", "Drama"]
    movies = (
        f"{n + 1}::{title} ({1990 + n})::{kind}"
        for n, (title, kind) in enumerate(zip(TITLES, genres, strict=True))
    )
    ratings = (f"{u + 1}::{i + 1}::{1 + t}::{978300760 + t}" for u, i, t in CLICKS)
    return {
        "movies.dat": lines(*movies).encode("latin-1"),
        "ratings.dat": lines(*ratings).encode("latin-1"),
    }


def recbole():
    items = (f"{n + 1}\t{title}\t{1990 + n}\tComedy Children's" for n, title in enumerate(TITLES))
    log = (f"{u + 1}\t{i + 1}\t{1 + t}\t{881250949 + t}" for u, i, t in CLICKS)
    return {
        "ml-100k.item": lines(
            "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq", *items
        ),
        "ml-100k.inter": lines("user_id:token\titem_id:token\trating:float\ttimestamp:float", *log),
    }


def mind():
    entity = '[{"Label": "Prince Philip", "Type": "P", "WikidataId": "Q80976", "Confidence": 1.0}]'
    news = [
        f"N{n}\tlifestyle\tlifestyleroyals\t{title}\tShop the notebooks.\thttps://assets.msn.com/N{n}.html\t{entity}\t[]"
        for n, title in enumerate(TITLES)
    ]
    news[2] = news[2].replace("Heat & Dust", 'A 6" screen for "Heat')
    news[4] = news[4].replace("Shop the", '"Shop the')
    clicks = {user: " ".join(f"N{i}" for u, i, _ in CLICKS if u == user) for user in range(5)}
    rows = [
        f"{user + 1}\tU{user}\t11/11/2019 9:05:58 AM\t{before}\tN1-1 N3-0"
        for user, before in clicks.items()
    ]
    rows += [f"6\tU0\t11/12/2019 6:11:30 PM\t{clicks[0]}\tN2-0 N5-1"]
    return {"news.tsv": lines(*news), "behaviors.tsv": lines(*rows)}


def yoochoose():
    rows = (f"{u + 1},2014-04-07T10:5{t}:09.277Z,{214536500 + i},{i % 3}" for u, i, t in CLICKS)
    return {"yoochoose-clicks.dat": lines(*rows)}


def retailrocket():
    header = "timestamp,itemid,property,value"
    first = [f"14354604{n}0000,{460400 + n},categoryid,{1338 + n % 3}" for n in range(6)]
    second = [f"14410896{n}0000,{460400 + n},888,1116713 960601 n277.200" for n in range(6)]
    second += ["1441508400000,460401,categoryid,7", "1439089200000,460402,available,0"]
    log = [f"143322173{t}827,{257597 + u},view,{460400 + i}," for u, i, t in CLICKS]
    log += ["1433223236124,257597,view,99999,", "1433223236125,257598,transaction,460401,4000"]
    return {
        "item_properties_part1.csv": lines(header, *first),
        "item_properties_part2.csv": lines(header, *second),
        "events.csv": lines("timestamp,visitorid,event,itemid,transactionid", *log),
    }


def otto():
    kinds = ["clicks", "carts", "orders", "clicks"]
    sessions = [
        {
            "session": user,
            "events": [
                {"aid": 59625 + i, "ts": 1661724000278 + t, "type": kinds[t]}
                for u, i, t in CLICKS
                if u == user
            ],
        }
        for user in range(5)
    ]
    return {"otto-recsys-train.jsonl": json_lines(sessions)}


def hm():
    articles = (
        f"010877501{n},0108775,{title},253,Vest top,Garment Upper body,Solid,09,Black,"
        f'"Jersey top, with narrow straps."'
        for n, title in enumerate(TITLES)
    )
    log = (f"2018-09-2{t},{u:064x},010877501{i},0.0508{t},2" for u, i, t in CLICKS)
    return {
        "articles.csv": lines(
            "article_id,product_code,prod_name,product_type_no,product_type_name,product_group_name,"
            "graphical_appearance_name,colour_group_code,colour_group_name,detail_desc",
            *articles,
        ),
        "transactions_train.csv": lines(
            "t_dat,customer_id,article_id,price,sales_channel_id", *log
        ),
    }


def steam():
    games = [
        f"{{u'publisher': u'Kotoshiro', u'genres': [u'Action', u'Indie'], u'app_name': u{title!r}, "
        f"u'url': u'http://store.steampowered.com/app/{n}', u'release_date': u'2018-01-0{n + 1}', "
        f"u'price': {n}.99, u'early_access': False, u'id': u'76114{n}'}}"
        for n, title in enumerate(TITLES)
    ]
    games += ["{u'publisher': u'', u'price': 19.99, u'early_access': False}"]
    reviews = [
        f"{{u'username': u'Chaos Syren {u}', u'hours': 0.{t}, u'products': 41, u'product_id': u'76114{i}', "
        f"u'page_order': 0, u'date': u'2017-12-1{t}', u'text': u'It\\'s \"fine\"', u'page': 1}}"
        for u, i, t in CLICKS
    ]
    reviews += [reviews[0].replace("761140", "42")]
    return {
        "steam_games.json.gz": gzip.compress(lines(*games).encode()),
        "steam_reviews.json.gz": gzip.compress(lines(*reviews).encode()),
    }


def amazon():
    items = [
        {
            "main_category": "All Beauty",
            "title": title,
            "average_rating": 4.8,
            "rating_number": 10,
            "features": [],
            "description": ["Soft."] if n % 2 else [],
            "price": 9.5 if n % 2 else None,
            "images": [{"thumb": "https://m.media-amazon.com/images/I/41.jpg", "hi_res": None}],
            "videos": [],
            "store": "Howard Products",
            "categories": [],
            "details": {"Package Dimensions": "7 x 5 inches", "UPC": "61739999860"}
            if n % 2
            else {"package dimensions": "1 x 1 inches"},
            "parent_asin": f"B01CUPMQZ{n}",
            "bought_together": None,
        }
        for n, title in enumerate(TITLES)
    ]
    reviews = [
        {
            "rating": 5.0,
            "title": "Such a lovely scent",
            "text": 'Not "heavy".\nI like it.',
            "images": [],
            "asin": "B00YQ6X8EO",
            "parent_asin": f"B01CUPMQZ{i}",
            "user_id": f"AGKHLEW2SOWHNMFQIJGBECAF7IN{u}",
            "timestamp": 1588687728923 + t,
            "helpful_vote": 0,
            "verified_purchase": True,
        }
        for u, i, t in CLICKS
    ]
    return {
        "meta_All_Beauty.jsonl.gz": gzip.compress(json_lines(items).encode()),
        "All_Beauty.jsonl.gz": gzip.compress(json_lines(reviews).encode()),
    }


def instacart():
    products = (f'{n + 1},"{title}, 6 oz",{61 + n},19' for n, title in enumerate(TITLES))
    orders = (
        f"{10 * u + t},{u + 1},prior,{t + 1},2,08,{'' if t == 0 else '15.0'}"
        for u in range(5)
        for t in range(4)
    )
    bought = (f"{10 * u + t},{i + 1},1,{int(t > 0)}" for u, i, t in CLICKS)
    return {
        "products.csv": lines("product_id,product_name,aisle_id,department_id", *products),
        "orders.csv": lines(
            "order_id,user_id,eval_set,order_number,order_dow,order_hour_of_day,days_since_prior_order",
            *orders,
        ),
        "order_products__prior.csv": lines(
            "order_id,product_id,add_to_cart_order,reordered", *bought
        ),
    }


SETS = {
    "MovieLens 1M": (movielens, "20 kept"),
    "RecBole": (recbole, "20 kept"),
    "MIND": (mind, "20 kept"),
    "yoochoose": (yoochoose, "20 kept"),
    "Retailrocket": (retailrocket, "21 kept"),
    "OTTO": (otto, "15 kept"),
    "H&M": (hm, "20 kept"),
    "Steam": (steam, "20 kept"),
    "Amazon Reviews 2023": (amazon, "20 kept"),
    "Instacart": (instacart, "20 kept"),
}
"""Heading of the document -> what writes the files, and what must be read of them."""


def blocks():
    """Heading -> its script (or none) and its command, of the section on public data sets."""
    section = DOCUMENT.read_text(encoding="utf-8").split("\n## Public data sets\n")[1]
    found = {}
    for part in section.split("\n## ")[0].split("\n### ")[1:]:
        scripts = re.findall(r"```python\n(.+?)```", part, re.DOTALL)
        [line] = re.findall(r"```bash\n(.+?)```", part, re.DOTALL)
        found[part.split("\n")[0]] = "".join(scripts), line.replace("\\\n", " ")
    return found


def test_each_data_set_of_the_document_is_tried():
    assert list(blocks()) == list(SETS)


@pytest.mark.parametrize("name", SETS)
def test_its_files_are_read_by_the_commands_of_the_document(
    name, tmp_path, monkeypatch, command, caplog
):
    written, kept = SETS[name]
    monkeypatch.chdir(tmp_path)
    for file, content in written().items():
        Path(file).write_bytes(content if isinstance(content, bytes) else content.encode())
    script, line = blocks()[name]
    subprocess.run([sys.executable, "-c", script], check=True)
    answer = command(*shlex.split(line)[1:], *QUICK)
    assert answer.status == 0, answer.err
    assert "6 rows read, 6 kept" in caplog.text
    assert kept in caplog.text
    out = Path(line.split("--out ")[1].strip())
    assert (out / "recommender.json").is_file()
