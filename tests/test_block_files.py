"""Blocks that lie in files: found again by every process, gone at the end; a run without room for them is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline import scratch
from beam_pipeline.options import beam_options
from runners import own_folder
from tests.deduplication_worlds import random_world, write_shards
from tests.test_deduplicate import canonical, run
from transforms.deduplication.check_room import DISK_BYTES, MEMORY_BYTES, NotEnoughRoom, check_room
from transforms.deduplication.deduplicate import Deduplication
from transforms.io.block_files import LEFT_FROM, BlockFiles, close_all


@given(st.lists(st.integers(1, 3 * LEFT_FROM)))
def test_every_block_is_found_again(sizes):
    blocks = [b"h" + os.urandom(size - 1) for size in sizes]
    with tempfile.TemporaryDirectory() as folder:
        files = BlockFiles(folder)
        sent = [files.left(block) for block in blocks]
        assert list(files.read(sent)) == blocks
        assert all(len(value) < LEFT_FROM for value in sent)
        close_all()
    nowhere = BlockFiles()
    assert [nowhere.left(block) for block in blocks] == blocks == list(nowhere.read(blocks))


def test_a_process_reads_what_another_has_left(tmp_path):
    code = "import sys; from transforms.io.block_files import *; print(BlockFiles(sys.argv[1]).left(b'h' * 999).hex())"
    sent = [
        bytes.fromhex(
            subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True).stdout
        )
        for _ in range(2)
    ]
    assert len(list(tmp_path.iterdir())) == 2
    assert list(BlockFiles(str(tmp_path)).read(sent)) == [b"h" * 999] * 2
    close_all()
    for file in tmp_path.iterdir():
        os.truncate(file, 500)
    with pytest.raises(EOFError, match=rf"{tmp_path}.* has been cut: 500 of 999 bytes"):
        list(BlockFiles(str(tmp_path)).read(sent))


def test_a_full_disk_is_named(tmp_path):
    code = (
        "import resource, signal, sys; from transforms.io.block_files import BlockFiles as F;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500));"
        "F(sys.argv[1]).left(b'h' * 999)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert re.search(rf"OSError: .*TMPDIR names another place.*{tmp_path}", done.stderr)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_answer_is_the_same_with_blocks_in_files(tmp_path, workers):
    shards = write_shards(tmp_path, [shard for seed in range(3) for shard in random_world(seed, 60, 3)])
    folder = tmp_path / "blocks"
    folder.mkdir()
    options = Deduplication(partitions=2)
    plain = run(shards, tmp_path, options)
    filed = run(shards, tmp_path, options, workers, files=BlockFiles(str(folder)))
    assert canonical(plain) == canonical(filed)
    assert sum(file.stat().st_size for file in folder.iterdir()) > 10_000
    close_all()


def test_the_local_runner_gets_a_folder_that_is_gone_afterwards():
    with scratch.block_files(beam_options([])) as files:
        assert Path(files.folder).parent == own_folder.own_folder()
        files.left(b"h" * 1000)
    assert not Path(files.folder).exists()
    with scratch.block_files(PipelineOptions([])) as files:
        assert files.folder
    with scratch.block_files(PipelineOptions(["--runner", "FlinkRunner"])) as files:
        assert files == BlockFiles()


def test_a_run_without_room_is_refused_in_one_sentence():
    documents = 30_000_000
    check_room(documents, "/tmp", documents * DISK_BYTES, documents * MEMORY_BYTES)
    with pytest.raises(NotEnoughRoom) as refused:
        check_room(documents, "/tmp", 8 * 10**9, 3 * 10**9)
    assert str(refused.value) == (
        "30,000,000 documents need 10.5 GB of disk in /tmp (TMPDIR names another place), of which 8.0 GB are free, "
        "and 4.5 GB of memory, of which 3.0 GB are free, to find their duplicates on one machine: make room and run "
        "the same command again, or go on with --runner local-flink (docs/flink.md); what is fingerprinted is kept"
    )
