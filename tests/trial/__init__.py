"""A trial: counts, costs and texts of a recipe on a sample, and what is wrong with its steps."""
