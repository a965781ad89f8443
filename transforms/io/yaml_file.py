"""YAML files of the user's, local or on S3: their errors name the file."""

from __future__ import annotations

import io
from typing import Any

import yaml

from transforms.io import storage


def read_yaml(uri: str) -> Any:
    """What a YAML file says.

    Args:
      uri: a path or an ``s3://`` URI.

    Raises:
      StorageError: it can't be read.
      yaml.YAMLError: it isn't YAML; the message names the file, the line and the column.
    """
    file = io.BytesIO(storage.read_bytes(storage.absolute(uri)))
    file.name = uri
    return yaml.safe_load(file)
