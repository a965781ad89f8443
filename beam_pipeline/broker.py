"""RabbitMQ, as the environment describes it: no address and no credential of it is ever a setting.

``AMQP_URL`` is its address, ``amqps://rabbitmq:5671/vhost`` (TLS) or ``amqp://...``. User and password are in it, or in
``AMQP_USER`` and ``AMQP_PASSWORD``. With TLS, ``AMQP_CA_FILE`` has the authorities that are trusted instead of the
system's, and ``AMQP_CERT_FILE`` with ``AMQP_KEY_FILE`` the client's own certificate.
"""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from schemas.errors import WRONG_USAGE, ToldError

if TYPE_CHECKING:
    import pika

ANSWER_SECONDS = 10
"""How long the broker may take to answer when it is connected to."""
CONFIRM_SECONDS = 30
"""How long it may take when it is asked, or has to confirm: a quorum queue may have to find a leader first."""
SHORT_BYTES = 255
"""Bytes of a name or an id in AMQP at most."""
HEARTBEAT_SECONDS = 60
LOGGER = logging.getLogger(__name__)
_PORTS = {"amqp": 5672, "amqps": 5671}


class BrokerSettingsError(ToldError):
    """The environment doesn't say where RabbitMQ is, or not so that it can be used."""

    exit_status = WRONG_USAGE


class BrokerUnavailable(ToldError):
    """RabbitMQ can't be reached, or refuses."""


def parameters(environment: Mapping[str, str] = os.environ) -> pika.ConnectionParameters:
    """How to connect.

    Raises:
      BrokerSettingsError: a variable is missing or can't be used; passwords aren't repeated.
    """
    import pika

    logging.getLogger("pika").setLevel(logging.CRITICAL)  # each failed attempt with its stack; we say it in a sentence
    url = environment.get("AMQP_URL", "")
    if not url:
        raise BrokerSettingsError(
            "AMQP_URL: not in the environment; set it to RabbitMQ's, as in amqps://rabbitmq:5671/"
        )
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
        if "@" in parts.path + parts.query + parts.fragment:  # behind a password with a character that ends the host
            raise ValueError
    except (ValueError, KeyError):
        raise BrokerSettingsError(
            "AMQP_URL: isn't of the form amqps://host:5671/vhost or amqp://...; give a password with special "
            "characters in AMQP_PASSWORD"
        ) from None
    user = environment.get("AMQP_USER") or urllib.parse.unquote(parts.username or "guest")
    password = environment.get("AMQP_PASSWORD") or urllib.parse.unquote(parts.password or "guest")
    return pika.ConnectionParameters(
        host=parts.hostname or "localhost",
        port=port,
        virtual_host=urllib.parse.unquote(parts.path.removeprefix("/")) or "/",
        credentials=pika.PlainCredentials(user, password),
        ssl_options=_tls(parts.hostname or "localhost", environment) if parts.scheme == "amqps" else None,
        heartbeat=HEARTBEAT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        stack_timeout=ANSWER_SECONDS,
        blocked_connection_timeout=ANSWER_SECONDS,
        client_properties={"product": "beam_pipeline"},
    )


def connect(settings: pika.ConnectionParameters) -> pika.BlockingConnection:
    """A connection.

    Raises:
      BrokerUnavailable: there is none to be had.
    """
    import pika
    from pika.adapters.utils.connection_workflow import AMQPConnectorException  # no AMQPError

    try:
        return pika.BlockingConnection(settings)
    except (pika.exceptions.AMQPError, AMQPConnectorException, OSError) as error:
        raise unavailable(settings, error) from error


@contextlib.contextmanager
def answering(connection: pika.BlockingConnection) -> Iterator[None]:
    """Ends the connection if what is asked in the block isn't answered in time: pika itself waits for ever.

    Raises:
      pika.exceptions.ConnectionBlockedTimeout: no answer came.
    """
    import pika

    of = connection._impl
    late = pika.exceptions.ConnectionBlockedTimeout(f"no answer within {CONFIRM_SECONDS} s")
    timer = of._adapter_call_later(CONFIRM_SECONDS, lambda: of._terminate_stream(late))
    try:
        yield
    finally:
        of._adapter_remove_timeout(timer)


def close(connection: pika.BlockingConnection | None) -> None:
    """Ends a connection, if there is one and it is open."""
    import pika

    if connection is None or not connection.is_open:
        return
    try:
        with answering(connection):
            connection.close()
    except (pika.exceptions.AMQPError, OSError) as error:
        LOGGER.debug("the connection to RabbitMQ ended by itself: %r", error)


def unavailable(settings: pika.ConnectionParameters, error: BaseException) -> BrokerUnavailable:
    """The sentence for a failure of the connection, or of what was asked over it."""
    said = str(error) or repr(error.__cause__ or error)
    return BrokerUnavailable(
        f"AMQP_URL: RabbitMQ on {settings.host}:{settings.port} (virtual host {settings.virtual_host!r}) "
        f"can't be used: {' '.join(said.split())}"
    )


def _tls(host: str, environment: Mapping[str, str]) -> pika.SSLOptions:
    import pika

    names = ("AMQP_CA_FILE", "AMQP_CERT_FILE", "AMQP_KEY_FILE")
    authorities, certificate, key = (environment.get(name) or None for name in names)
    if key and not certificate:
        raise BrokerSettingsError("AMQP_KEY_FILE: needs the certificate that it belongs to, AMQP_CERT_FILE")
    try:
        context = ssl.create_default_context(cafile=authorities)
        if certificate:
            context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(f"{name}={environment[name]}" for name in names if environment.get(name))
        raise BrokerSettingsError(f"{files}: can't be used: {error.strerror or error}") from error
    return pika.SSLOptions(context, host)
