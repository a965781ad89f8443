"""What ``runners.quicker_beam`` keeps is what Beam works out."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.transforms import core

from beam_pipeline.options import LITTLE_BYTES, beam_options, fitted
from runners import local_runner, quicker_beam
from tests.runs import ROOT

SUM = beam.DoFn.StateParam(beam.transforms.userstate.CombiningValueStateSpec("sum", sum))


class Adds(beam.DoFn):
    def process(self, element: int, more: int = 3, *, window: Any = beam.DoFn.WindowParam) -> list[int]:
        return [element + more]


def test_views_share_their_values_and_are_made_once() -> None:
    assert quicker_beam and local_runner
    options = PipelineOptions(["--runner=DirectRunner", "--direct_num_workers=3"])
    view = options.view_as(DirectOptions)
    assert view.direct_num_workers == 3 and view is options.view_as(DirectOptions)
    view.direct_num_workers = 5
    assert options.view_as(StandardOptions).view_as(DirectOptions).direct_num_workers == 5
    others = PipelineOptions(["--direct_num_workers=3"])
    assert others.view_as(DirectOptions).direct_num_workers == 3


def test_arguments_are_those_that_beam_finds() -> None:
    original = core.get_function_args_defaults.__wrapped__
    for function in (Adds().process, Adds().start_bundle, lambda x, y=2: x, dict.get, beam.DoFn.process):
        for _ in range(2):
            assert core.get_function_args_defaults(function) == original(function)
    names, defaults = core.get_function_args_defaults(Adds().process)
    names.clear(), defaults.clear()
    assert core.get_function_args_defaults(Adds().process) == original(Adds().process)


def test_state_is_still_seen() -> None:
    class Counts(beam.DoFn):
        def process(
            self,
            element: tuple[int, int],
            state: Any = SUM,
        ) -> list[int]:
            state.add(element[1])
            return [state.read()]

    class Hidden(Counts):
        """Has another `process` than its class."""

        def __init__(self, process: Any) -> None:
            self.process = process

    class Bound:
        def method(self, element: tuple[int, int], state: Any = SUM) -> None:
            """Needs state, too."""

    of_state = (Counts(), Hidden(Bound().method), Counts(), Hidden(Counts().process))
    without = (Adds(), Hidden(lambda element: None), Hidden(Adds().process))
    original = beam.transforms.userstate.get_dofn_specs.__wrapped__
    for function in (*of_state, *without, *of_state):
        assert beam.transforms.userstate.is_stateful_dofn(function) == (function in of_state)
        assert beam.transforms.userstate.get_dofn_specs(function) == original(function)


def test_little_text_is_read_by_the_command_itself_unless_flags_say_otherwise() -> None:
    def workers(size: int, *flags: str) -> tuple[int, str]:
        view = fitted(beam_options(flags), flags, size).view_as(DirectOptions)
        return view.direct_num_workers, view.direct_running_mode

    assert workers(LITTLE_BYTES) == (1, "in_memory")
    assert workers(LITTLE_BYTES, "--direct_num_workers=2") == (2, "multi_processing")
    assert workers(LITTLE_BYTES, "--direct_num_workers", "2") == (2, "multi_processing")
    assert workers(LITTLE_BYTES + 1) == workers(1 << 40)


def test_help_brings_neither_beam_nor_the_kernels() -> None:
    script = (
        "import sys\nfrom beam_pipeline.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'apache_beam', 'numba', 'boto3', 'psycopg'} & {*sys.modules}, 'imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "--tokenizer" in done.stdout
