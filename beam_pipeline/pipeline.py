"""The pipeline: one Beam DAG, three passes, text in no shuffle.

    ListSources -> SplitShards -> Reshuffle
                                    |
      ReadDocuments -> Normalize -> IdentifyLanguage -> Recipe -> Fingerprint -> WriteFingerprints     pass 1, text
                                                                                     |
                       ExactDuplicates -> BandRecords -> VerifyPairs -> ResolveDuplicates              pass 2, no text
                                                                                     | decisions, by shard
                                                                                     |-> AuditDuplicates
      SelectKept -> Reshuffle -> ReadKept -> NormalizeKept -> Edit -> Tokenize -> WriteTokens          pass 3, text
                                                                               |
                                                                          WriteLineage -> PostgreSQL   side outputs

``beam_pipeline.passes`` lists the boxes between reading and writing of passes 1 and 3.
With ``near_duplicates`` off, BandRecords, VerifyPairs and AuditDuplicates are left out.
With the setting ``max_unknown_tokens``, CheckSpelling stands before Fingerprint. Where editors or token files need kept
columns or attributes, AddColumns stands behind ReadKept and takes them from the fingerprints.

In a run of a corpus EarlierDuplicates stands before ExactDuplicates, and looks up in the corpus's index what earlier
runs have kept (``beam_pipeline.corpus``).

A run that decides another one again (``beam_pipeline.decide``) has DecideRules before ReadDocuments, which then reads
only the documents that stored columns don't decide, and ReuseTokens behind Tokenize, so that ReadKept reads only those
of which there are no token rows yet.

Between the boxes of a text pass, elements are ``transforms.batches.Batch``: a shard's documents in Arrow record
batches of at most 16 MiB. These boxes are always fused (nothing between them groups), so a batch is handed on by
reference, and the writers refuse a shard whose batches don't arrive whole and in order. Everything that is grouped is
a shard's description or a packed block of ids, hashes and signatures (``transforms.deduplication.deduplicate``).
"""

from __future__ import annotations

import apache_beam as beam

from beam_pipeline.passes import text_pass, token_pass
from beam_pipeline.plan import Plan
from transforms.add_columns import AddColumns
from transforms.decide_again import DecideRulesAgain, WriteDecided
from transforms.deduplication.audit_duplicates import AuditDuplicates
from transforms.deduplication.check_room import CheckRoom
from transforms.deduplication.deduplicate import BandRecords, ExactDuplicates, ResolveDuplicates, VerifyPairs
from transforms.deduplication.earlier_duplicates import EarlierDuplicates, decisions_of
from transforms.io.block_files import NOWHERE, BlockFiles
from transforms.list_sources import ListSources
from transforms.read_documents import ReadShards
from transforms.reuse_tokens import ReuseTokens
from transforms.select_kept import SelectKept
from transforms.skip_finished import SkipFingerprinted, SkipTokenized
from transforms.split_shards import SplitShards
from transforms.spread import Spread
from transforms.write_fingerprints import WriteFingerprints
from transforms.write_lineage import WriteLineage, WriteSources
from transforms.write_tokens import WriteTokens


