"""Publishing what waits in the outbox to RabbitMQ: at least once, in order within a stream, each with the same id."""

from __future__ import annotations

import logging
import time

import pika
import pika.exceptions

from beam_pipeline import broker
from beam_pipeline.broker import BrokerUnavailable
from schemas.events import CONTENT_TYPE, Event
from transforms.io import outbox
from transforms.io.lineage import Lineage

LOGGER = logging.getLogger(__name__)

_AT_ONCE = 500
"""Events of one transaction: so many are sent again at most if the connection to PostgreSQL is lost."""
_SECONDS = 2.0
"""How long a transaction goes on to publish, unless a broker takes its time to answer."""
_LONGEST_PAUSE = 60.0
_REFUSED = (403, 406)


class Publisher:
    """Sends events; keeps its connection, and leaves a broker alone for a while that is away.

    Each event waits for its confirmation, a millisecond: 1,000 a second to a quorum queue on the same machine.

    Not for several threads at once.

    Args:
      settings: of the connection (``beam_pipeline.broker``).
    """

    def __init__(self, settings: pika.ConnectionParameters):
        self._settings = settings
        self._connection: pika.BlockingConnection | None = None
        self._channel: pika.adapters.blocking_connection.BlockingChannel | None = None
        self._declared: set[str] = set()
        self._pause, self._not_before = 1.0, 0.0

    def send(self, lineage: Lineage) -> int:
        """Sends some of what waits, for about two seconds; returns how many events.

        Raises:
          BrokerUnavailable: the broker can't be used; what it has confirmed before is out of the outbox.
          LineageUnavailable: the database can't.
        """
        failed: list[BrokerUnavailable] = []
        end = time.monotonic() + _SECONDS

        def publish(event: Event) -> bool:
            if time.monotonic() > end:
                return False
            try:
                self._publish(event)
            except BrokerUnavailable as error:
                failed.append(error)
                return False
            return True

        sent = lineage.read(lambda connection: outbox.send(connection, publish, _AT_ONCE))
        if failed:
            raise failed[0]
        self._answer_heartbeats()
        return sent

    def try_to_send(self, lineage: Lineage) -> None:
        """Sends some of what waits; if the broker is away, says so once and tries again later."""
        if time.monotonic() < self._not_before:
            return
        try:
            self.send(lineage)
        except BrokerUnavailable as error:
            if self._pause == 1.0:
                LOGGER.warning("%s. Events wait in the outbox until it can", error)
            self._not_before = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        else:
            self._pause = 1.0

    def send_all(self, lineage: Lineage, seconds: float) -> int:
        """Sends all that waits, for so many seconds at most; returns how many events.

        Raises:
          BrokerUnavailable, LineageUnavailable: as ``send``.
        """
        end, total = time.monotonic() + seconds, 0
        while (sent := self.send(lineage)) and time.monotonic() < end:
            total += sent
        return total + sent

    def close(self) -> None:
        """Ends the connection, if there is one."""
        connection, self._connection, self._channel = self._connection, None, None
        self._declared.clear()
        broker.close(connection)

    def _publish(self, event: Event) -> None:
        """Returns when the broker has confirmed the event."""
        properties = pika.BasicProperties(
            content_type=CONTENT_TYPE,
            delivery_mode=2,
            message_id=event.id if len(event.id.encode()) <= broker.SHORT_BYTES else None,  # it is in the body, too
            type=event.fact.kind,
        )
        try:
            if self._connection is None or self._channel is None or not self._channel.is_open:
                self.close()
                self._connection = broker.connect(self._settings)
            with broker.answering(self._connection):
                channel = self._opened(self._connection, event.exchange)
                channel.basic_publish(event.exchange, event.fact.kind, event.encode(), properties)
        except (pika.exceptions.AMQPError, OSError) as error:
            self.close()
            raise broker.unavailable(self._settings, error) from error

    def _opened(
        self, connection: pika.BlockingConnection, exchange: str
    ) -> pika.adapters.blocking_connection.BlockingChannel:
        if self._channel is None:
            self._channel = connection.channel()
            self._channel.confirm_delivery()
        if exchange not in self._declared:
            self._declare(connection, exchange)
            self._declared.add(exchange)
        return self._channel

    @staticmethod
    def _declare(connection: pika.BlockingConnection, exchange: str) -> None:
        """Makes the exchange, or makes sure that it is there if this user may not make it."""
        channel = connection.channel()
        try:
            channel.exchange_declare(exchange, "topic", durable=True)
        except pika.exceptions.ChannelClosedByBroker as error:
            if error.reply_code not in _REFUSED:
                raise
            channel = connection.channel()
            channel.exchange_declare(exchange, passive=True)
        channel.close()

    def _answer_heartbeats(self) -> None:
        if self._connection is not None:
            try:
                self._connection.process_data_events(0)
            except (pika.exceptions.AMQPError, OSError):
                self.close()  # the next event finds out
