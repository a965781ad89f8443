"""Settings of what is read and where everything goes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Annotated, Any, Self

import pydantic
import yaml

from beam_pipeline.settings.fields import Part, of, options_of, place, places, setting, split_commas
from schemas.columns import FINGERPRINTS
from transforms.io import storage
from transforms.io.kept_columns import KeptColumn
from transforms.io.read_options import PlainText, ReadOptions
from transforms.recipe.steps import RESERVED

_setting = functools.partial(setting, "input and output")
_of = functools.partial(of, "input and output", ReadOptions)

_OF_ONE_INPUT = ("text_column", "id_column", "format")


def own_columns(
    inputs: Mapping[str, Mapping[str, str]], text_column: str, id_column: str
) -> tuple[tuple[str, str, str, str], ...]:
    """Inputs with options of their own (``input_columns``) as ``ReadOptions.of_inputs`` takes them."""
    return tuple(
        (uri, own.get("text_column", text_column), own.get("id_column", id_column), own.get("format", ""))
        for uri, own in inputs.items()
    )


def _read_columns(value: Any) -> Any:
    """The YAML of a flag as a mapping."""
    if not isinstance(value, str):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"isn't YAML: {' '.join(str(error).split())}") from error


def _checked_inputs(inputs: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    for uri, own in inputs.items():
        for name in own:
            if name not in _OF_ONE_INPUT:
                raise ValueError(
                    f"{uri}: {name!r} can't be given for one input, only text_column, id_column and format"
                )
    return {storage.absolute(uri): own for uri, own in inputs.items()}


class InputSettings(Part):
    """What is read, with the options of ``ReadOptions``, and where everything goes."""

    input: Annotated[list[str], pydantic.AfterValidator(places)] = _setting(
        min_length=1,
        metavar="URI",
        decides="nothing",
        description="a file, folder, glob or prefix, local or s3://, gs://, az://, hf:// or https://, of Parquet, "
        "Arrow, JSON Lines, CSV, TSV, WARC, or zip, tar of these (docs/reading.md, docs/storage.md); repeatable",
    )
    output: Annotated[str, pydantic.AfterValidator(storage.absolute)] = _setting(
        min_length=1,
        metavar="URI",
        decides="nothing",
        description="folder, or s3://, gs:// or az:// prefix, for run.json, tokens/ and fingerprints/; running the "
        "same command again continues there",
    )
    tokenizer: Annotated[str, pydantic.AfterValidator(place)] = _setting(
        "",
        metavar="FILE",
        decides="nothing",
        description="a Hugging Face tokenizer.json (train-tokenizer makes one) [required, unless --no-tokens is given]",
    )
    text_column: str = _of("text_column")
    id_column: str = _of("id_column")
    plain_text: PlainText = _of("plain_text")
    keep_columns: Annotated[list[str], pydantic.BeforeValidator(split_commas)] = _setting(
        [],
        metavar="A,B.C",
        description="columns or fields that are kept beside the text, as NAME, STRUCT.NAME, NAME=TYPE, or NAME as "
        "OTHER; steps see them, and they are stored with the fingerprints (docs/attributes.md)",
    )
    input_columns: Annotated[
        dict[str, dict[str, str]],
        pydantic.BeforeValidator(_read_columns),
        pydantic.AfterValidator(_checked_inputs),
    ] = _setting(
        {},
        metavar="YAML",
        description="columns and formats of single inputs; in --config better as `input: [{uri: URI, "
        "text_column: NAME, id_column: NAME, format: NAME}]`",
    )
    shard_bytes: pydantic.ByteSize = _of("shard_bytes")
    strict: bool = _setting(
        False,
        decides="nothing",
        description="read every source through first and stop, before anything is written, if one is unreadable",
    )
    max_deaths: int = _setting(
        2,
        ge=0,
        decides="nothing",
        metavar="N",
        description="a shard that has killed its worker so often is set aside as unreadable; 0: never",
    )
    max_silence: float = _setting(
        300.0,
        ge=0,
        decides="nothing",
        metavar="SECONDS",
        description="on Flink, how long nothing may move while a part of the cluster is gone; 0: for ever",
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _take_columns_of_inputs(cls, values: Any) -> Any:
        """An input with columns of its own, as YAML has it, in two settings: where it is, and its columns."""
        inputs = values.get("input") if isinstance(values, dict) else None
        if not isinstance(inputs, list) or not any(isinstance(each, dict) for each in inputs):
            return values
        uris, columns = [], dict(values.get("input_columns") or {})
        for each in inputs:
            if isinstance(each, dict):
                own = dict(each)
                if not isinstance(uri := own.pop("uri", None), str):
                    raise ValueError(f"input: {each} has no `uri`")
                if own:
                    columns[uri] = own
                uris.append(uri)
            else:
                uris.append(each)
        return {**values, "input": uris, "input_columns": columns}

    @pydantic.model_validator(mode="after")
    def _check_reading(self) -> Self:
        self.first_reading()
        if self.input_columns:
            from transforms.io.readers.registry import reader_of_format  # brings what reads them

            for uri, text_column, id_column, name in self.reading().of_inputs:
                try:
                    ReadOptions(text_column, id_column)
                    if name:
                        reader_of_format(name)
                except ValueError as error:
                    raise ValueError(f"input {uri}: {error}") from None
        return self

    def reading(self) -> ReadOptions:
        """How sources are split and read."""
        of_inputs = own_columns(self.input_columns, self.text_column, self.id_column)
        return options_of(self, ReadOptions, shard_bytes=int(self.shard_bytes), of_inputs=of_inputs)

    def first_reading(self) -> ReadOptions:
        """How sources are looked at before the types of what is kept are known."""
        return dataclasses.replace(self.reading(), columns=self.kept_columns())

    def kept_columns(self) -> tuple[KeptColumn, ...]:
        """The columns that are kept; the sources say the types of those that have none (``beam_pipeline.preflight``).

        Raises:
          ValueError: two have one name, or one has a name of the pipeline's own.
        """
        columns = tuple(map(KeptColumn.parse, self.keep_columns))
        names = [column.name for column in columns]
        for name in names:
            if name in RESERVED or name in FINGERPRINTS:
                raise ValueError(
                    f"keep_columns: the pipeline has a column {name!r} itself; keep yours under another name, "
                    f"as in '{name} as source_{name}'"
                )
            if names.count(name) > 1:
                raise ValueError(f"keep_columns: {name!r} is named twice")
        return columns

    def named_id_column(self) -> str | None:
        """The id column if it isn't the default, which a source may lack."""
        return None if self.id_column == ReadOptions.id_column else self.id_column
