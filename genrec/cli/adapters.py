"""``genrec adapters``: one small update a domain, and their combination for a new catalog."""

from __future__ import annotations

from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrec.cli.inputs import open_recommender
from genrec.cli.options import Folder, OnceCommand
from genrec.cli.output import log_lines
from genrec.common.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from genrec.fitting.adapters.folder import DomainAdapter
    from genrec.generative_recommender import GenerativeRecommender

__all__ = ["commands"]

commands = typer.Typer(
    name="adapters",
    help="Give the domains of a shared language model an adapter each, and combine them for a new catalog.",
    epilog="[bold]Example[/]   genrec adapters fit runs/both/books --out runs/adapters/books",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


class Weights(StrEnum):
    """Where the weights of adapters come from."""

    equal = "equal"
    similar = "similar"
    learned = "learned"


Out = Annotated[Path, typer.Option(help="Folder to make.")]
Config = Annotated[Path | None, typer.Option(help="YAML file of settings.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing --out.")]
Restart = Annotated[bool, typer.Option("--restart", help="Discard an unfinished run.")]
Words = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings, such as lora.rank=8.")
]


@commands.command(
    cls=OnceCommand,
    epilog="[bold]Examples[/]\n\n"
    "genrec adapters fit runs/both/books --out runs/adapters/books lora.rank=8\n\n"
    "genrec adapters fit runs/both/books --with runs/both/games --out runs/adapters/all",
)
def fit(
    folder: Folder,
    out: Out,
    settings: Words = None,
    more: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="DIR",
            help="Another recommender of the same language model, for one adapter of all; repeatable.",
        ),
    ] = None,
    config: Config = None,
    overwrite: Overwrite = False,
    restart: Restart = False,
) -> None:
    """Train a small adapter on a recommender's log beside its language model, which stays as it is.

    A run that was interrupted goes on where it stood when the same command is run again.
    """
    from genrec.common.config import load_settings
    from genrec.fitting.adapters.fit import AdapterSettings, fit_adapter

    with _reserved(out, overwrite):
        chosen = load_settings(AdapterSettings, config, settings or [])
        folders = [folder, *(more or [])]
        domains = {
            name: open_recommender(each, "auto", merged=True)
            for name, each in zip(_names(folders), folders, strict=True)
        }
        fit_adapter(domains, chosen, out, overwrite=overwrite, restart=restart)
    log_lines(
        [
            f"adapter in {out}; next: genrec adapters combine DIR --adapter {out} --adapter … --out DIR2"
        ]
    )


@commands.command(
    cls=OnceCommand,
    epilog="[bold]Examples[/]\n\n"
    "genrec adapters combine runs/films --adapter runs/adapters/books --adapter runs/adapters/games "
    "--out runs/films_equal\n\n"
    "genrec adapters combine runs/films --adapter runs/adapters/books:0.7 --adapter runs/adapters/games:0.3 "
    "--out runs/films_stated\n\n"
    "genrec adapters combine runs/films --adapter runs/adapters/books --adapter runs/adapters/games "
    "--weights learned --out runs/films_learned training.min_steps=400",
)
def combine(
    folder: Folder,
    adapter: Annotated[
        list[str],
        typer.Option(
            metavar="DIR[:WEIGHT]", help="A domain adapter; repeatable, weights for all or none."
        ),
    ],
    out: Out,
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE", help="Settings of learned weights, such as each_block=false."
        ),
    ] = None,
    weights: Annotated[
        Weights | None,
        typer.Option(
            help="Where weights come from that are not stated: equal, similar (by the products' texts), or "
            "learned from the recommender's log.",
            show_default="equal",
        ),
    ] = None,
    config: Config = None,
    overwrite: Overwrite = False,
    restart: Restart = False,
) -> None:
    """Add domain adapters to a recommender's language model; an ordinary recommender comes out.

    The recommender is the one that the adapters were made for, or one transferred from it to a new catalog.
    """
    from genrec.fitting.adapters.combine import combine as combined
    from genrec.fitting.adapters.folder import open_adapters

    folders, stated = _stated(adapter, weights)
    learns = weights is Weights.learned
    if not learns and (settings or config or restart):
        raise InputError(
            "settings, --config and --restart are for --weights learned: leave them out"
        )
    with _reserved(out, overwrite):
        adapters = open_adapters(folders)
        recommender = open_recommender(folder, "auto", merged=True)
        if learns:
            from genrec.common.config import load_settings
            from genrec.fitting.adapters.learn import WeightSettings, learn_weights

            chosen = load_settings(WeightSettings, config, settings or [])
            learn_weights(recommender, adapters, chosen, out, overwrite=overwrite, restart=restart)
        else:
            found = stated or _weights(recommender, adapters, weights)
            combined(recommender, adapters, found).save_pretrained(out, overwrite=overwrite)
    log_lines([f"recommender in {out}; next: genrec evaluate {out} --baselines"])


def _names(folders: list[Path]) -> list[str]:
    """A name for each recommender: its folder's, with the one above it where that is not enough."""
    whole = [folder.resolve() for folder in folders]
    for twice in whole:
        if whole.count(twice) > 1:
            raise InputError(f"{twice.name} is given twice: give each recommender once")
    names = [folder.name for folder in whole]
    if len(set(names)) < len(names):
        names = [f"{folder.parent.name}/{folder.name}" for folder in whole]
    return names


def _reserved(out: Path, overwrite: bool) -> AbstractContextManager[None]:
    from genrec.common.artifacts import reserved

    return reserved(
        out, overwrite=overwrite, advice="choose another --out, or replace it with --overwrite"
    )


def _weights(
    recommender: GenerativeRecommender, adapters: Sequence[DomainAdapter], kind: Weights | None
) -> NDArray[np.float64]:
    from genrec.fitting.adapters.combine import equal_weights, similar_weights

    if kind is Weights.similar:
        return similar_weights(recommender, adapters)
    return equal_weights(adapters)


def _stated(words: list[str], kind: Weights | None) -> tuple[list[Path], list[float]]:
    """Folders, and the weights behind their colons: one for each, or none at all."""
    from genrec.data.vectors import split_weight

    pairs = [split_weight(word) for word in words]
    weights = [weight for _, weight in pairs if weight is not None]
    if weights and len(weights) < len(pairs):
        raise InputError(
            f"a weight is given for {len(weights)} of {len(pairs)} adapters: give DIR:WEIGHT for each, or "
            "DIR alone"
        )
    if weights and kind is not None:
        raise InputError(
            f"weights are stated behind the adapters, so --weights {kind} has nothing to find: leave one out"
        )
    return [Path(path) for path, _ in pairs], weights
