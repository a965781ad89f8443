"""A run whose store fails: at random, for a minute, for longer. Minutes each: ``make test-s3`` runs them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.s3_proxy import Weather
from tests.s3_store import Store, store_in


@pytest.fixture(scope="module")
def store(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with store_in(tmp_path_factory.mktemp("store")) as store:
        store.fill(corpus)
        yield store


@pytest.fixture(scope="module")
def calm(store: Store) -> int:
    """The number of requests of an undisturbed run, whose output is ``calm``."""
    store.proxy.requests.clear()
    store.run("calm")
    return len(store.proxy.requests)


def test_bad_weather_changes_nothing_but_the_time(store: Store, calm: int) -> None:
    store.proxy.requests.clear()
    store.proxy.weather = Weather(errors=0.05, resets=0.02, cuts=0.02, delays=0.05)
    try:
        store.run("weather")
    finally:
        store.proxy.weather = Weather()
    assert store.objects("weather") == store.objects("calm")
    assert calm < len(store.proxy.requests) <= 1.25 * calm


def kill_in_mid_run(store: Store, output: str) -> threading.Event:
    """Kills the server when the third fingerprint object of the run has been written; the event says that it has."""
    written: list[str] = []
    killed = threading.Event()

    def watch(method: str, path: str) -> None:
        if method == "PUT" and path.startswith(f"/out/{output}/fingerprints/"):
            written.append(path)
            if len(written) == 3:
                store.server.kill()
                killed.set()

    store.proxy.done = watch
    return killed


def test_an_outage_of_a_minute_is_ridden_out(store: Store, calm: int) -> None:
    killed = kill_in_mid_run(store, "minute")

    def restart() -> None:
        assert killed.wait(120)
        threading.Event().wait(60)
        store.server.start()

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        store.run("minute")
    finally:
        thread.join()
    assert store.objects("minute") == store.objects("calm")


def test_a_longer_outage_is_a_clear_error_and_the_run_goes_on_later(store: Store, calm: int) -> None:
    kill_in_mid_run(store, "longer")
    try:
        failed = store.run("longer", status=1, AWS_MAX_ATTEMPTS="4")
    finally:
        store.server.start()
    assert "the server can't be reached, tried 4 times" in failed.stderr
    assert "run the same command to go on" in failed.stderr
    store.run("longer")
    assert store.objects("longer") == store.objects("calm")
