"""Whether normalized files mean what they meant: code compiles to the same, tables have the same cells, diffs apply."""
