"""What announces a new object: messages of the four kinds of senders, and when there are enough of them."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_pipeline.watching.broker_queue import Message
from beam_pipeline.watching.claiming import Wanted
from beam_pipeline.watching.gathering import HELD_SECONDS, Gathering, Limits
from beam_pipeline.watching.notifications import Announced, NotUnderstood, announced


def record(
    name: str, key: str, *, source: str = "aws:s3", configuration: str = "mine", **of_object: Any
) -> dict[str, Any]:
    """A record as AWS documents it."""
    return {
        "eventVersion": "2.1",
        "eventSource": source,
        "eventName": name,
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration,
            "bucket": {"name": "lake", "arn": "arn:aws:s3:::lake"},
            "object": {"key": key, "size": 7, "eTag": "abc", "sequencer": "0055AED6DCD90281E5", **of_object},
        },
    }


def body(*records: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"Records": list(records), **more}).encode()


RAW, DECODED = "s3://lake/in/a+b%C3%A9.parquet", "s3://lake/in/a bé.parquet"
KEY = "in/a+b%C3%A9.parquet"


@pytest.mark.parametrize(
    ("sent", "names", "size"),
    [
        (body(record("ObjectCreated:Put", KEY)), (DECODED, RAW), 7),  # AWS
        (
            body(record("s3:ObjectCreated:Put", KEY, source="minio:s3"), EventName="s3:ObjectCreated:Put", Key="x"),
            (DECODED, RAW),
            7,
        ),
        (body(record("ObjectCreated:Put", KEY, source="ceph:s3", size="7")), (RAW, DECODED), 7),
        (body(record("s3:ObjectCreated:Put", KEY, configuration="rabbitmq-global", eTag='"abc"')), (RAW, DECODED), 7),
        (body(record("s3:ObjectCreated:CompleteMultipartUpload", "a", eTag="abc", size=None)), ("s3://lake/a",), 0),
        (body(record("ObjectCreated:Copy", "a")), ("s3://lake/a",), 7),
        (
            json.dumps({"Type": "Notification", "Message": body(record("ObjectCreated:Put", "a")).decode()}).encode(),
            ("s3://lake/a",),
            7,
        ),
    ],
    ids=["AWS", "MinIO", "Ceph", "versitygw", "multipart", "copy", "SNS"],
)  # fmt: skip
def test_a_new_object_of_each_sender(sent: bytes, names: tuple[str, ...], size: int) -> None:
    assert announced(sent) == [Announced(names, "abc", size)]


@pytest.mark.parametrize(
    "sent",
    [
        body(record("s3:ObjectRemoved:Delete", "a", eTag=None)),
        body(record("ObjectTagging:Put", "a")),
        body(),
        json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "lake"}).encode(),
    ],
    ids=["deleted", "tagged", "none", "test"],
)
def test_what_announces_nothing_new(sent: bytes) -> None:
    assert announced(sent) == []


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"hello", "isn't JSON"),
        (b"\xff\xfe", "isn't JSON"),
        (b"[" * 100_000, "isn't JSON"),
        (b"[1]", "no list of Records"),
        (b'{"Records": 3}', "no list of Records"),
        (b'{"Message": "x"}', "Message isn't JSON"),
        (b'{"Records": [{"eventName": "ObjectCreated:Put"}]}', "lacks what it should have"),
        (body(record("ObjectCreated:Put", "a", size="much")), "lacks what it should have"),
        (body(record("ObjectCreated:Put", "a", size=float("inf"))), "lacks what it should have"),
        (body(record("ObjectCreated:Put", "a")).replace(b'"size": 7', b'"size": 1e999'), "lacks what it should have"),
        (body(record("ObjectCreated:Put", "in/\ud800")), "lacks what it should have"),
        (body(record("ObjectCreated:Put", "")), "key isn't one of an object"),
        (body(record("ObjectCreated:Put", "a" * 1025)), "key isn't one of an object"),
        (body(record("ObjectCreated:Put", "a%00")), "key isn't one of an object"),
        (body(record("ObjectCreated:Put", "a") | {"s3": {"bucket": {"name": "a b"}, "object": {"key": "a"}}}), "name"),
    ],
)  # fmt: skip
def test_what_is_not_a_notification_says_why(sent: bytes, reason: str) -> None:
    with pytest.raises(NotUnderstood, match=reason):
        announced(sent)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["Records", "s3", "Message", "eventName"]), inner),
)


@settings(deadline=None)
@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_anything_at_all_is_understood_or_refused(sent: bytes) -> None:
    with contextlib.suppress(NotUnderstood):
        announced(sent)


def test_the_first_limit_that_is_reached_begins_a_run() -> None:
    clock = [1000.0]
    gathering = Gathering(Limits(messages=3, bytes=100, quiet=10), lambda: clock[0])

    def add(tag: int, name: str, size: int) -> None:
        gathering.add(Message(tag, b"", redelivered=False), [Announced((name,), "", size)])

    assert not gathering.enough(at_work=False)
    add(1, "a", 10)
    add(2, "a", 20)  # the same object again
    assert not gathering.enough(at_work=False)
    clock[0] += 10
    assert gathering.enough(at_work=False)
    assert not gathering.enough(at_work=True)
    clock[0] += HELD_SECONDS
    assert gathering.enough(at_work=True)
    add(3, "b", 1)
    assert gathering.enough(at_work=True)
    assert (len(gathering.objects), len(gathering.messages)) == (2, 3)
    gathering.clear()
    add(4, "a", 60)
    assert not gathering.enough(at_work=True)
    add(5, "c", 40)
    assert gathering.enough(at_work=True)


def test_which_objects_a_corpus_takes() -> None:
    everything = Wanted([], "s3://lake/corpus")
    below = Wanted(["s3://lake/in", "s3://other", "s3://other/_raw/"], "s3://lake/corpus")
    for uri, taken, taken_below in (
        ("s3://lake/in/a.parquet", True, True),
        ("s3://lake/inside/a.parquet", True, False),
        ("s3://lake/corpus/runs/000001/tokens/a.parquet", False, False),
        ("s3://lake/in/_SUCCESS", False, False),
        ("s3://lake/in/.tmp/a", False, False),
        ("s3://lake/in/folder/", False, False),
        ("s3://other/_raw/a", False, True),  # what one of two places that overlap leaves out, the other one names
        ("s3://other/_raw/_a", False, False),
    ):
        assert (everything(uri), below(uri)) == (taken, taken_below), uri
    assert everything.inputs(["s3://lake/in/a", "s3://lake/b", "s3://other/c"]) == ["s3://lake/", "s3://other/"]
    assert below.inputs(["s3://lake/in/a"]) == ["s3://lake/in", "s3://other", "s3://other/_raw/"]
