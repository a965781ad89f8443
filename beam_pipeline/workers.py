"""Workers of DirectRunner, from the command's side: forked early, and told what to load before they are forked."""

from __future__ import annotations

import functools

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

from beam_pipeline.passes import Planned, text_pass, token_pass
from runners import forked_workers, local_runner
from transforms import warm_up


def fork_early(options: PipelineOptions) -> None:
    """Forks what workers are forked from (``runners.forked_workers``), where they are processes of this machine.

    A command calls it before it plans: reading sources starts threads.
    """
    if options.view_as(StandardOptions).runner == local_runner.NAME and _workers(options) > 1:
        forked_workers.fork_early()


def load_early(options: PipelineOptions, plan: Planned) -> None:
    """Has the process that workers are forked from load what they all need: models, tokenizers and kernels."""
    if _workers(options) > 1:
        forked_workers.load_early(functools.partial(warm_up.load, [*text_pass(plan), *token_pass(plan)]))


def _workers(options: PipelineOptions) -> int:
    return int(options.view_as(DirectOptions).direct_num_workers)
