"""Duplicates whose truth is known from the texts: ``make dedup-truth DATA=folder``."""
