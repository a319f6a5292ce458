"""librdkafka through confluent-kafka as an agent of the compatibility tests."""

import time

from agent import Failure, decode, emit, emit_record, serve, stopped
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka import TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

TIMEOUT_S = 20
# How long a token is used before the next one is asked for.
TOKEN_S = 600


def settings(request):
    config = {"bootstrap.servers": request["bootstrap"], "log_level": 3}
    if "sasl" in request:
        sasl = request["sasl"]
        protocol = "SASL_SSL" if "tls" in request else "SASL_PLAINTEXT"
        config |= {"security.protocol": protocol, "sasl.mechanism": sasl["mechanism"]}
        if sasl["mechanism"] == "OAUTHBEARER":
            config["oauth_cb"] = lambda _: (sasl["password"], time.time() + TOKEN_S)
        else:
            config |= {"sasl.username": sasl["username"], "sasl.password": sasl["password"]}
    if "tls" in request:
        config["ssl.ca.pem"] = request["tls"]["ca"]
    return config


def raise_error(error):
    # Codes below zero are librdkafka's own.
    raise Failure(error.code() if error.code() >= 0 else None, error.str())


# From one request to the next.
kept_producers = []


def produce(request):
    records = request["records"]
    acked = [None] * len(records)
    failures = []

    def on_delivery(index):
        def note(error, message):
            if error is not None and request.get("mayFail", False):
                acked[index] = {"partition": -1, "offset": -1, "isFailed": True}
            elif error is not None:
                failures.append(error)
            else:
                acked[index] = {"partition": message.partition(), "offset": message.offset()}

        return note

    config = settings(request) | {
        "acks": request.get("acks", -1),
        "enable.idempotence": request.get("idempotent", False),
        "compression.type": request.get("codec", "none"),
        "message.max.bytes": 2 << 20,
        "message.timeout.ms": 30_000,
        # As the Java client places keys.
        "partitioner": "murmur2_random",
        # Its default is 10 s, which is as long as it waits after some connections in a row have failed.
        "reconnect.backoff.max.ms": 500,
    }
    if "batchBytes" in request:
        config["batch.size"] = request["batchBytes"]
    if not request.get("idempotent", False):
        config["max.in.flight.requests.per.connection"] = 1
    keeps = request.get("keepsProducer", False)
    producer = kept_producers[0] if keeps and kept_producers else Producer(config)
    if keeps:
        kept_producers[:] = [producer]
    for index, record in enumerate(records):
        producer.produce(
            request["topic"],
            partition=record.get("partition", -1),
            timestamp=record.get("timestampMs", 0),
            key=decode(record["key"]),
            value=decode(record["value"]),
            headers=[(name, decode(value)) for name, value in record.get("headers", [])],
            on_delivery=on_delivery(index),
        )
        producer.poll(0)
    producer.flush(40)
    if failures:
        raise_error(failures[0])
    return {"acked": acked}


# By transactional id, kept from one request to the next: the producer, and whether its transaction is open.
producers = {}


def transact(request):
    name = request["transactionalId"]
    try:
        if name not in producers:
            producer = Producer(settings(request) | {"transactional.id": name, "partitioner": "murmur2_random"})
            producers[name] = [producer, False]
            producer.init_transactions(TIMEOUT_S)
        producer, is_open = producers[name]
        if not is_open:
            producer.begin_transaction()
            producers[name][1] = True
        acked = send_in_transaction(producer, request)
        if "commits" in request:
            commit_in_transaction(producer, request)
        if request["end"] == "none":
            return {"acked": acked}
        if request["end"] == "commit":
            producer.commit_transaction(TIMEOUT_S)
        else:
            producer.abort_transaction(TIMEOUT_S)
        producers[name][1] = False
        return {"acked": acked}
    except KafkaException as error:
        raise_error(error.args[0])
    except SystemError as error:
        # The library raises a fatal error, and then still calls what waits for deliveries.
        if not isinstance(error.__cause__, KafkaException):
            raise
        raise_error(error.__cause__.args[0])


def send_in_transaction(producer, request):
    acked = [None] * len(request["records"])
    failures = []

    def on_delivery(index):
        def note(error, message):
            if error is not None:
                failures.append(error)
            else:
                acked[index] = {"partition": message.partition(), "offset": message.offset()}

        return note

    for index, record in enumerate(request["records"]):
        producer.produce(
            request["topic"],
            partition=record.get("partition", -1),
            key=decode(record["key"]),
            value=decode(record["value"]),
            on_delivery=on_delivery(index),
        )
    producer.flush(40)
    if failures:
        raise_error(failures[0])
    return acked


def commit_in_transaction(producer, request):
    commits = request["commits"]
    offsets = [TopicPartition(request["topic"], int(each), offset) for each, offset in commits["offsets"].items()]
    consumer = Consumer(settings(request) | {"group.id": commits["group"]})
    try:
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), TIMEOUT_S)
    finally:
        consumer.close()


def emit_message(message):
    if message.error() is not None:
        raise_error(message.error())
    _, timestamp_ms = message.timestamp()
    emit_record(
        message.partition(), message.offset(), timestamp_ms, message.key(), message.value(), message.headers()
    )


