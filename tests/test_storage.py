"""What storage promises of local files: listing, pinning, commit, errors."""

from __future__ import annotations

import io
import os
import pickle
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.io import storage
from transforms.io.storage import globs


def listed(uri: object) -> list[str]:
    return [info.uri for info in storage.list_objects(str(uri))]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    names = "a.parquet b.jsonl sub/c.parquet sub/deep/d.parquet _SUCCESS .a.crc _tmp/e.parquet sub/.hidden/f.parquet"
    for name in names.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_a_folder_is_listed_with_all_below_but_hidden_names(tree: Path) -> None:
    expected = [str(tree / name) for name in ("a.parquet", "b.jsonl", "sub/c.parquet", "sub/deep/d.parquet")]
    assert listed(tree) == listed(f"{tree}/") == listed(tree.as_uri()) == expected


def test_a_named_file_is_listed_whatever_its_name(tree: Path) -> None:
    assert listed(tree / "_SUCCESS") == [str(tree / "_SUCCESS")]
    assert listed(tree / "_tmp") == [str(tree / "_tmp/e.parquet")]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.parquet", ["a.parquet"]),
        ("*", ["a.parquet", "b.jsonl"]),
        ("[ab].*", ["a.parquet", "b.jsonl"]),
        ("[!a].*", ["b.jsonl"]),
        ("?.jsonl", ["b.jsonl"]),
        ("*/*.parquet", ["sub/c.parquet"]),
        ("**/*.parquet", ["a.parquet", "sub/c.parquet", "sub/deep/d.parquet"]),
        ("sub/**", ["sub/c.parquet", "sub/deep/d.parquet"]),
        ("s*b/**/d.*", ["sub/deep/d.parquet"]),
        ("_S*", ["_SUCCESS"]),
        ("_tmp/*", ["_tmp/e.parquet"]),
    ],
)
def test_globs(tree: Path, pattern: str, names: list[str]) -> None:
    assert listed(tree / pattern) == [str(tree / name) for name in names]


def test_a_file_with_brackets_in_its_name_is_found_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "part[1].jsonl").write_text("x")
    assert listed(tmp_path / "part[1].jsonl") == [str(tmp_path / "part[1].jsonl")]


@pytest.mark.parametrize("uri", ["nothing", "nothing/*.parquet", "*.nothing", "empty", "a.parquet/below"])
def test_nothing_found_is_an_error_that_names_the_uri(tree: Path, uri: str) -> None:
    (tree / "empty").mkdir()
    with pytest.raises(storage.NotFound, match=re.escape(uri)):
        listed(tree / uri)


def test_links_are_followed_but_not_in_circles(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "x.jsonl").write_text("x")
    (tree / "linked").symlink_to(other)
    (tree / "sub" / "circle").symlink_to(tree)
    assert str(tree / "linked/x.jsonl") in listed(tree)
    assert not any("circle" in uri for uri in listed(tree))


def test_relative_paths_become_absolute(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert listed("sub/c.parquet") == [str(tree / "sub/c.parquet")]
    info = storage.stat("a.parquet")
    assert info is not None
    assert info.uri == str(tree / "a.parquet")


def test_stat(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"12345")
    status = file.stat()
    assert storage.stat(str(file)) == storage.ObjectInfo(str(file), f"5-{status.st_mtime_ns:x}", 5)
    assert storage.stat(str(tmp_path / "y")) is None
    assert storage.stat(str(file / "below")) is None
    with pytest.raises(storage.StorageError, match="folder"):
        storage.stat(str(tmp_path))


def test_a_pinned_file_that_changes_is_refused_at_open_and_while_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"a" * 100)
    pinned = storage.stat(str(file))
    assert pinned is not None
    with storage.open_input(str(file), pinned.etag) as opened:
        assert opened.read(10) == b"a" * 10
        file.write_bytes(b"b" * 101)
        with pytest.raises(storage.SourceChanged, match=re.escape(str(file))):
            opened.read(10)
    with pytest.raises(storage.SourceChanged, match=re.escape(str(file))):
        storage.open_input(str(file), pinned.etag)
    with storage.open_input(str(file)) as opened:
        assert opened.read() == b"b" * 101


