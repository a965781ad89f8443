"""``watch``: new objects announce themselves, or are found in a listing, and become runs of a corpus.

``notifications`` understands messages, ``broker_queue`` takes them, ``gathering`` says when there are enough.
``claiming`` asks the store what is really there. ``worker`` carries out runs in a process of its own; ``watcher`` is
the loop.
"""
