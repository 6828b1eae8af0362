"""Cache of vectors on disk, by content: the same text or image through the same encoder is encoded once.

A cache folder holds one subfolder per encoder fingerprint and in it shards of hashes and vectors. A
shard is written under another name and renamed, and carries a checksum: a run cut off leaves nothing
half-written, and a damaged shard is thrown away and made again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from genrec.encoders.base import TextEncoder

__all__ = ["cached_vectors", "encode_cached"]

logger = logging.getLogger(__name__)

SHARD = 5_000
"""Most texts or images between two writes: what an interrupted run may lose."""


def encode_cached(
    encoder: TextEncoder, texts: Sequence[str], cache_folder: str | Path
) -> NDArray[np.float32]:
    """Return ``encoder.encode(texts)``, `(N, D)`, encoding only texts not seen before.

    Args:
        encoder: fitted, if it is of a kind that is.
        texts: N texts; equal ones are encoded once.
        cache_folder: made if absent; may serve many encoders and catalogs.
    """
    keys = [_digest(text) for text in texts]

    def encode(parts: Iterable[Sequence[int]]) -> Iterator[NDArray[np.float32]]:
        return encoder.encode_parts([texts[row] for row in rows] for rows in parts)

    return cached_vectors(encoder.fingerprint(), keys, encode, cache_folder)


def cached_vectors(
    fingerprint: str,
    keys: Sequence[str],
    encode: Callable[[Iterable[Sequence[int]]], Iterator[NDArray[np.float32]]],
    cache_folder: str | Path,
) -> NDArray[np.float32]:
    """Return the vectors `(N, D)` of whatever has these `keys`, encoding only what is new.

    Args:
        fingerprint: of the encoder; changes whenever the vectors would.
        keys: N SHA-256 hashes of content in hexadecimal; equal ones are encoded once.
        encode: turns parts of positions in `keys`, of which one may be empty, into the vectors `(M, D)` of
            one part after another.
        cache_folder: made if absent.
    """
    if not keys:
        return next(encode([[]]))
    folder = Path(cache_folder) / _digest(fingerprint)[:32]
    known = _read(folder)
    new = [row for key, row in _first_rows(keys).items() if key not in known]
    parts = [new[start : start + SHARD] for start in range(0, len(new), SHARD)]
    for rows, vectors in zip(parts, encode(parts), strict=True):
        part = [keys[row] for row in rows]
        _write(folder, part, vectors)
        known.update(zip(part, vectors, strict=True))
    return np.stack([known[key] for key in keys])


def _first_rows(keys: Sequence[str]) -> dict[str, int]:
    """Return where each key stands first, in their order."""
    first: dict[str, int] = {}
    for row, key in enumerate(keys):
        first.setdefault(key, row)
    return first


def _read(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Return the vector of every cached hash; drop shards that are damaged."""
    found: dict[str, NDArray[np.float32]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            found.update(_read_shard(path))
        except (OSError, ValueError) as error:
            logger.warning("%s: damaged, what it held is encoded again (%s)", path, error)
            path.unlink(missing_ok=True)
    return found


def _read_shard(path: Path) -> dict[str, NDArray[np.float32]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            checksum = (file.metadata() or {}).get("sha256")
            hashes, vectors = file.get_tensor("hashes"), file.get_tensor("vectors")
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    if checksum != _checksum(hashes, vectors):
        raise ValueError("its checksum does not match")
    return {row.tobytes().hex(): vector for row, vector in zip(hashes, vectors, strict=True)}


def _write(folder: Path, keys: Sequence[str], vectors: NDArray[np.float32]) -> None:
    """Write one shard, named by what it holds, in one step."""
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    hashes = np.frombuffer(bytes.fromhex("".join(keys)), np.uint8).reshape(len(keys), -1)
    content = save(
        {"hashes": hashes, "vectors": np.ascontiguousarray(vectors, dtype=np.float32)},
        metadata={"sha256": _checksum(hashes, vectors)},
    )
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as file:
        file.write(content)
    os.replace(file.name, folder / f"{_digest(''.join(keys))[:32]}.safetensors")


def _checksum(hashes: NDArray[np.uint8], vectors: NDArray[np.float32]) -> str:
    return hashlib.sha256(hashes.tobytes() + vectors.tobytes()).hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
