"""The boxes of the pipeline, one file each; their logic stands beside them as plain functions."""

from transforms.kernels.compiled import choose_folder

choose_folder()  # before any compiled function is declared: each asks for its cache then
