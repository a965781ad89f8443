"""Kernels: functions on arrays, without Beam, input/output or global state."""
