"""What the command asks of the lineage: named questions, each a function of a ``transforms.io.lineage.Lineage``.

- ``runs``: ``latest``, ``settings``, ``totals``, ``progress``, ``migrations``;
- ``documents``: ``trace``, ``duplicates``; ``user_ids``: ``find_by_user_id``; ``texts``: ``texts_of``;
- ``explanation``: ``explain``; ``comparison``: ``compare``;
- ``worker_notes``: ``notes_of``, ``token_objects_of``; ``invalid_sources``: ``mostly_invalid``.

Nothing else of ``beam_pipeline`` sends SQL (``tests/test_floors.py``); commands parse arguments and print answers.
"""
