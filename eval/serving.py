"""What a served recommender can do: requests a second, latency, refusals and memory, on one machine.

    python eval/serving.py eval/serving_demo.yaml [clients=32 …]

Two servers run side by side, one that gathers requests into shared searches and one that does not; the
clients turn to one and to the other, round by round. A third, with a short queue, gets more than it can take.
"""

from collections import Counter
from pathlib import Path

from bench.load import Answers, Served, ask, drive, memory_of, post, served
from genrec import GenerativeRecommender
from genrec.common.artifacts import provenance, require_file
from genrec.common.config import Settings
from genrec.common.recipe import run_recipe, write_results


class Config(Settings):
    """What is served, who asks, and for how long."""

    recommender: Path
    """Folder of a fitted recommender."""
    clients: int = 32
    """That ask at once, each its next request when it has its answer."""
    rounds: int = 3
    """Turns to each of the two servers."""
    seconds: float = 5.0
    """Of each turn."""
    users: int = 1000
    """Whose histories are sent, from the recommender's own log."""
    k: int = 10
    """Items asked for."""
    max_batch: int = 16
    """Of the server that gathers."""
    memory_requests: int = 10_000
    """Requests between the two looks at the memory."""
    queue: int = 8
    """Of the server that gets too much."""
    out: Path = Path("runs/serving.json")
    """JSON document; the table goes beside it, ending in .md."""


def main(config: Config) -> None:
    """Measure, write and print."""
    require_file(config.out)
    recommender = GenerativeRecommender.from_pretrained(config.recommender, merged=True)
    ids, users = recommender.catalog.item_ids, list(recommender.log.histories)[: config.users]
    histories = [[ids[item] for item in history] for history in users]
    requests = [post("/recommend", {"history": h, "k": config.k}) for h in histories]
    batched, single = ("--max-batch", str(config.max_batch)), ("--max-batch", "1")
    with served(config.recommender, *batched) as one, served(config.recommender, *single) as two:
        servers = {"gathered": one, "each by itself": two}
        agreeing = {name: agree(s, recommender, histories, config.k) for name, s in servers.items()}
        measured = take_turns(servers, requests, config)
        before = memory_of(one)
        many = drive(one, requests, clients=config.clients, count=config.memory_requests)
        grown = memory_of(one) - before
    with served(config.recommender, *single, "--queue", str(config.queue)) as short:
        beyond = drive(short, requests, clients=config.clients, seconds=config.seconds)
    document = {
        "servers": {name: a.facts() | agreeing[name] for name, a in measured.items()},
        "memory": many.facts() | {"bytes_before": before, "bytes_more": grown},
        "short_queue": beyond.facts() | {"queue": config.queue},
        "config": config.model_dump(mode="json"),
        "provenance": provenance(),
    }
    table = as_table(document)
    write_results(config.out, document, table)
    print(table)


def agree(
    server: Served, recommender: GenerativeRecommender, histories: list[list[str]], k: int
) -> dict:
    """How many of a hundred users get the very list that the recommender says."""
    same = 0
    for history in histories[:100]:
        _, found = ask(server, post("/recommend", {"history": history, "k": k}))
        expected = [item.item_id for item in recommender.recommend([history], k=k)[0]]
        same += [item["item_id"] for item in found["recommendations"]] == expected
    return {"asked_alone": len(histories[:100]), "same_lists": same}


def take_turns(servers: dict[str, Served], requests: list[bytes], config: Config) -> dict:
    """Ask each server in turn; the first turn warms both up and does not count."""
    measured = {name: Answers(0.0, Counter(), ()) for name in servers}
    for turn in range(config.rounds + 1):
        for name, server in servers.items():
            seconds = config.seconds if turn else config.seconds / 4
            answers = drive(server, requests, clients=config.clients, seconds=seconds)
            measured[name] = measured[name] + answers if turn else measured[name]
    return measured


def as_table(document: dict) -> str:
    """The results as a Markdown table."""
    rows = document["servers"] | {
        f"gathered, {sum(document['memory']['statuses'].values()):,} requests": document["memory"],
        f"each by itself, queue of {document['short_queue']['queue']}": document["short_queue"],
    }
    lines = ["| requests | a second | p50 | p99 | answered | 429 | errors |", "|---|" + "---:|" * 6]
    for name, row in rows.items():
        statuses = Counter(row["statuses"])
        errors = statuses.total() - statuses[200] - statuses[429]
        lines.append(
            f"| {name} | {row['requests_per_second']:.0f} | {row['p50_ms']:.1f} ms "
            f"| {row['p99_ms']:.1f} ms | {statuses[200]:,} | {statuses[429]:,} | {errors} |"
        )
    more, before = document["memory"]["bytes_more"], document["memory"]["bytes_before"]
    lines += [
        "",
        f"Memory: {before / 2**20:.0f} MiB, {more / 2**20:+.1f} MiB after the row of many.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    run_recipe(main, Config)
