"""Lists of tokens as Parquet pages, written without Arrow's cost for a list of integers.

Delete this folder when ``pyarrow.parquet`` writes a list of uint16 as fast: ``make bench`` measures both.
"""
