"""``make conformance``: the fast kernels against slow references on every document of a corpus."""
