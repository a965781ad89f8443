"""The benchmark, ``make bench``: the whole run and each step, beside the reference libraries and a peer (Linux only).

What is measured, in ``docs/benchmark.md``. Figures are CPU seconds of all processes, so they don't depend on the
number of cores; each pair is measured in turn in one run, because the speed of a shared machine drifts.
"""
