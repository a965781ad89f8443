"""Boxes in a pipeline of your own: how many documents of which language there are.

python examples/own_beam_pipeline.py [TEXTS]
"""

import sys

import apache_beam as beam
import pyarrow as pa

import beam_pipeline as bp
from beam_pipeline.sample import documents_path


def languages(batch: bp.Batch) -> list[str]:
    """The language of each document of a batch that has one."""
    labels: pa.Array = batch.data["language"].drop_null()
    return labels.to_pylist()


if __name__ == "__main__":
    texts = sys.argv[1] if len(sys.argv) > 1 else str(documents_path())
    with beam.Pipeline() as pipeline:
        batches = pipeline | bp.ReadDocuments(texts) | bp.Normalize() | bp.IdentifyLanguage()
        counts = batches | beam.FlatMap(languages) | beam.combiners.Count.PerElement()
        counts | beam.MapTuple(lambda language, count: print(language, count))
