"""Size tests: ``make scale``."""
