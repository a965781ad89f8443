"""Kernels over the text of a batch: normalization, UTF-8 and Unicode tables."""