def test_input_is_seekable_and_fit_for_pyarrow(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b", None]})
    pq.write_table(table, tmp_path / "x.parquet")
    with storage.open_input(str(tmp_path / "x.parquet")) as file:
        assert pq.ParquetFile(file, pre_buffer=True).read().equals(table)
        assert file.seek(-4, os.SEEK_END) == file.tell()
        assert file.read() == b"PAR1"
        assert file.read(1) == b""
    with pytest.raises(ValueError, match="closed"):
        file.read(1)


@pytest.mark.parametrize("offset", [-1, -(1 << 70), 1 << 70])
def test_an_impossible_position_is_a_value_error(tmp_path: Path, offset: int) -> None:
    storage.write(str(tmp_path / "x"), b"abc")
    info = storage.stat(str(tmp_path / "x"))
    assert info is not None
    with storage.open_input(info.uri, info.etag) as file, pytest.raises(ValueError, match="position"):
        file.seek(offset)


def test_write_and_open_output_commit_whole_files(tmp_path: Path) -> None:
    uri = storage.join(str(tmp_path), "new", "folder", "x")
    storage.write(uri, memoryview(b"first"))
    assert storage.read_bytes(uri) == b"first"
    with storage.open_output(uri) as file:
        file.write(b"sec")
        assert storage.read_bytes(uri) == b"first"
        file.write(b"ond")
    assert storage.read_bytes(uri) == b"second"
    assert os.listdir(tmp_path / "new/folder") == ["x"]  # noqa: PTH208 - hidden names too
    assert Path(uri).stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_writer_may_close_the_file_itself(tmp_path: Path) -> None:
    uri = str(tmp_path / "x")
    with storage.open_output(uri) as file, io.TextIOWrapper(file, encoding="utf-8") as text:
        text.write("grün")
    assert storage.read_bytes(uri) == "grün".encode()


def test_an_exception_leaves_nothing_behind(tmp_path: Path) -> None:
    uri = str(tmp_path / "x")
    with pytest.raises(RuntimeError), storage.open_output(uri) as file:
        file.write(b"half")
        assert not any(tmp_path.glob("x*"))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_leaves_is_not_data(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        with storage.open_output(str(tmp_path / "x.parquet")) as file:
            file.write(b"half")
            file.flush()
            os._exit(9)
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 1
    storage.write(str(tmp_path / "y.parquet"), b"whole")
    assert listed(tmp_path) == listed(tmp_path / "*") == listed(tmp_path / "**") == [str(tmp_path / "y.parquet")]


def test_delete_is_idempotent(tmp_path: Path) -> None:
    uri = str(tmp_path / "x")
    storage.write(uri, b"x")
    storage.delete(uri)
    storage.delete(uri)
    assert storage.stat(uri) is None


def test_errors_name_the_uri_and_survive_pickling(tmp_path: Path) -> None:
    uri = str(tmp_path / "x")
    with pytest.raises(storage.NotFound) as caught:
        storage.read_bytes(uri)
    assert isinstance(caught.value, OSError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), copy.uri, str(copy)) == (storage.NotFound, uri, str(caught.value))
    with pytest.raises(storage.StorageError, match="folder"):
        storage.write(str(tmp_path), b"")
    with pytest.raises(storage.StorageError, match=re.escape(str(tmp_path))):
        storage.read_bytes(str(tmp_path))


@pytest.mark.parametrize("uri", ["", "ftp://host/key", "file://host/x"])
def test_other_uris_are_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r"s3://|file:///"):
        storage.stat(uri)


def test_join() -> None:
    assert storage.join("/out/", "tokens", "x.parquet") == "/out/tokens/x.parquet"
    assert storage.join("s3://bucket", "tokens") == "s3://bucket/tokens"
    assert storage.join("out") == "out"


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("**", "a/b", True),
        ("**", "a/_b", False),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("[", "[", True),
        ("[]]", "]", True),
        ("[^a]", "/", False),
        ("a.c", "abc", False),
        ("*", ".a", False),
        ("*", "a\n", True),
    ],
)
def test_translate(pattern: str, path: str, matches: bool) -> None:
    assert (globs.translate(pattern).fullmatch(path) is not None) == matches
