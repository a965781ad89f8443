"""Every column, outcome and element type of the pipeline, named and explained once."""
