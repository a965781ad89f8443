"""``watch``: objects that arrive in a store become runs of a corpus.

They announce themselves in a queue of RabbitMQ (S3 event notifications), or are found by listing a place. Settings of
the runs, and Beam's own flags, go beside these. AMQP_URL and its companions in the environment say where RabbitMQ is
(docs/events.md). Stopped or killed? Run the same command again: it goes on where it was.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal

from rich.console import Console

from beam_pipeline import failures, options
from beam_pipeline.settings import Settings
from beam_pipeline.supervision import heeded
from transforms.io import storage

LOGGER = logging.getLogger(__name__)

BEAM_FLAGS = True
_FROM_THE_CORPUS = ("input", "output", "lineage_dsn")
_REFUSED = ("input", "output")
"""Settings of a run that are told to be left out, and so aren't in the help."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``watch``."""
    group = parser.add_argument_group("watch", "Where new objects come from, and when they become a run.")
    group.add_argument("--corpus", metavar="URI", required=True, help="the corpus; it is begun if there is none")
    group.add_argument("--queue", metavar="NAME", default="", help="queue of S3 event notifications, made if need be")
    group.add_argument("--poll", metavar="URI", nargs="+", action="extend", default=[], help="list these places")
    group.add_argument(
        "--poll_seconds", type=float, metavar="S", default=300.0, help="between two listings (default: 300)"
    )
    group.add_argument(
        "--prefix", metavar="URI", nargs="+", action="extend", default=[], help="of the queue, only objects below these"
    )
    group.add_argument("--once", action="store_true", help="take what is there, carry it out, and end")
    group.add_argument(
        "--gather_messages", type=int, metavar="N", default=1000, help="so many messages begin a run (default: 1000)"
    )
    group.add_argument(
        "--gather_bytes", metavar="N", default="64GiB", help="so many announced bytes begin a run (default: 64GiB)"
    )
    group.add_argument(
        "--gather_seconds",
        type=float,
        metavar="S",
        default=60.0,
        help="so many seconds without a message begin a run (default: 60)",
    )
    group.add_argument("--work", action="store_true", help=argparse.SUPPRESS)  # the process that carries out runs
    for name in _REFUSED:
        group.add_argument(f"--{name}", nargs="+", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    options.add_settings(parser, [name for name in Settings.model_fields if name not in _REFUSED])


def run(args: argparse.Namespace) -> int:
    """Watches until it is stopped; returns the exit status."""
    with failures.before_work():
        given = {name: value for name, value in vars(args).items() if name in Settings.model_fields}
        values = (options.read_config(args.config) if args.config else {}) | given
        for name in _REFUSED:
            if name in values:
                raise failures.Refused(f"{name}: a run of a corpus has it from the corpus; leave it out")
        corpus_uri = storage.absolute(args.corpus)
        settings = options.resolve_part(Settings, values | {"input": [corpus_uri], "output": corpus_uri})
        of_runs = {
            name: value for name, value in settings.model_dump(mode="json").items() if name not in _FROM_THE_CORPUS
        }
        if args.work:
            return _work(args, settings, of_runs)
        options.beam_options(args.beam_flags)
    return _watch(args, corpus_uri, settings, of_runs)


def _watch(args: argparse.Namespace, corpus_uri: str, settings: Settings, of_runs: dict[str, object]) -> int:
    from pydantic import ByteSize, TypeAdapter

    from beam_pipeline import broker
    from beam_pipeline.corpus import Corpus
    from beam_pipeline.event_publisher import Publisher
    from beam_pipeline.watching.broker_queue import DEAD, Queue
    from beam_pipeline.watching.claiming import Wanted
    from beam_pipeline.watching.gathering import Limits
    from beam_pipeline.watching.watcher import Watcher
    from beam_pipeline.watching.worker import Worker

    with contextlib.ExitStack() as stack:
        with failures.before_work():
            if not args.queue and not args.poll:
                raise failures.Refused("give --queue, --poll, or both: there is nothing to watch")
            if len(f"{args.queue}{DEAD}".encode()) > broker.SHORT_BYTES:
                most = broker.SHORT_BYTES - len(DEAD)
                raise failures.Refused(f"queue: {args.queue!r} is longer than the {most} bytes that RabbitMQ takes")
            if args.poll_seconds <= 0:
                raise failures.Refused(f"poll_seconds: {args.poll_seconds:g} isn't above 0")
            gathered = int(TypeAdapter(ByteSize).validate_python(args.gather_bytes))
            limits = Limits(args.gather_messages, gathered, args.gather_seconds)
            parameters = broker.parameters() if args.queue or settings.events_exchange else None
            places = [storage.absolute(place) for place in args.poll]
            wanted = Wanted([*places, *(storage.absolute(place) for place in args.prefix)], corpus_uri)
            corpus = stack.enter_context(Corpus.open(corpus_uri, settings.lineage_dsn))
            queue = Queue(parameters, args.queue, args.gather_messages) if parameters and args.queue else None
            if queue:
                stack.callback(queue.close)
            publisher = Publisher(parameters) if parameters and settings.events_exchange else None
            if publisher:
                stack.callback(publisher.close)
        worker = Worker(corpus_uri, settings.lineage_dsn, of_runs, args.beam_flags)
        stack.callback(worker.close)
        watcher = Watcher(
            corpus, wanted, worker, queue, limits, places, args.poll_seconds, once=args.once, publisher=publisher
        )
        for number in heeded():
            signal.signal(number, lambda number, frame: watcher.stop())
        return watcher.watch()


def _work(args: argparse.Namespace, settings: Settings, of_runs: dict[str, object]) -> int:
    """Carries out what waits in the corpus, as a child of ``watch``; returns the exit status."""
    from beam_pipeline import workers
    from beam_pipeline.corpus import Corpus
    from beam_pipeline.watching.worker import end_with_parent
    from runners import local_flink

    beam = options.beam_options(args.beam_flags)
    workers.fork_early(beam)
    end_with_parent()
    with Corpus.open(storage.absolute(args.corpus), settings.lineage_dsn, create=False) as corpus:
        largest = max((run.recorded.bytes for run in corpus.pending()), default=0)
        beam = options.fitted(beam, args.beam_flags, largest)
        with local_flink.brought_up(beam) as brought_up:
            return corpus.work(of_runs, brought_up, Console(stderr=True))
