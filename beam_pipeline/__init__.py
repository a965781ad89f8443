"""One Apache Beam pipeline from raw multilingual text to clean, de-duplicated, tokenized training data.

    import beam_pipeline as bp

    bp.run(bp.Settings(input=["texts/"], output="out/", tokenizer="tokenizer.json"))

``__all__`` is the public surface; all else may change. Names are imported when they are used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from beam_pipeline.own_packages import claim

claim()

if TYPE_CHECKING:
    from beam_pipeline.estimation import estimate
    from beam_pipeline.running import run
    from beam_pipeline.settings import Settings
    from beam_pipeline.tables import (
        apply_recipe,
        fingerprint,
        identify_language,
        normalize,
        read_documents,
        tokenize,
    )
    from beam_pipeline.trial.trial import Trial
    from beam_pipeline.version import __version__
    from transforms.apply_recipe import Recipe
    from transforms.batches import Batch
    from transforms.fingerprint import Fingerprint
    from transforms.identify_language import IdentifyLanguage, LanguageIdentification
    from transforms.io.read_options import ReadOptions
    from transforms.kernels.deduplication.options import MinHash
    from transforms.kernels.text.normalization import Normalization
    from transforms.normalize import Normalize
    from transforms.read_documents import ReadDocuments
    from transforms.recipe.families import Family
    from transforms.recipe.per_document import per_document
    from transforms.recipe.spec import StepSpec
    from transforms.recipe.steps import Step
    from transforms.tokenize import Tokenization, Tokenize

_PLACES = {
    "apply_recipe": "beam_pipeline.tables",
    "Batch": "transforms.batches",
    "estimate": "beam_pipeline.estimation",
    "Family": "transforms.recipe.families",
    "Fingerprint": "transforms.fingerprint",
    "fingerprint": "beam_pipeline.tables",
    "identify_language": "beam_pipeline.tables",
    "IdentifyLanguage": "transforms.identify_language",
    "LanguageIdentification": "transforms.identify_language",
    "MinHash": "transforms.kernels.deduplication.options",
    "Normalization": "transforms.kernels.text.normalization",
    "Normalize": "transforms.normalize",
    "normalize": "beam_pipeline.tables",
    "per_document": "transforms.recipe.per_document",
    "read_documents": "beam_pipeline.tables",
    "ReadDocuments": "transforms.read_documents",
    "ReadOptions": "transforms.io.read_options",
    "Recipe": "transforms.apply_recipe",
    "run": "beam_pipeline.running",
    "Settings": "beam_pipeline.settings",
    "Step": "transforms.recipe.steps",
    "StepSpec": "transforms.recipe.spec",
    "Tokenization": "transforms.tokenize",
    "Tokenize": "transforms.tokenize",
    "Trial": "beam_pipeline.trial.trial",
    "tokenize": "beam_pipeline.tables",
    "__version__": "beam_pipeline.version",
}
"""Where each public name is: it is imported when it is used, so that the command's help stays quick."""

__all__ = [
    "Batch",
    "Family",
    "Fingerprint",
    "IdentifyLanguage",
    "LanguageIdentification",
    "MinHash",
    "Normalization",
    "Normalize",
    "ReadDocuments",
    "ReadOptions",
    "Recipe",
    "Settings",
    "Step",
    "StepSpec",
    "Tokenization",
    "Tokenize",
    "Trial",
    "__version__",
    "apply_recipe",
    "estimate",
    "fingerprint",
    "identify_language",
    "normalize",
    "per_document",
    "read_documents",
    "run",
    "tokenize",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
