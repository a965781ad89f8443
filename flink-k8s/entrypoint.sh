#!/bin/sh
# numba uses a cache only where it may write, and the image is read-only: the compiled kernels are copied to where it is
# told to look. What is missing there is compiled once a container.
set -e
mkdir -p "$NUMBA_CACHE_DIR"
cp -r /opt/beam-pipeline/compiled/. "$NUMBA_CACHE_DIR"
exec "$@"
