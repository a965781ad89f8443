#!/bin/sh
# numba uses a cache only where it may write, and the image is read-only: the compiled kernels are copied to where it is
# told to look (20 ms). What is missing there, on a processor of another kind, is compiled once a container.
set -e
mkdir -p "$NUMBA_CACHE_DIR"
cp -r /opt/beam-pipeline/compiled/. "$NUMBA_CACHE_DIR"
exec "$@"
