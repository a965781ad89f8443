"""Kernels: functions on arrays, without Beam, input/output or global state."""

from transforms.kernels.compiled import choose_folder

choose_folder()  # before any kernel is declared: each asks for its cache then
