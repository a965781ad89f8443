"""What a run would find and cost, judged by a sample of its documents; nothing is written.

python examples/estimate_cost.py [TEXTS]
"""

import sys

import beam_pipeline as bp
from beam_pipeline.sample import documents_path, tokenizer_path

if __name__ == "__main__":
    texts = sys.argv[1] if len(sys.argv) > 1 else str(documents_path())
    settings = bp.Settings(input=[texts], output="out/never", tokenizer=str(tokenizer_path()), plan_fraction=0.5)
    found = bp.estimate(settings)
    print(f"{found['documents']} documents, about {found['tokens']} tokens, {found['cpu_hours']} CPU hours")
