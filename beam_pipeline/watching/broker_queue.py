"""The queue of notifications: a quorum queue, read with manual acknowledgement and bounded prefetch.

What isn't understood goes to the queue ``NAME.dead``, with the reason in its header ``x-reason``, and is acknowledged
once RabbitMQ has confirmed it there: it doesn't stop the queue, and it isn't lost.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pika
import pika.exceptions

from beam_pipeline import broker
from beam_pipeline.broker import BrokerUnavailable

LOGGER = logging.getLogger(__name__)

DEAD = ".dead"
"""After a queue's name: the queue of its dead letters."""
_NOT_FOUND = 404
_DELIVERIES = 1000
"""After so many a message is dead: it has killed its consumer each time."""


@dataclasses.dataclass(frozen=True)
class Message:
    """A message that waits to be acknowledged."""

    tag: int
    body: bytes
    redelivered: bool


class Queue:
    """A connection that consumes a queue. Any failure ends it: what isn't acknowledged will come again.

    Not for several threads at once.

    Args:
      settings: of the connection.
      name: of the queue; it is made if it isn't there.
      prefetch: messages that are delivered and not acknowledged, at most.
    """

    def __init__(self, settings: pika.ConnectionParameters, name: str, prefetch: int):
        self._settings, self.name = settings, name
        self._prefetch = prefetch
        self._connection: pika.BlockingConnection | None = None
        self._received: list[Message] = []

    @property
    def open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None and self._connection.is_open and self._channel.is_open

    def connect(self) -> None:
        """Connects and begins to consume.

        Raises:
          BrokerUnavailable: it can't.
        """
        self.close()
        self._connection = connection = broker.connect(self._settings)
        try:
            with broker.answering(connection):
                dead = f"{self.name}{DEAD}"
                self._declare(connection, dead, {})
                dead_letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
                self._declare(connection, self.name, {**dead_letters, "x-delivery-limit": _DELIVERIES})
                self._channel = connection.channel()
                self._channel.confirm_delivery()
                self._channel.basic_qos(prefetch_count=self._prefetch)
                self._channel.basic_consume(self.name, self._receive)
        except (pika.exceptions.AMQPError, OSError) as error:
            raise self._failed(error) from error

    def receive(self, seconds: float) -> list[Message]:
        """What comes within so many seconds; at once, if something does.

        Raises:
          BrokerUnavailable: the connection is lost.
        """
        try:
            self._connected().process_data_events(seconds)
        except (pika.exceptions.AMQPError, OSError) as error:
            raise self._failed(error) from error
        received, self._received = self._received, []
        return received

    def acknowledge(self, message: Message) -> None:
        """Tells RabbitMQ that a message is done with.

        Raises:
          BrokerUnavailable: as ``receive``.
        """
        try:
            self._channel.basic_ack(message.tag)
        except (pika.exceptions.AMQPError, OSError) as error:
            raise self._failed(error) from error

    def give_back(self, message: Message) -> None:
        """Has RabbitMQ deliver a message once more.

        Raises:
          BrokerUnavailable: as ``receive``.
        """
        try:
            self._channel.basic_nack(message.tag, requeue=True)
        except (pika.exceptions.AMQPError, OSError) as error:
            raise self._failed(error) from error

    def set_aside(self, message: Message, reason: str) -> None:
        """Moves a message to the queue of dead letters.

        Raises:
          BrokerUnavailable: as ``receive``.
        """
        LOGGER.warning("a message of queue %s %s; it goes to %s%s", self.name, reason, self.name, DEAD)
        properties = pika.BasicProperties(delivery_mode=2, headers={"x-reason": reason[:1000]})
        try:
            with broker.answering(self._connected()):
                self._channel.basic_publish("", f"{self.name}{DEAD}", message.body, properties, mandatory=True)
                self._channel.basic_ack(message.tag)
        except (pika.exceptions.AMQPError, OSError) as error:
            raise self._failed(error) from error

    def waiting(self) -> int:
        """How many messages are ready to be delivered.

        Raises:
          BrokerUnavailable: as ``receive``.
        """
        try:
            with broker.answering(self._connected()):
                return int(self._channel.queue_declare(self.name, passive=True).method.message_count)
        except (pika.exceptions.AMQPError, OSError) as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Ends the connection, if there is one."""
        connection, self._connection, self._received = self._connection, None, []
        broker.close(connection)

    def _connected(self) -> pika.BlockingConnection:
        if self._connection is None or not self._channel.is_open:
            raise pika.exceptions.ConnectionClosed(0, "the channel was closed")
        return self._connection

    @staticmethod
    def _declare(connection: pika.BlockingConnection, name: str, arguments: dict[str, Any]) -> None:
        """Makes a queue; one that is there stays as whoever made it wanted it."""
        channel = connection.channel()
        try:
            channel.queue_declare(name, passive=True)
        except pika.exceptions.ChannelClosedByBroker as error:
            if error.reply_code != _NOT_FOUND:
                raise
            channel = connection.channel()
            channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum", **arguments})
        channel.close()

    def _receive(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self._received.append(Message(method.delivery_tag, body, method.redelivered))

    def _failed(self, error: BaseException) -> BrokerUnavailable:
        self.close()
        return broker.unavailable(self._settings, error)
