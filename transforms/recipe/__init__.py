"""Recipes: what a lab decides about its documents, as an ordered list of steps."""
