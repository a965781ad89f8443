"""The boxes of the pipeline, one file each; their logic stands beside them as plain functions."""
