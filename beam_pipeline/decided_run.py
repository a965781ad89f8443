"""The run that another one decides again, as that is planned."""

from __future__ import annotations

import dataclasses

from beam_pipeline.planned_sources import PlanError
from beam_pipeline.settings import Settings
from schemas.run_layout import Deciding
from transforms.decide_again import Parent

OF_FINGERPRINTS = ("format", "unicode", "language_model_sha256", "columns")
OF_TOKENS = ("tokenizer_sha256", "sources_sha256", "bos", "eos", "with_text")
"""What decides stored fingerprints and tokens, and can't be changed."""


@dataclasses.dataclass(frozen=True)
class DecidesAgain:
    """A finished run that is decided again.

    Attributes:
      parent: what workers need to know of it, without its steps.
      settings: its own.
      deciding: all that decided its results.
      sources_uri, documents: its sources, and how many documents it has.
    """

    parent: Parent
    settings: Settings
    deciding: Deciding
    sources_uri: str
    documents: int

    def refuse_other_files(self, deciding: Deciding) -> None:
        """What a run has stored can be used again only with the files and the version that it was made with.

        Raises:
          PlanError: something differs.
        """
        for what, names, before, now in (
            ("fingerprints", OF_FINGERPRINTS, self.deciding.fingerprints, deciding.fingerprints),
            ("tokens", OF_TOKENS, self.deciding.tokens, deciding.tokens),
        ):
            for name in names:
                if before.get(name) != now.get(name):
                    raise PlanError(
                        f"run: the {what} of {self.parent.output} were made with {name} {before.get(name)!r}, but now "
                        f"it is {now.get(name)!r}: put back the file that it was, or run the pipeline instead"
                    )
