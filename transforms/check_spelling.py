"""CheckSpelling: documents that the tokenizer can't spell are invalid.

A tokenizer whose vocabulary lacks letters writes its unknown token instead, or leaves them out without a trace. What is
kept then are tokens of another text, or none. Pass 3 counts such documents. With the setting ``max_unknown_tokens``
they are invalid. That is decided in pass 1: were it decided when the tokens are written, other documents would have
been dropped as duplicates of one that isn't kept.
"""

from __future__ import annotations

import dataclasses

import pyarrow as pa
import pyarrow.compute as pc

from schemas.outcomes import NO_TOKENS, OWN, UNKNOWN_TOKENS, Outcomes
from transforms.batches import Batch
from transforms.box import Box
from transforms.kernels.tokenization.tokenizer import Tokenizer
from transforms.recipe.steps import Step, apply_step
from transforms.tokenize import Tokenization, lengths_and_unknown, sample_of

STEP = "CheckSpelling"


@dataclasses.dataclass(frozen=True)
class Spelled:
    """A filter (``transforms.recipe.steps``): why each document can't be used, null if it can.

    Attributes:
      max_unknown: share of a document's tokens that may be unknown.
    """

    tokenizer: Tokenizer
    max_unknown: float
    reasons = (OWN[NO_TOKENS][1], OWN[UNKNOWN_TOKENS][1])

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        """Without any token, or with too many unknown ones."""
        text = documents["text"]
        encoded = self.tokenizer.encode(text)
        lengths, _, share = lengths_and_unknown(self.tokenizer, text, encoded)
        return pc.if_else(
            pa.array(lengths == 0),
            self.reasons[0],
            pc.if_else(pa.array(share > self.max_unknown), self.reasons[1], None),
        )


def check_spelling(batch: Batch, spelled: Spelled) -> Batch:
    """The batch, documents that can't be spelled dropped or invalid with the reason as outcome."""
    return batch.with_data(apply_step(batch.data, Step.of(spelled, STEP), Outcomes(OWN)))


@dataclasses.dataclass
class CheckSpelling(Box):
    """From ``Batch``: the same; documents that the tokenizer can't spell are invalid.

    Attributes:
      max_unknown: share of a document's tokens that may be unknown.
    """

    tokenization: Tokenization
    max_unknown: float

    def setup(self) -> None:
        """Loads the tokenizer once a worker."""
        self._spelled = Spelled(self.tokenization.load(), self.max_unknown)

    def apply(self, batch: Batch) -> Batch:
        """The batch with an outcome for what can't be spelled; the shard's first also has both engines compared."""
        text = batch.data["text"].drop_null()
        if batch.index == 0 and len(text):
            with batch.at_work("CompareTokenizers"):
                self._spelled.tokenizer.calibrate(sample_of(text))
        with batch.at_work(STEP):
            return check_spelling(batch, self._spelled)
