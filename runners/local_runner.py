"""Beam's local runner, with work divided while it is done.

Beam's own divides the elements of a stage among its workers beforehand, by number: with few shards, or uneven ones, a
worker that has finished its half waits for the others. Here what comes out of a Reshuffle, which says "this is to be
spread", is cut into many bundles, and a worker that is idle takes the next one. They come in the order of the keys, so
that whoever chooses the keys can have the largest done first (``transforms.spread``).
"""

from __future__ import annotations

import concurrent.futures
import itertools
import queue
from typing import Any

import apache_beam as beam
from apache_beam.metrics import monitoring_infos
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_fn_api_pb2, beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import execution, fn_runner, worker_handlers
from apache_beam.runners.portability.fn_api_runner.worker_handlers import WorkerHandler
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.worker import bundle_processor

from runners import beam_folders, direct, quicker_beam  # noqa: F401  (they take the place of parts of Beam)

# What goes to a worker Beam buffers, and a thread flushes the buffer every second: what is written while that is done
# is lost (`TimeBasedBufferingClosableOutputStream.flush`). Without the thread it is flushed when full and at the end.
worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0

NAME = f"{__name__}.LocalRunner"
"""As ``--runner`` takes it."""

BUNDLES_OF_A_WORKER = 16
"""A worker that ends first waits for a sixteenth of another's work, or for one element."""


class LocalRunner(fn_runner.FnApiRunner):
    """Beam's ``FnApiRunner``, which ``DirectRunner`` stands for, with bundles that are pulled.

    Taken directly, and not by way of ``DirectRunner``, which tries to download another runner first.
    """

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> Any:
        """Runs a pipeline to its end; the workers get its options."""
        encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
        self._provision_info = fn_runner.ExtendedProvisionInfo(
            beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
        )
        return super().run_pipeline(pipeline, options)

    def _get_bundle_manager(self, bundle_context_manager: execution.BundleContextManager) -> fn_runner.BundleManager:
        found = super()._get_bundle_manager(bundle_context_manager)
        if isinstance(found, fn_runner.ParallelBundleManager) and _follows_reshuffle(bundle_context_manager):
            return _PulledBundles(
                bundle_context_manager, self._progress_frequency, cache_token_generator=found._cache_token_generator
            )
        return found


def _follows_reshuffle(context: execution.BundleContextManager) -> bool:
    """Whether a stage's only input is what a Reshuffle has grouped."""
    inputs = [part for part in context.stage.transforms if part.spec.urn == bundle_processor.DATA_INPUT_URN]
    return len(inputs) == 1 and "/ReshufflePerKey/" in str(inputs[0].unique_name)


class _PulledBundles(fn_runner.ParallelBundleManager):
    """The work of one stage as many bundles, each of which the next idle worker takes."""

    def process_bundle(
        self,
        inputs: dict[str, Any],
        expected_outputs: dict[str, bytes],
        fired_timers: dict[Any, Any],
        expected_output_timers: dict[Any, bytes],
        dry_run: bool = False,
    ) -> tuple[beam_fn_api_pb2.InstructionResponse, list[beam_fn_api_pb2.ProcessBundleSplitResponse]]:
        """Carries out the stage; when a bundle fails, no other one is begun."""
        idle: queue.SimpleQueue[WorkerHandler] = queue.SimpleQueue()
        for worker in self.bundle_context_manager.worker_handlers:
            idle.put(worker)

        def carry_out(bundle: dict[str, list[bytes]]) -> Any:
            worker = idle.get()
            try:
                context = _OnOneWorker(self.bundle_context_manager, worker)
                manager = fn_runner.BundleManager(
                    context, self._progress_frequency, cache_token_generator=self._cache_token_generator
                )
                # A Reshuffle's stage has no timers of its own.
                return manager.process_bundle(bundle, expected_outputs, {}, expected_output_timers, dry_run)
            finally:
                idle.put(worker)

        with concurrent.futures.ThreadPoolExecutor(self._num_workers, "bundles") as pool:
            begun = [pool.submit(carry_out, bundle) for bundle in self._bundles(inputs)]
            try:
                done = [future.result() for future in concurrent.futures.as_completed(begun)]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        infos = itertools.chain.from_iterable(result.process_bundle.monitoring_infos for result, _ in done)
        merged = beam_fn_api_pb2.InstructionResponse(
            process_bundle=beam_fn_api_pb2.ProcessBundleResponse(monitoring_infos=monitoring_infos.consolidate(infos))
        )
        return merged, [split for _, splits in done for split in splits]

    def _bundles(self, inputs: dict[str, Any]) -> list[dict[str, list[bytes]]]:
        [(name, elements)] = inputs.items()
        if isinstance(elements, execution.GroupingBuffer):
            elements._table = dict(sorted(elements._table.items()))
        parts = elements.partition(self._num_workers * BUNDLES_OF_A_WORKER)
        return [{name: part} for part in parts if any(part)] or [{name: []}]


class _OnOneWorker:
    """A stage's context in which there is one worker only."""

    def __init__(self, context: execution.BundleContextManager, worker: WorkerHandler) -> None:
        self._context = context
        self.worker_handlers = [worker]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)
