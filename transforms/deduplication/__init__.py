"""Pass 2: the boxes that find and resolve duplicates from stored fingerprints, and the audit."""
