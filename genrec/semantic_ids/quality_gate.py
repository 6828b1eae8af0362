"""Quality gate: what semantic IDs must reach before hours are spent on training with them."""

from __future__ import annotations

import logging

from pydantic import Field

from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.semantic_ids.prefixes import PrefixMatch
from genrec.semantic_ids.quality import QualityReport

__all__ = ["QualityGate"]

log = logging.getLogger(__name__)

ENOUGH_PAIRS = 100
"""Fewer pairs of items that share a prefix say nothing about purity or agreement."""
MOST_CHANCE = 0.5
"""Where more than half of all pairs agree by chance, there is nothing to be much better than."""


class QualityGate(Settings):
    """Bounds on a quality report, and whether to stop at what is beyond one.

    The defaults lie outside what residual k-means, RQ-VAE and FSQ measured on five catalogs of 479
    to 12,101 items: up to 62 % colliding, 39 % of a level's codes used and more, the first level's
    perplexity at 46 % of its codes and more, reconstruction errors up to 0.78, purities from 10 and
    agreements from 4 times chance.
    """

    max_colliding: float = Field(default=0.7, ge=0, le=1)
    """Largest share of items that collide before resolution."""
    min_usage: float = Field(default=0.3, ge=0, le=1)
    """Smallest share of a level's codes that are used, of those the catalog could use."""
    min_perplexity: float = Field(default=0.3, ge=0, le=1)
    """Smallest perplexity of the first level, as a share of the codes that the catalog could use."""
    max_reconstruction_error: float = Field(default=0.9, ge=0)
    """Largest relative reconstruction error; 1 is no better than the mean vector."""
    min_purity: float = Field(default=2.0, ge=0)
    """How much likelier than chance items with the same first code must share a category."""
    min_agreement: float = Field(default=2.0, ge=0)
    """How much likelier than chance successive items of a history must share their first code."""
    strict: bool = False
    """Whether what is beyond a bound ends a fit before training, or is only warned of."""

    def apply(self, report: QualityReport) -> list[str]:
        """Warn of every bound that the report is beyond, and return the warnings.

        Raises:
            InputError: there is one, and the gate is strict.
        """
        failures = self.failures(report)
        if failures and self.strict:
            raise InputError(
                "these semantic IDs are not worth training on, and the quality gate is strict: "
                + "; ".join(failures)
                + ". Change that, set another bound (gate.…), or leave --strict (gate.strict) out"
            )
        for failure in failures:
            log.warning("semantic IDs: %s", failure)
        return failures

    def failures(self, report: QualityReport) -> list[str]:
        """Say in words which bounds are not met and what to change; empty when all are."""
        return [*self._of_codes(report), *self._of_meaning(report)]

    def _of_codes(self, report: QualityReport) -> list[str]:
        """Say which bounds on the codes themselves are not met."""
        said = []
        if report.before.share > self.max_colliding:
            said.append(
                f"{report.before.share:.0%} of items collide before resolution (at most "
                f"{self.max_colliding:.0%}): use more levels or codes (item_tokenizer.levels, "
                f"item_tokenizer.codes), or more text per item (template.fields)"
            )
        for level, usage in enumerate(report.levels):
            if usage.used < self.min_usage * min(usage.codes, report.items):
                said.append(
                    f"level {level} uses {usage.used} of {usage.codes} codes (at least "
                    f"{self.min_usage:.0%}): use fewer codes (item_tokenizer.codes) or another item "
                    f"tokenizer (item_tokenizer.kind)"
                )
        first = report.levels[0]
        share = first.perplexity / max(min(first.codes, report.items), 1)
        if share < self.min_perplexity:
            said.append(
                f"the first level's {first.codes} codes are as uneven as {first.perplexity:.0f} equally "
                f"frequent ones ({share:.0%}, at least {self.min_perplexity:.0%}): use balanced clusters "
                f"(such as item_tokenizer.kind=rqkmeans item_tokenizer.balance=4)"
            )
        return said

    def _of_meaning(self, report: QualityReport) -> list[str]:
        """Say which bounds on what the codes mean are not met."""
        said = []
        error = report.reconstruction_error
        if error is not None and error > self.max_reconstruction_error:
            said.append(
                f"the reconstruction error is {error:.2f} (at most "
                f"{self.max_reconstruction_error:.2f}), the codes say little about the items: use "
                f"more levels or codes, or another item tokenizer (item_tokenizer.kind)"
            )
        purity, agreement = report.purity[:1], report.agreement[:1]
        if _below(purity, self.min_purity):
            said.append(
                f"items with the same first code share a category only {purity[0].ratio:.1f} times as "
                f"often as chance (at least {self.min_purity:.1f}): use vectors that know categories "
                f"(encoder.name, template.fields), or more first codes"
            )
        if _below(agreement, self.min_agreement):
            said.append(
                f"successive items of a history share their first code only "
                f"{agreement[0].ratio:.1f} times as often as chance (at least "
                f"{self.min_agreement:.1f}): give co-occurrence more weight (collaborative.weight)"
            )
        return said


def _below(first: tuple[PrefixMatch, ...], bound: float) -> bool:
    """Whether the ratio is below the bound, with enough pairs behind it to say so."""
    return any(
        entry.pairs >= ENOUGH_PAIRS and 0 < entry.chance <= MOST_CHANCE and entry.ratio < bound
        for entry in first
    )
