"""A run as OpenLineage events, for Marquez, DataHub and whatever else shows runs and datasets (https://openlineage.io).

Off unless the client is configured in its own way: OPENLINEAGE_URL, OPENLINEAGE__TRANSPORT__TYPE and so on in the
environment, or an ``openlineage.yml`` (docs/lineage.md). The events are about datasets and columns; about documents,
the lineage in PostgreSQL answers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beam_pipeline.lineage.progress import Progress
from beam_pipeline.plan import Plan
from beam_pipeline.poller import Poller
from schemas.errors import ToldError
from transforms.io import storage

if TYPE_CHECKING:
    from openlineage.client import event_v2

PROGRESS_SECONDS = 60.0

_PRODUCER = "https://beam-pipeline.invalid/openlineage"  # the format wants a URI; the project has no address of its own
_JOB = "beam_pipeline"
# What each column of the token objects is made of, beside the text itself.
_MADE_BY = {
    "input_ids": "Tokenize",
    "n_tokens": "Tokenize",
    "language": "IdentifyLanguage",
    "language_score": "IdentifyLanguage",
    "cluster_size": "ResolveDuplicates",
    "text": "Normalize",
}

_log = logging.getLogger(__name__)


class Events:
    """The events of one run; each is sent at once, and a failure to send is a warning, never the run's failure.

    Args:
      plan: of the run.
      client: an ``openlineage.client.OpenLineageClient``, or None to send nothing.
    """

    def __init__(self, plan: Plan, client: Any):
        self._plan, self._client = plan, client
        self._contents: Mapping[str, Any] = {}

    def done(self, contents: Mapping[str, Any]) -> None:
        """Takes the manifest, whose figures go with the completion."""
        self._contents = contents

    def send(self, state: str, **run_facets: Any) -> None:
        """Sends one event.

        Args:
          state: START, RUNNING, COMPLETE, ABORT or FAIL.
          run_facets: beside the facets that all events have.
        """
        if self._client is None:
            return
        try:
            self._client.emit(self._event(state, run_facets))
        except Exception as error:  # noqa: BLE001  a transport may be anybody's code and raise anything
            _log.warning("the OpenLineage event %s couldn't be sent: %s", state, error)

    def _event(self, state: str, run_facets: Mapping[str, Any]) -> event_v2.RunEvent:
        from openlineage.client import event_v2, facet_v2

        engine = facet_v2.processing_engine_run.ProcessingEngineRunFacet(
            version=version("apache-beam"), name="Apache Beam", openlineageAdapterVersion=version("openlineage-python")
        )
        job_type = facet_v2.job_type_job.JobTypeJobFacet(processingType="BATCH", integration="BEAM", jobType="JOB")
        purpose = facet_v2.documentation_job.DocumentationJobFacet(
            description="Raw text to clean, de-duplicated, tokenized training data"
        )
        inputs = [dataset_name(storage.absolute(uri)) for uri in self._plan.settings.input]
        return event_v2.RunEvent(
            eventType=event_v2.RunState[state],
            eventTime=datetime.datetime.now(datetime.UTC).isoformat(),
            run=event_v2.Run(runId=self._plan.run, facets={"processing_engine": engine, **run_facets}),
            job=event_v2.Job(
                # One job a place: its runs are the versions of the dataset there.
                namespace=os.environ.get("OPENLINEAGE_NAMESPACE", "default"),
                name=f"{_JOB}:{self._plan.settings.output}",
                facets={"jobType": job_type, "documentation": purpose},
            ),
            inputs=[self._input(*name, alone=len(inputs) == 1) for name in inputs],
            outputs=[self._output(inputs)],
            producer=_PRODUCER,
        )

    def _input(self, namespace: str, name: str, *, alone: bool) -> event_v2.InputDataset:
        from openlineage.client import event_v2, facet_v2

        settings = self._plan.settings
        columns = [
            facet_v2.schema_dataset.SchemaDatasetFacetFields(name=column, type="string")
            for column in (settings.id_column, settings.text_column)
        ]
        statistics = facet_v2.input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
            rowCount=self._contents["counts"]["documents"] if self._contents else None,
            size=self._plan.source_bytes,
            fileCount=self._plan.sources,
        )
        return event_v2.InputDataset(
            namespace,
            name,
            facets={"schema": facet_v2.schema_dataset.SchemaDatasetFacet(fields=columns)},
            inputFacets={"inputStatistics": statistics} if alone else {},  # known for all together
        )

    def _output(self, inputs: list[tuple[str, str]]) -> event_v2.OutputDataset:
        from openlineage.client import event_v2, facet_v2

        schema, lineage = facet_v2.schema_dataset, facet_v2.column_lineage_dataset
        fields = [schema.SchemaDatasetFacetFields(column.name, str(column.type)) for column in self._plan.token_schema]

        def origin(step: str, kind: str, namespace: str, name: str) -> Any:
            made = lineage.Transformation(type=kind, subtype="TRANSFORMATION", description=step)
            return lineage.InputField(namespace, name, self._plan.settings.text_column, [made])

        columns = {
            column: lineage.Fields([origin(step, "DIRECT", *name) for name in inputs])
            for column, step in _MADE_BY.items()
            if column in self._plan.token_schema.names
        }
        # Filters and deduplication decide by the text which rows there are.
        rows = [
            lineage.InputField(
                *name, self._plan.settings.text_column, [lineage.Transformation("INDIRECT", subtype="FILTER")]
            )
            for name in inputs
        ]
        statistics: dict[str, Any] = {}
        if self._contents:
            statistics["outputStatistics"] = (
                facet_v2.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                    rowCount=self._contents["counts"]["kept"]
                )
            )
        return event_v2.OutputDataset(
            *dataset_name(self._plan.tokens.uri),
            facets={
                "schema": schema.SchemaDatasetFacet(fields=fields),
                "columnLineage": lineage.ColumnLineageDatasetFacet(fields=columns, dataset=rows),
            },
            outputFacets=statistics,
        )


def dataset_name(uri: str) -> tuple[str, str]:
    """Namespace and name of a dataset by OpenLineage's rules: ``s3://bucket`` and key, ``file`` and absolute path."""
    scheme, remote, rest = uri.partition("://")
    if remote:
        bucket, _, key = rest.partition("/")
        return f"{scheme}://{bucket}", key.rstrip("/") or "/"
    return "file", str(Path(uri).absolute())


