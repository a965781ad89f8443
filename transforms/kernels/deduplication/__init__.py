"""Kernels of deduplication: fingerprints of texts, blocks of hashes, candidate pairs and who stays."""
