"""The engine-facing batch against an oracle that masks each request by itself."""

from dataclasses import dataclass, field

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.decoding.catalog_mask import CatalogMask
from genrec.decoding.constrained_batch import ConstrainedBatch, ItemRequest
from genrec.testing.fakes import TinyCatalog

CATALOG = TinyCatalog.random(20, (4, 3, 3), seed=1)
TOKENS = CATALOG.vocabulary.encode(CATALOG.codes).tolist()


@dataclass
class Request:
    """The oracle's view of a running request."""

    wants_item: bool
    stops: list[int]
    generated: list[int] = field(default_factory=list)

    def legal(self):
        """Tokens that may come; None where all may."""
        level = len(self.generated)
        if not self.wants_item:
            return None
        if level >= 3:
            return set(self.stops) or None
        return {row[level] for row in TOKENS if row[:level] == self.generated}

    def item_request(self):
        return ItemRequest(self.generated, self.stops) if self.wants_item else None


def check(batch, running):
    """Every row of the batch gets what its request gets alone."""
    width = CATALOG.vocab_size
    logits = torch.randn(len(running), width, generator=torch.Generator().manual_seed(0))
    out = batch.apply(logits.clone())
    for row, request in enumerate(running):
        legal = request.legal()
        expected = logits[row].clone()
        if legal is not None:
            expected[sorted(set(range(width)) - legal)] = -torch.inf
        assert torch.equal(out[row], expected)


@given(st.data())
@settings(max_examples=80)
def test_any_sequence_of_changes_equals_masking_each_request_alone(data):
    """A toy engine: requests leave, come, slide into holes and change places between steps."""
    batch = ConstrainedBatch(CatalogMask(CATALOG.trie, CATALOG.vocabulary))
    running = []
    for _ in range(data.draw(st.integers(1, 12))):
        leaving = data.draw(st.sets(st.integers(0, len(running) - 1))) if running else set()
        for row in leaving:
            batch.put(row, None)
            running[row] = None
        for _ in range(data.draw(st.integers(0, 3))):
            stops = data.draw(st.lists(st.integers(0, 4), unique=True, max_size=2))
            request = Request(data.draw(st.booleans()), stops)
            request.generated += data.draw(st.sampled_from(TOKENS))[: data.draw(st.integers(0, 3))]
            row = running.index(None) if None in running else len(running)
            running[row : row + 1] = [request]
            batch.put(row, request.item_request())
        while None in running:
            last = running.pop()
            if last is not None:
                hole = running.index(None)
                running[hole] = last
                batch.move(len(running), hole)
        if len(running) > 1:
            for _ in range(data.draw(st.integers(0, 2))):
                one, other = (data.draw(st.integers(0, len(running) - 1)) for _ in range(2))
                running[one], running[other] = running[other], running[one]
                batch.swap(one, other)
        assert len(batch) == sum(request.wants_item for request in running)
        check(batch, running)
        for request in running:  # one more token each, in the very list that the batch refers to
            legal = request.legal()
            request.generated.append(data.draw(st.sampled_from(sorted(legal))) if legal else 0)


def test_a_list_that_grows_is_seen_without_any_update():
    batch, request = (
        ConstrainedBatch(CatalogMask(CATALOG.trie, CATALOG.vocabulary)),
        Request(True, [2]),
    )
    batch.put(0, request.item_request())
    for token in [*TOKENS[5], 2]:
        check(batch, [request])
        request.generated.append(token)
    check(batch, [request])


def test_tokens_that_begin_no_item_allow_nothing():
    batch = ConstrainedBatch(CatalogMask(CATALOG.trie, CATALOG.vocabulary))
    batch.put(0, ItemRequest([TOKENS[0][1]], [2]))
    batch.put(1, ItemRequest([-1], [2]))
    batch.put(2, ItemRequest([10**6, 3], [2]))
    assert torch.isneginf(batch.apply(torch.zeros(3, CATALOG.vocab_size))).all()


def test_an_empty_batch_touches_nothing():
    batch = ConstrainedBatch(CatalogMask(CATALOG.trie, CATALOG.vocabulary))
    batch.put(0, None)
    logits = torch.zeros(2, CATALOG.vocab_size)
    assert batch.apply(logits) is logits
    np.testing.assert_array_equal(logits, 0)
