"""The formats, by name."""

from __future__ import annotations

from transforms.export.formats.base import Format
from transforms.export.formats.columnar import Arrow, Parquet
from transforms.export.formats.flat import AlephAlpha, Numpy
from transforms.export.formats.mds import Mds
from transforms.export.formats.megatron import Megatron

FORMATS: dict[str, Format] = {
    format.name: format for format in (Megatron(), Numpy(), Parquet(), Mds(), Arrow(), AlephAlpha())
}
