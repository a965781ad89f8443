"""A corpus that is watched for an hour of trouble (``make test-watch``)."""
