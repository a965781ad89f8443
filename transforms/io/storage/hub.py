"""Repositories of the Hugging Face Hub, for reading only: a file is pinned by the hash of its content.

The token comes from ``HF_TOKEN`` or the file that ``hf auth login`` has written; ``HF_ENDPOINT`` names another server.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from transforms.io.storage import requests
from transforms.io.storage.errors import AccessDenied, NotFound, StorageError, WrongUri, without_queries
from transforms.io.storage.info import ObjectInfo
from transforms.io.storage.remote import ATTEMPTS, RemoteStore
from transforms.io.storage.remote_files import LONGEST_WAIT_SECONDS, wait

_KINDS = {"datasets": "dataset", "spaces": "space"}
_OTHER_KINDS = ("models", "kernels", "buckets")
_PASSING = (408, 429, 500, 502, 503, 504)


class Hub(RemoteStore):
    """``hf://datasets/owner/name/path``, with ``@revision`` behind the name; without, it is ``main``."""

    form = "hf://datasets/owner/name/path or hf://datasets/owner/name@revision/path"

    def split(self, uri: str) -> tuple[str, str]:
        """The repository with its scheme and revision, and the path in it."""
        parts = uri.removeprefix("hf://").split("/")
        size = 3 if parts[0] in _KINDS else 2
        if len(parts) < size or not all(parts[:size]) or parts[0] in _OTHER_KINDS:
            raise WrongUri(uri, f"names no repository; the form is {self.form}")
        return "hf://" + "/".join(parts[:size]), "/".join(parts[size:])

    def stat(self, uri: str) -> ObjectInfo | None:
        """The file's size and the hash of its content, or None if there is no such file."""
        bucket, path = self.split_object(uri)
        with _errors_name(uri):
            named = _named(bucket)
            answer = _again(lambda: _api(os.getpid()).get_paths_info(paths=[path], **named))
            found = [each for each in answer if _is_file(each)]
        return ObjectInfo(uri, _hash_of(found[0]), found[0].size) if found else None

    def listing(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        """All files whose paths begin with the prefix, which is a folder's, page by page."""
        folder = prefix.rpartition("/")[0]
        errors = _errors()
        with _errors_name(f"{bucket}/{prefix}"):
            requests.count(list=1)
            tree = _api(os.getpid()).list_repo_tree(path_in_repo=folder or None, recursive=True, **_named(bucket))
            with contextlib.suppress(errors.EntryNotFoundError):
                for each in tree:
                    if _is_file(each) and each.path.startswith(prefix):
                        yield ObjectInfo(f"{bucket}/{each.path}", _hash_of(each), each.size)

    def get(self, uri: str, start: int, end: int, etag: str) -> tuple[bytes, str]:
        """One range; the answer, or the first of several redirects, says which content it is of."""
        import huggingface_hub
        from huggingface_hub import utils

        bucket, path = self.split_object(uri)
        headers = utils.build_hf_headers() | {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        with _errors_name(uri):
            requests.count(get=1)
            answer = utils.http_backoff(
                "GET",
                huggingface_hub.hf_hub_url(filename=path, endpoint=_endpoint(), **_named(bucket)),
                headers=headers,
                max_retries=ATTEMPTS - 1,
                max_wait_time=LONGEST_WAIT_SECONDS / 2,
                timeout=60,
            )
            utils.hf_raise_for_status(answer)
        if answer.status_code != 206 and len(answer.content) != end - start:
            raise StorageError(uri, "the server doesn't serve ranges of files")
        linked = (each.headers.get("X-Linked-Etag") for each in (*answer.history, answer))
        found = next(filter(None, linked), None) or answer.headers.get("ETag", "")
        return answer.content, str(found).removeprefix("W/").strip('"')


def _named(bucket: str) -> dict[str, str]:
    """Repository, kind and revision, as the library calls them."""
    kind, _, name = bucket.removeprefix("hf://").partition("/")
    repo = name if kind in _KINDS else f"{kind}/{name}"
    repo_id, _, revision = repo.partition("@")
    return {"repo_id": repo_id, "repo_type": _KINDS.get(kind, "model"), "revision": unquote(revision) or "main"}


def _is_file(entry: Any) -> bool:
    return hasattr(entry, "blob_id")


def _hash_of(file: Any) -> str:
    """SHA-256 of a large file, Git's hash of another: what the Hub gives as ETag."""
    return str(file.lfs.sha256 if file.lfs else file.blob_id)


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


@functools.cache
def _api(process: int) -> Any:
    import huggingface_hub

    return huggingface_hub.HfApi(endpoint=_endpoint(), library_name="beam-pipeline")


def close() -> None:
    """Forgets the client, for an environment that has changed."""
    _api.cache_clear()


def _again(ask: Callable[[], Any]) -> Any:
    """What the Hub answers to a request that the library makes only once."""
    for attempt in range(1, ATTEMPTS):
        requests.count(get=1)
        try:
            return ask()
        except _errors().HTTPError as error:
            answer = getattr(error, "response", None)
            if answer is not None and answer.status_code not in _PASSING:
                raise
        wait(attempt)
    requests.count(get=1)
    return ask()


def _errors() -> Any:
    from huggingface_hub import errors

    return errors


@contextlib.contextmanager
def _errors_name(uri: str) -> Iterator[None]:
    """Turns the library's errors into storage errors that name the file."""
    errors = _errors()
    # It tells each URL at --verbose; those to which the Hub redirects are signed.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    try:
        yield
    except errors.GatedRepoError as error:
        raise AccessDenied(uri, "the repository wants its terms accepted on its page; then set HF_TOKEN") from error
    except errors.RepositoryNotFoundError as error:
        raise NotFound(uri, "there is no such repository, or it is private and HF_TOKEN isn't set") from error
    except errors.RevisionNotFoundError as error:
        raise NotFound(uri, "there is no such revision") from error
    except errors.EntryNotFoundError as error:
        raise NotFound(uri, "there is no such file") from error
    except errors.HFValidationError as error:
        raise WrongUri(uri, f"names no repository: {error}") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            raise AccessDenied(uri, f"the Hub refuses it (HTTP {status}); set HF_TOKEN") from None
        raise StorageError(uri, f"the Hub answers with HTTP {status}") from None  # the library's has a signed URL
    except errors.OfflineModeIsEnabled:
        raise StorageError(uri, "HF_HUB_OFFLINE forbids to ask the Hub: unset it") from None
    except errors.HTTPError as error:
        raise StorageError(uri, f"the Hub can't be reached: {without_queries(error)}") from None
