"""``try``: a recipe on a sample, without a run: what each step drops, costs and does wrong, with texts."""
