"""The command line of a run: our settings and Beam's runner flags, side by side."""

from __future__ import annotations

import argparse
import datetime
import difflib
import os
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, get_origin

import pydantic
import yaml

from beam_pipeline.settings import GROUPS, Settings, group_of, metavar_of
from schemas.errors import WRONG_USAGE, ToldError
from transforms.io import storage
from transforms.io.yaml_file import read_yaml

DIRECT_RUNNERS = {"DirectRunner", "SwitchingDirectRunner", "FnApiRunner"}

LITTLE_BYTES = 1 << 20
"""Sources of so many bytes are read by one worker, in the command's process: to start others takes longer."""

_OF_TOKENS = ("bos", "eos", "with_text")
"""Settings without effect where no tokens are made. Stored settings of a run may have them all the same."""

if TYPE_CHECKING:  # it takes a second to be imported, which --help doesn't need: functions import it
    from apache_beam.options.pipeline_options import PipelineOptions

Part = TypeVar("Part", bound=pydantic.BaseModel)


class UsageError(ToldError):
    """The command line or the settings can't be used; nothing was done."""

    exit_status = WRONG_USAGE


def add_settings(parser: argparse.ArgumentParser, names: Collection[str] | None = None) -> None:
    """One flag for each setting, or those of these names, grouped; ``--config`` gives any of them in YAML."""
    groups = {name: parser.add_argument_group(name, text) for name, text in GROUPS.items()}
    groups["input and output"].add_argument(
        "--config", metavar="FILE", help="YAML with any of these settings; flags win over it"
    )
    add_flags(groups, Settings, names)


def add_flags(
    groups: Mapping[str, argparse._ArgumentGroup],
    settings: type[pydantic.BaseModel],
    names: Collection[str] | None = None,
) -> None:
    """One flag for each setting, or those of these names, in its group; one that isn't given leaves no attribute."""
    for name, field in settings.model_fields.items():
        if names is not None and name not in names:
            continue
        default = field.get_default(call_default_factory=True)
        listed = ",".join(default) if isinstance(default, list) else default
        unsaid = listed in ({}, "", None, False) or isinstance(default, pydantic.BaseModel)
        shown = "" if unsaid or field.is_required() else f" (default: {listed})"
        required = " [required]" if field.is_required() else ""
        arguments: dict[str, Any] = {"help": f"{field.description}{shown}{required}".replace("%", "%%")}
        if field.annotation is bool:
            arguments["action"] = argparse.BooleanOptionalAction
        else:
            if metavar_of(name, settings):
                arguments["metavar"] = metavar_of(name, settings)
            if get_origin(field.annotation) is list and name != "recipe" and "," not in metavar_of(name, settings):
                arguments |= {"action": "extend", "nargs": "+"}
        groups[group_of(name, settings)].add_argument(f"--{name}", default=argparse.SUPPRESS, **arguments)


