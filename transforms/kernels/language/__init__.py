"""Kernels of language identification: fastText models and their inference."""
