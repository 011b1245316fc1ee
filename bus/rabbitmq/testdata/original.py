"""A producer and a consumer in the manner of the original: settings from
RABBIT_URL and EXCHANGE_NAME, a durable topic exchange, persistent messages with
the event's id, and a durable queue per consumer."""

import json
import os
import sys

import pika


def connect():
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["RABBIT_URL"]))
    channel = connection.channel()
    exchange = os.environ.get("EXCHANGE_NAME", "bloodbank.events.v1")
    channel.exchange_declare(exchange=exchange, exchange_type="topic", durable=True)
    return connection, channel, exchange


def produce():
    """Publishes the envelopes on standard input, one a line."""
    connection, channel, exchange = connect()
    channel.confirm_delivery()  # a message that is not routed or not stored raises
    for line in sys.stdin:
        body = line.strip().encode("utf-8")
        envelope = json.loads(body)
        channel.basic_publish(
            exchange=exchange,
            routing_key=envelope["event_type"],
            body=body,
            mandatory=True,
            properties=pika.BasicProperties(
                message_id=envelope["event_id"],
                content_type="application/json",
                content_encoding="utf-8",
                delivery_mode=2,
            ),
        )
    connection.close()


def consume(queue, pattern, count):
    """Prints what comes, one line each, after a first line when it listens."""
    connection, channel, exchange = connect()
    channel.queue_declare(queue=queue, durable=True)
    channel.queue_bind(queue=queue, exchange=exchange, routing_key=pattern)
    channel.basic_qos(prefetch_count=1)
    print("ready", flush=True)
    for method, properties, body in channel.consume(queue):
        line = {
            "routing_key": method.routing_key,
            "message_id": properties.message_id,
            "correlation_id": properties.correlation_id,
            "content_type": properties.content_type,
            "content_encoding": properties.content_encoding,
            "delivery_mode": properties.delivery_mode,
            "headers": properties.headers,
            "event": json.loads(body) if properties.content_encoding == "utf-8" else None,
        }
        print(json.dumps(line), flush=True)
        channel.basic_ack(method.delivery_tag)
        count -= 1
        if count == 0:
            break
    channel.cancel()
    connection.close()


if __name__ == "__main__":
    if sys.argv[1] == "produce":
        produce()
    else:
        consume(sys.argv[2], sys.argv[3], int(sys.argv[4]))