@contextlib.contextmanager
def reported(plan: Plan, poller: Poller) -> Iterator[Events]:
    """Sends START, RUNNING every minute, and how it ended: COMPLETE, ABORT (Ctrl-C) or FAIL with the message."""
    client = _client()
    events = Events(plan, client)
    if client is None:
        yield events
        return
    from openlineage.client import facet_v2

    def tell(progress: Progress) -> None:
        events.send("RUNNING", beam_pipeline_progress=_progress_facet(dataclasses.asdict(progress)))

    events.send("START")
    try:
        with poller.every(PROGRESS_SECONDS, tell):
            yield events
    except BaseException as error:
        stopped = isinstance(error.__context__, KeyboardInterrupt) or isinstance(error, KeyboardInterrupt)
        message = facet_v2.error_message_run.ErrorMessageRunFacet(message=str(error), programmingLanguage="PYTHON")
        events.send("ABORT" if stopped else "FAIL", errorMessage=message)
        raise
    else:
        events.send("COMPLETE")
    finally:
        client.close(10)


def complete(plan: Callable[[], Plan], contents: Mapping[str, Any]) -> None:
    """Sends COMPLETE for a run that was done when its command was killed, so that it may not have been sent.

    Args:
      plan: makes the run's plan; a run that can't be planned any more is a warning.
      contents: its manifest.
    """
    client = _client()
    if client is None:
        return
    try:
        events = Events(plan(), client)
        events.done(contents)
        events.send("COMPLETE")
    except ToldError as error:
        _log.warning("the OpenLineage event COMPLETE couldn't be sent: %s", error)
    finally:
        client.close(10)


def _progress_facet(progress: Mapping[str, Any]) -> Any:
    from openlineage.client import facet_v2

    names = ("documents", "fingerprinted", "done", "shards", "remaining_seconds", "retries")
    return facet_v2.RunFacet(producer=_PRODUCER).with_additional_properties(**{name: progress[name] for name in names})


def _client() -> Any:
    """The client as its own configuration makes it; None if there is none, or it isn't installed."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is none
    places = [Path("openlineage.yml"), home / ".openlineage" / "openlineage.yml"]
    configured = any(name.startswith(("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE__")) for name in os.environ)
    if not configured and not any(place.is_file() for place in places):
        return None
    try:
        from openlineage.client import OpenLineageClient
    except ImportError:
        _log.warning("OpenLineage is configured, but not installed: pip install 'beam-pipeline[openlineage]'")
        return None
    try:
        return OpenLineageClient()
    except Exception as error:  # noqa: BLE001  what a wrong configuration raises depends on the transport
        _log.warning("OpenLineage is configured wrongly, no events are sent: %s", error)
        return None
