"""Make a small base language model at home: BPE tokenizer and weights from a catalog's own texts.

    python train/pretrain.py train/pretrain_demo.yaml [base.training.epochs=3 …]
    python train/sft.py train/sft_home_demo.yaml

Where a pretrained model from the hub cannot be had, the second command tunes this one like any other. A run
that was interrupted goes on where it stood when the same command is given again.
"""

from pathlib import Path

from genrec.common.config import Settings
from genrec.common.recipe import run_recipe
from genrec.data.item_text import ItemTemplate
from genrec.data.settings import DataSettings
from genrec.fitting.pretrain import BaseModelSettings, pretrain


class Config(Settings):
    """From which texts, how, and where to."""

    data: DataSettings
    """The catalog whose texts are learned from."""
    template: ItemTemplate = ItemTemplate()
    """Which fields make an item's text."""
    base: BaseModelSettings = BaseModelSettings()
    """Shape of the model, and how it learns."""
    out: Path
    """Folder of the base model to make."""
    overwrite: bool = False
    """Whether an existing folder is replaced."""


def main(config: Config) -> None:
    """Learn from every text of the catalog, each followed by its title alone."""
    catalog, _ = config.data.read()
    texts = [*catalog.texts(config.template), *catalog.titles]
    result = pretrain(
        [text for text in texts if text], config.base, config.out, overwrite=config.overwrite
    )
    loss = result.curve[-1]["loss"]
    speed = result.throughput["tokens_per_second"]
    print(f"loss {loss:.3f} nats a token, {speed:,.0f} tokens/s")
    print(f"base model in {config.out}; next: language_model.backbone={config.out}")


if __name__ == "__main__":
    run_recipe(main, Config)
