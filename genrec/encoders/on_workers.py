"""Encoder on Ray workers, for catalogs too large for one machine's patience.

Each worker loads the model once and encodes whole parts of the texts. A part is encoded as this process would
encode it, in the same batches, so the vectors are the same to 1e-5, and to the bit on machines of one kind
with as many threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from genrec.common.progress import progress
from genrec.common.ray_workers import RaySettings, Work, on_workers
from genrec.encoders.pretrained import SentenceTransformerEncoder, SentenceTransformerSettings

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RayEncoder"]

_PART_TEXTS = 5_000


class RayEncoder:
    """Encodes on many machines what `SentenceTransformerEncoder` encodes on one; saved, it is that one.

    A model that is a folder must lie under the same path on every machine.

    Args:
        encoder: what each worker has a copy of; its device is theirs.
        ray: which machines.
    """

    def __init__(self, encoder: SentenceTransformerEncoder, ray: RaySettings) -> None:
        self.encoder, self.ray = encoder, ray

    @property
    def dimension(self) -> int:
        """D, the size of the vectors."""
        return self.encoder.dimension

    def fit(self, texts: Sequence[str]) -> Self:
        """Do nothing: the model is pretrained."""
        return self

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return vectors `(N, D)` of texts.

        Raises:
            InputError: the cluster cannot be used, or a worker cannot load the model.
        """
        starts = range(0, len(texts), _PART_TEXTS)
        parts = [texts[start : start + _PART_TEXTS] for start in starts]
        empty = np.zeros((0, self.dimension), np.float32)
        return np.concatenate([empty, *self.encode_parts(parts)])

    def encode_parts(self, parts: Iterable[Sequence[str]]) -> Iterator[NDArray[np.float32]]:
        """Yield the vectors `(M, D)` of one part of the texts after another; parts go to workers whole."""
        import pyarrow as pa

        rows = [
            pa.table({"texts": pa.array([list(part)], pa.list_(pa.string()))}) for part in parts
        ]
        device = self.encoder.device
        with progress("Encoding texts", len(rows)) as advance:
            for row in on_workers(rows, _open_work, (self.encoder.settings,), self.ray, device):
                vectors = row["vectors"].combine_chunks().flatten()
                yield vectors.to_numpy().reshape(row["texts"][0].as_py(), -1)
                advance(1)

    def save(self, folder: str | Path) -> None:
        """Write what `load_encoder` reads back as an encoder of one machine."""
        self.encoder.save(folder)

    def fingerprint(self) -> str:
        """Return that of the encoder: the vectors are the same, so they share a cache."""
        return self.encoder.fingerprint()


def _open_work(device: str, settings: SentenceTransformerSettings) -> Work:
    encoder = SentenceTransformerEncoder(settings, device)

    def work(row: pa.Table) -> pa.Table:
        import pyarrow as pa

        vectors = encoder.encode(row["texts"][0].as_py())
        flat = pa.array([vectors.ravel()], pa.list_(pa.float32()))
        return pa.table({"texts": [len(vectors)], "vectors": flat})

    return work
