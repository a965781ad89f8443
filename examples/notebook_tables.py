"""The boxes as functions on Arrow tables, as in a notebook.

python examples/notebook_tables.py [TEXTS]
"""

import sys

import beam_pipeline as bp
from beam_pipeline.sample import documents_path, tokenizer_path

if __name__ == "__main__":
    table = bp.read_documents(sys.argv[1] if len(sys.argv) > 1 else str(documents_path()))
    table = bp.identify_language(bp.normalize(table))
    table = bp.apply_recipe(table, "text_statistics", {"rule": {"reason": "few_words", "keep": "words >= 20"}})
    table = bp.tokenize(table, bp.Tokenization.from_file(str(tokenizer_path())))
    print(table.select(["language", "words", "reason"]).slice(0, 3).to_pylist())
    print(table["reason"].value_counts().to_pylist())
