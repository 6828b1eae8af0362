"""Export of the language model, as a folder that needs no genrec: Transformers and vLLM read it.

An adapter is merged into its base model, quantized or not. Beside the weights lie the items with the tokens
of their semantic IDs, the trie, and a README with a program that generates items.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from genrec.common.artifacts import atomic_folder, reserved
from genrec.common.errors import InputError
from genrec.common.manifest import read_manifest
from genrec.language_model import LanguageModel
from genrec.recommender.components import weights_of
from genrec.recommender.settings import FitSettings, read_settings
from genrec.recommender.tables import read_catalog

if TYPE_CHECKING:
    from genrec.data.catalog import Catalog
    from genrec.semantic_ids.semantic_ids import SemanticIds

__all__ = ["export_model"]


def export_model(folder: str | Path, out: str | Path, *, base: str | None = None) -> None:
    """Write the language model of the recommender in `folder` as a plain model, into `out`.

    Args:
        folder: made by `GenerativeRecommender.save_pretrained`.
        out: folder to make: weights and tokenizer for Transformers, ``items.parquet`` (item_id, title,
            tokens), ``trie.safetensors`` and ``README.md``.
        base: where the pretrained model of an adapter lies now, if not where the fit found it.

    Raises:
        RecommenderError: `folder` is no whole recommender, or the base model of its adapter is gone.
        InputError: `out` exists or cannot be written.
    """
    with reserved(Path(out), advice="choose another --out"):
        _export(Path(folder), Path(out), base)


def _export(folder: Path, out: Path, base: str | None) -> None:
    from genrec.decoding import Trie

    settings = read_settings(read_manifest(folder)["settings"], source=str(folder))
    chosen = settings.language_model.replace(quantization="none")
    chosen = chosen if base is None else chosen.replace(backbone=base)
    catalog, ids = read_catalog(folder)
    language_model = LanguageModel.load(
        folder / "language_model", chosen, ids.codebook_sizes, merged=True
    )
    if language_model.item_projection is not None:
        raise InputError(
            "this language model reads items' vectors beside their codes, which Transformers and vLLM know "
            "nothing of: fit it with language_model.item_vectors=none to export it"
        )
    if language_model.pointer is not None:
        raise InputError(
            "this language model points at items beside writing their codes, which Transformers and vLLM "
            "know nothing of: fit it with language_model.pointer=false to export it"
        )
    if language_model.item_attention != "causal":
        raise InputError(
            "this language model sees all codes of an item at once, which Transformers and vLLM do not let "
            "it: fit it with language_model.item_attention=causal to export it"
        )
    with atomic_folder(out) as building:
        language_model.save(building)
        _write_items(catalog, ids, language_model, building / "items.parquet")
        Trie.build(ids.codes, ids.codebook_sizes).save(building / "trie.safetensors")
        readme = _readme(language_model, settings)
        (building / "README.md").write_text(readme, encoding="utf-8")


def _write_items(
    catalog: Catalog, ids: SemanticIds, language_model: LanguageModel, path: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tokenizer, rows = language_model.tokenizer, language_model.vocabulary.encode(ids.codes)
    tokens = ["".join(tokenizer.convert_ids_to_tokens(row)) for row in rows.tolist()]
    items = {"item_id": catalog.item_ids, "title": catalog.titles, "tokens": tokens}
    pq.write_table(pa.table(items), path)


def _readme(language_model: LanguageModel, settings: FitSettings) -> str:
    levels, max_items = len(language_model.vocabulary.codebook_sizes), settings.training.max_items
    memory = (
        "\nThe recommender mixes these scores with other components (counts of its log, likeness of texts, a "
        "text model). They are not in this folder, so its lists are the language model's alone.\n"
        if any(weights_of(settings).values())
        else ""
    )
    return f"""\
# A language model that recommends items

Exported by [genrec](https://pypi.org/project/genrec/). Each item is {levels} tokens: `items.parquet` has
them, with ids and titles. A prompt is a fixed beginning and the tokens of a history of at most {max_items}
items, oldest first. The {levels} tokens that follow are the next item.
{memory}
Transformers reads this folder as any other causal language model (`AutoModelForCausalLM`, `AutoTokenizer`).
Left to itself, it may write tokens that are no item; the trie of the catalog (`trie.safetensors`) allows
only those that are. With `pip install genrec`, run in this folder:

```python
import pyarrow.parquet as pq
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessorList

from genrec.decoding import CatalogLogitsProcessor, Trie
from genrec.language_model import CodeVocabulary

model = AutoModelForCausalLM.from_pretrained(".").eval()
tokenizer = AutoTokenizer.from_pretrained(".")
items = pq.read_table("items.parquet").to_pylist()
trie = Trie.load("trie.safetensors")
vocabulary = CodeVocabulary.of(tokenizer, trie.codebook_sizes)

history = [items[0], items[1]]
words = "".join(item["tokens"] for item in history)
beginning = {language_model.prefix}
prompt = [*beginning, *tokenizer(words, add_special_tokens=False)["input_ids"]]
prompt = torch.tensor([prompt])
processor = CatalogLogitsProcessor(trie, vocabulary, prompt.shape[1])
sequences = model.generate(
    prompt, attention_mask=torch.ones_like(prompt), logits_processor=LogitsProcessorList([processor]),
    num_beams=10, num_return_sequences=10, do_sample=False,
    max_new_tokens=trie.levels, eos_token_id=None, pad_token_id=0,
)
for row in processor.items(sequences).tolist():
    print(items[row]["item_id"], items[row]["title"])
```
"""
