"""Kernels of tokenization: a tokenizer's definition, the engines that carry it out, and the reference."""