def build(root: beam.Pipeline, plan: Plan, files: BlockFiles = NOWHERE) -> None:
    """Adds the whole DAG of a planned run to a Beam pipeline.

    Args:
      files: where the blocks of pass 2 lie while they are grouped (``beam_pipeline.scratch``).
    """
    settings = plan.settings
    deduplication = plan.deduplication

    split = (
        root
        | "ListSources" >> ListSources(plan.layout.sources)
        | "SplitShards" >> SplitShards(settings.reading(), plan.deaths)
    )
    split.sources | "WriteSources" >> WriteSources(plan.lineage_dsn, plan.run)
    shards = split.shards | "Reshuffle" >> Spread()

    # Pass 1: read every text once and keep what identifies it.
    fingerprints = shards | "SkipFingerprinted" >> SkipFingerprinted(plan.fingerprints, plan.deaths)
    todo = fingerprints.todo
    if plan.parent:
        todo |= "DecideRules" >> DecideRulesAgain(plan.parent, plan.recipe.steps, plan.outcomes)
    batches = todo | "ReadDocuments" >> ReadShards(plan.reading, plan.layout.sources, plan.deaths)
    for box in text_pass(plan):  # Normalize, IdentifyLanguage, the recipe's steps, Fingerprint
        batches |= box
    write = WriteFingerprints(plan.fingerprints, plan.run, settings.minhash(), plan.stored_fields, plan.outcomes.wide)
    written = batches | "WriteFingerprints" >> (
        WriteDecided(write, plan.parent, plan.recipe.editors) if plan.parent else write
    )
    written.lineage | "WriteLineage (fingerprinted)" >> WriteLineage(plan.lineage_dsn)
    fingerprinted = (fingerprints.done, written.shards) | "Fingerprinted" >> beam.Flatten()

    # Pass 2: which documents are duplicates, from fingerprints alone.
    fingerprinted = fingerprinted | "CheckRoom" >> CheckRoom(files, deduplication.near_duplicates)
    stored = plan.stored_fingerprints
    if plan.index:  # of a corpus: what earlier runs have kept stays, and what is like it takes no part in what follows
        how = (plan.layout.earlier, stored, deduplication, plan.index, files)
        fingerprinted |= "EarlierDuplicates" >> EarlierDuplicates(*how)
    exact = fingerprinted | "ExactDuplicates" >> ExactDuplicates(stored, deduplication, files)
    near: tuple[beam.PCollection, ...] = ()
    if deduplication.near_duplicates:
        candidates = (fingerprinted, exact) | "BandRecords" >> BandRecords(stored, deduplication, files)
        near = ((fingerprinted, candidates) | "VerifyPairs" >> VerifyPairs(stored, deduplication, files),)
    decisions = (*near, exact) | "ResolveDuplicates" >> ResolveDuplicates(deduplication, files)
    minhash = settings.minhash()
    if minhash and not plan.parent:  # a run that decides again reads no text that it hasn't to tokenize
        _ = (fingerprinted, *near, decisions) | "AuditDuplicates" >> AuditDuplicates(
            plan.layout.audit,
            plan.layout.sources,
            stored,
            settings.reading(),
            settings.normalization(),
            minhash,
            plan.editing,
        )

    if plan.index:
        of_earlier_runs = fingerprinted | "OfEarlierRuns" >> beam.FlatMap(decisions_of, plan.layout.earlier)
        decisions = (decisions, of_earlier_runs) | "AllDecisions" >> beam.Flatten()

    # Pass 3: read the kept texts again and tokenize them.
    selected = (fingerprinted, decisions) | "SelectKept" >> SelectKept(plan.fingerprints, plan.run)
    decided = selected.decided | "ReshuffleKept" >> Spread()
    parent_tokens = plan.parent.tokens if plan.parent else None
    kept = decided | "SkipTokenized" >> SkipTokenized(
        plan.tokens, plan.run, plan.fingerprints, plan.deaths, parent_tokens
    )
    batches = kept.todo | "ReadKept" >> ReadShards(settings.reading(), plan.layout.sources, plan.deaths)
    if plan.columns_of_pass_3:
        batches |= "AddColumns" >> AddColumns(plan.fingerprints, plan.columns_of_pass_3)
    for box in token_pass(plan):  # NormalizeKept, Edit, Tokenize
        batches |= box
    if parent_tokens:
        batches |= "ReuseTokens" >> ReuseTokens(
            parent_tokens, plan.fingerprints, plan.token_schema.names, tuple(settings.token_columns)
        )
    tokens = batches | "WriteTokens" >> WriteTokens(plan.tokens, plan.run, plan.token_schema)
    tokens | "WriteLineage" >> WriteLineage(plan.lineage_dsn)
    kept.lineage | "WriteLineage (already tokenized)" >> WriteLineage(plan.lineage_dsn)
    selected.lineage | "WriteLineage (unreadable)" >> WriteLineage(plan.lineage_dsn)
