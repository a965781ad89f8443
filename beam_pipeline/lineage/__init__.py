"""What the command asks of the lineage: named questions, each a function of a ``transforms.io.lineage.Lineage``."""
