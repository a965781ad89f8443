"""A whole run, as the command does it: text in, tokens and a manifest out. Calling it again goes on where it was.

python examples/run_pipeline.py [TEXTS [OUTPUT [TOKENIZER]]]
"""

import sys

import beam_pipeline as bp
from beam_pipeline.sample import documents_path, tokenizer_path

defaults = [str(documents_path()), "out/example", str(tokenizer_path())]
texts, output, tokenizer = [*sys.argv[1:], *defaults[len(sys.argv) - 1 :]]

if __name__ == "__main__":
    settings = bp.Settings(input=[texts], output=output, tokenizer=tokenizer, languages="de,en,fr", min_characters=100)
    manifest = bp.run(settings, "--direct_num_workers=1")
    print(manifest["counts"])
