"""Damaged files in large numbers: each must become rows or a reason, and never a dead or a hanging process."""