def resolve(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> tuple[Settings, PipelineOptions]:
    """Settings from flags and ``--config``, and Beam's options from the flags that are left.

    Raises:
      UsageError: a setting is missing, unknown or wrong, each named with its value; or a flag is nobody's.
    """
    flags, rest = parser.parse_known_args(arguments)
    given = vars(flags)
    config = given.pop("config", None)
    values = read_config(config) if config else {}
    settings = resolve_part(Settings, values | given)
    unused = [name for name in _OF_TOKENS if getattr(settings, name) not in (None, False)]
    if unused and not settings.tokens:
        raise UsageError(f"{unused[0]}: has no effect with --no-tokens; leave it out")
    return settings, beam_options(rest)


def resolve_part(settings: type[Part], values: Mapping[str, Any]) -> Part:
    """Settings of a run, or some of them, from their values.

    Raises:
      UsageError: as ``resolve``.
    """
    try:
        return settings(**values)
    except pydantic.ValidationError as error:
        raise UsageError("\n".join(_describe(fault) for fault in error.errors())) from error


def beam_options(flags: Sequence[str]) -> PipelineOptions:
    """Beam's options; on the local runner, all cores are used unless the flags say otherwise.

    Raises:
      UsageError: a flag is neither ours nor Beam's, or can't be used on Flink. Other runners' job servers have flags
        of their own, which can't be checked here.
    """
    from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

    from runners import flink, light_beam, local_flink, local_runner

    options = PipelineOptions(list(flags))
    view = options.view_as(StandardOptions)
    runner = (view.runner or "DirectRunner").rsplit(".", 1)[-1]
    if runner in (*flink.RUNNERS, local_flink.NAME):
        try:
            if runner == local_flink.NAME:
                return local_flink.LocalFlinkOptions.of(flags)
            return PipelineOptions(flink.with_defaults(flags))
        except (flink.FlinkOptionsError, flink.FlinkUnavailable) as error:
            raise UsageError(str(error)) from error
    if runner not in DIRECT_RUNNERS:
        light_beam.whole()
        return options
    _refuse_unknown(flags)
    given = {flag.partition("=")[0] for flag in flags}
    extra = [f"--runner={local_runner.NAME}"]
    if "--direct_num_workers" not in given:
        extra.append(f"--direct_num_workers={len(os.sched_getaffinity(0))}")
    workers = PipelineOptions([*flags, *extra]).view_as(DirectOptions).direct_num_workers
    if "--direct_running_mode" not in given and workers != 1:
        extra.append("--direct_running_mode=multi_processing")
    return PipelineOptions([*flags, *extra])


def fitted(options: PipelineOptions, flags: Sequence[str], source_bytes: int) -> PipelineOptions:
    """The options for sources of so many bytes: little text isn't worth processes, unless the flags ask for them.

    Args:
      options: of ``beam_options``.
      flags: all flags of the command.
    """
    from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

    from runners import local_runner

    asked = {flag.partition("=")[0] for flag in flags} & {"--direct_num_workers", "--direct_running_mode"}
    if options.view_as(StandardOptions).runner == local_runner.NAME and not asked and source_bytes <= LITTLE_BYTES:
        direct = options.view_as(DirectOptions)
        direct.direct_num_workers, direct.direct_running_mode = 1, "in_memory"
    return options


def _refuse_unknown(flags: Sequence[str]) -> None:
    from apache_beam.options.pipeline_options import PipelineOptions

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for options_class in PipelineOptions.__subclasses__():
        try:
            options_class._add_argparse_args(parser)
        except argparse.ArgumentError:
            continue  # two of Beam's classes declare the same flag; the first stands
    _, unknown = parser.parse_known_args(list(flags))
    if unknown:
        ours = [f"--{name}" for name in Settings.model_fields]
        close = difflib.get_close_matches(unknown[0].partition("=")[0], ours, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"unknown: {' '.join(unknown)}{hint} (--help lists the settings)")


def read_config(uri: str) -> dict[str, Any]:
    """Settings in a YAML file.

    Raises:
      UsageError: it can't be read, or has something else.
    """
    try:
        values = read_yaml(uri)
    except (yaml.YAMLError, storage.StorageError) as error:
        raise UsageError(f"config {uri}: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"config {uri}: expected settings, one `name: value` each")
    if isinstance(values.get("input"), str):
        values["input"] = [values["input"]]
    return values


def _describe(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        return f"--{place} is missing"
    if fault["type"] == "extra_forbidden":
        close = difflib.get_close_matches(place, Settings.model_fields, n=1)
        return f"{place} is not a setting" + (f"; did you mean {close[0]}?" if close else "")
    message = fault["msg"].removeprefix("Value error, ")
    return f"{place}: {message} (got {fault['input']!r}{_yaml_hint(fault)})" if place else message


def _yaml_hint(fault: Any) -> str:
    """What to do about a text that YAML has read as something else, such as Norwegian's label."""
    kinds = {bool: "true or false", int: "a number", float: "a number", datetime.date: "a date"}
    kind = next((kinds[each] for each in type(fault["input"]).__mro__ if each in kinds), "")
    if fault["type"] != "string_type" or not kind:
        return ""
    example = '"no"' if fault["input"] is False else '"yes"' if fault["input"] is True else f'"{fault["input"]}"'
    return f"; YAML reads this as {kind}: put it into quotes, as {example}"
