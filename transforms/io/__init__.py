"""What a worker reads and writes: storage, readers, the objects of a run, the lineage in PostgreSQL."""