def start_of(consumer, request, partition):
    start, at = request["from"], TopicPartition(request["topic"], partition)
    if isinstance(start, str):
        low, high = consumer.get_watermark_offsets(at, TIMEOUT_S)
        return low if start == "earliest" else high
    if "offset" in start:
        return start["offset"]
    at.offset = start["timestampMs"]
    return consumer.offsets_for_times([at], TIMEOUT_S)[0].offset


def consume(request):
    isolation = {"isolation.level": request["isolation"]} if "isolation" in request else {}
    consumer = Consumer(
        settings(request)
        | isolation
        | {
            "group.id": "none",
            "enable.auto.commit": False,
            "auto.offset.reset": {"none": "error"}.get(request.get("reset", "none"), request.get("reset")),
        }
    )
    try:
        starts = [(each, start_of(consumer, request, each)) for each in request["partitions"]]
        consumer.assign([TopicPartition(request["topic"], each, start) for each, start in starts])
        emit("ready")
        deadline = time.monotonic() + request["timeoutMs"] / 1000
        left = request["count"]
        while left > 0 and time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is not None:
                emit_message(message)
                left -= 1
    finally:
        consumer.close()


def group(request):
    classic = request.get("protocol", "classic") == "classic"
    config = settings(request) | {
        "group.id": request["group"],
        "group.protocol": "classic" if classic else "consumer",
        "enable.auto.commit": False,
        "auto.offset.reset": {"none": "error"}.get(request.get("reset"), request.get("reset", "earliest")),
    }
    if "instanceId" in request:
        config["group.instance.id"] = request["instanceId"]
    if classic:
        config["session.timeout.ms"] = request.get("sessionTimeoutMs", 6_000)
        config["heartbeat.interval.ms"] = 500
    consumer = Consumer(config)
    owned = None
    left = request.get("count", float("inf"))
    try:
        consumer.subscribe([request["topic"]])
        while left > 0 and not stopped.is_set():
            message = consumer.poll(0.1)
            now = sorted(each.partition for each in consumer.assignment())
            if now != owned and (now or owned is not None):
                owned = now
                emit("assigned", partitions=owned)
            if message is None:
                continue
            emit_message(message)
            left -= 1
            if request.get("commit", True):
                try:
                    consumer.commit(message=message, asynchronous=False)
                except KafkaException as error:
                    # The record goes to another member, or comes again.
                    emit("commit-failed", message=str(error))
    finally:
        consumer.close()


def admin(request):
    client = AdminClient(settings(request))
    try:
        return ADMIN[request["op"]](client, request)
    except KafkaException as error:
        raise_error(error.args[0])


def only(futures):
    if not isinstance(futures, dict):
        return futures.result(TIMEOUT_S)
    return next(iter(futures.values())).result(TIMEOUT_S)


def create_topic(client, request):
    topic = NewTopic(request["topic"], request["partitions"], config=request.get("configs", {}))
    only(client.create_topics([topic]))


def describe_topic(client, request):
    return {"partitions": len(only(client.describe_topics(TopicCollection([request["topic"]]))).partitions)}


def describe_configs(client, request):
    entries = only(client.describe_configs([ConfigResource(ResourceType.TOPIC, request["topic"])]))
    return {"configs": {name: entry.value for name, entry in entries.items()}}


def alter_configs(client, request):
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in request["configs"].items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, request["topic"], incremental_configs=entries)
    only(client.incremental_alter_configs([resource]))


def delete_records(client, request):
    only(client.delete_records([TopicPartition(request["topic"], request["partition"], request["offset"])]))


def list_offsets(client, request):
    at = request["at"]
    named = {"earliest": OffsetSpec.earliest, "latest": OffsetSpec.latest, "max-timestamp": OffsetSpec.max_timestamp}
    spec = named[at]() if isinstance(at, str) else OffsetSpec.for_timestamp(at)
    partition = TopicPartition(request["topic"], request["partition"])
    return {"offset": only(client.list_offsets({partition: spec})).offset}


def committed(client, request):
    found = only(client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(request["group"])]))
    return {"offsets": {str(each.partition): each.offset for each in found.topic_partitions}}


def reset_offsets(client, request):
    offsets = [TopicPartition(request["topic"], int(each), offset) for each, offset in request["offsets"].items()]
    only(client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(request["group"], offsets)]))


def describe_group(client, request):
    found = only(client.describe_consumer_groups([request["group"]]))
    return {"state": found.state.name.capitalize(), "members": len(found.members)}


ADMIN = {
    "create-topic": create_topic,
    "describe-topic": describe_topic,
    "list-topics": lambda client, request: {"topics": list(client.list_topics(timeout=TIMEOUT_S).topics)},
    "describe-configs": describe_configs,
    "alter-configs": alter_configs,
    "create-partitions": lambda client, request: only(
        client.create_partitions([NewPartitions(request["topic"], request["count"])])
    ),
    "delete-records": delete_records,
    "delete-topic": lambda client, request: only(client.delete_topics([request["topic"]])),
    "list-offsets": list_offsets,
    "committed": committed,
    "reset-offsets": reset_offsets,
    "list-groups": lambda client, request: {
        "groups": [each.group_id for each in only(client.list_consumer_groups()).valid]
    },
    "describe-group": describe_group,
    "delete-group": lambda client, request: only(client.delete_consumer_groups([request["group"]])),
    "describe-cluster": lambda client, request: {"nodes": len(only(client.describe_cluster()).nodes)},
}

serve({"produce": produce, "consume": consume, "group": group, "transact": transact, "admin": admin})
