"""A corpus that grows: a folder of runs with a ledger, each run over new sources and held against all before it.

with Corpus.open("s3://bucket/corpus") as corpus:
    corpus.claim(storage.list_objects("s3://bucket/crawl/"), ["s3://bucket/crawl/"])
    corpus.work({"tokenizer": "tokenizer.json"}, options, Console(stderr=True))
"""

from beam_pipeline.corpus.corpus import Corpus
from beam_pipeline.corpus.opened import Claim, CorpusError

__all__ = ["Claim", "Corpus", "CorpusError"]
