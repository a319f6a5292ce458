"""aiokafka as an agent of the compatibility tests."""

import asyncio
import ssl
import time

from agent import Failure, decode, emit, emit_record, serve, stopped
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.abc import AbstractTokenProvider
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code


class Token(AbstractTokenProvider):
    def __init__(self, text):
        self._text = text

    async def token(self):
        return self._text


def settings(request):
    config = {"bootstrap_servers": request["bootstrap"]}
    if "sasl" in request:
        sasl = request["sasl"]
        protocol = "SASL_SSL" if "tls" in request else "SASL_PLAINTEXT"
        config |= {"security_protocol": protocol, "sasl_mechanism": sasl["mechanism"]}
        if sasl["mechanism"] == "OAUTHBEARER":
            config["sasl_oauth_token_provider"] = Token(sasl["password"])
        else:
            config |= {"sasl_plain_username": sasl["username"], "sasl_plain_password": sasl["password"]}
    if "tls" in request:
        config["ssl_context"] = ssl.create_default_context(cadata=request["tls"]["ca"])
    return config


def command(run, runner=asyncio.run):
    """Runs a coroutine, with the protocol's code in what it raises."""

    def call(request):
        try:
            return runner(run(request))
        except KafkaError as error:
            code = getattr(error, "errno", None)
            raise Failure(code if isinstance(code, int) and code > 0 else None, repr(error)) from error
        except asyncio.CancelledError as error:
            # Its consumer cancels itself when it is closed after an error.
            raise error.__context__ or Failure(None, "cancelled") from None

    return call


async def produce(request):
    codec = request.get("codec", "none")
    options = {"max_batch_size": request["batchBytes"]} if "batchBytes" in request else {}
    producer = AIOKafkaProducer(
        **settings(request),
        **options,
        acks=request.get("acks", -1),
        enable_idempotence=request.get("idempotent", False),
        compression_type=None if codec == "none" else codec,
        max_request_size=2 << 20,
        linger_ms=5,
    )
    await producer.start()
    try:
        sent = [
            await producer.send(
                request["topic"],
                partition=record.get("partition"),
                timestamp_ms=record.get("timestampMs"),
                key=decode(record["key"]),
                value=decode(record["value"]),
                headers=[(name, decode(value)) for name, value in record.get("headers", [])],
            )
            for record in request["records"]
        ]
        acked = await asyncio.gather(*sent, return_exceptions=True)
    finally:
        await producer.stop()
    errors = [each for each in acked if isinstance(each, BaseException)]
    if errors and not request.get("mayFail", False):
        raise errors[0]
    if request.get("acks", -1) == 0:
        return {"acked": [{"partition": record.get("partition", -1), "offset": -1} for record in request["records"]]}
    return {"acked": [told(each) for each in acked]}


def told(result):
    if isinstance(result, BaseException):
        return {"partition": -1, "offset": -1, "isFailed": True}
    return {"partition": result.partition, "offset": result.offset}


# By transactional id, kept from one request to the next: the producer, and whether its transaction is open.
producers = {}


async def transact(request):
    name = request["transactionalId"]
    if name not in producers:
        producers[name] = [AIOKafkaProducer(**settings(request), transactional_id=name), False]
        await producers[name][0].start()
    producer, is_open = producers[name]
    if not is_open:
        await producer.begin_transaction()
        producers[name][1] = True
    acked = await asyncio.gather(*[
        await producer.send(
            request["topic"],
            partition=record.get("partition"),
            key=decode(record["key"]),
            value=decode(record["value"]),
        )
        for record in request["records"]
    ])
    if "commits" in request:
        commits = request["commits"]
        offsets = {TopicPartition(request["topic"], int(each)): at for each, at in commits["offsets"].items()}
        await producer.send_offsets_to_transaction(offsets, commits["group"])
    if request["end"] != "none":
        await (producer.commit_transaction() if request["end"] == "commit" else producer.abort_transaction())
        producers[name][1] = False
    return {"acked": [told(each) for each in acked]}


def emit_message(record):
    emit_record(record.partition, record.offset, record.timestamp, record.key, record.value, record.headers)


async def go_to_start(consumer, partitions, start):
    if start == "earliest":
        await consumer.seek_to_beginning(*partitions)
    elif start == "latest":
        await consumer.seek_to_end(*partitions)
    elif "offset" in start:
        for each in partitions:
            consumer.seek(each, start["offset"])
    else:
        found = await consumer.offsets_for_times({each: start["timestampMs"] for each in partitions})
        for each in partitions:
            if found[each] is None:
                await consumer.seek_to_end(each)
            else:
                consumer.seek(each, found[each].offset)


async def consume(request):
    consumer = AIOKafkaConsumer(
        **settings(request),
        enable_auto_commit=False,
        auto_offset_reset=request.get("reset", "none"),
        isolation_level=request.get("isolation", "read_uncommitted"),
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(request["topic"], each) for each in request["partitions"]]
        consumer.assign(partitions)
        await go_to_start(consumer, partitions, request["from"])
        if isinstance(request["from"], str):
            for each in partitions:
                await consumer.position(each)
        emit("ready")
        deadline = time.monotonic() + request["timeoutMs"] / 1000
        left = request["count"]
        while left > 0 and time.monotonic() < deadline:
            for records in (await consumer.getmany(timeout_ms=500, max_records=left)).values():
                for record in records:
                    emit_message(record)
                    left -= 1
    finally:
        await consumer.stop()


async def group(request):
    options = {"group_instance_id": request["instanceId"]} if "instanceId" in request else {}
    consumer = AIOKafkaConsumer(
        **settings(request),
        **options,
        group_id=request["group"],
        enable_auto_commit=False,
        auto_offset_reset=request.get("reset", "earliest"),
        session_timeout_ms=request.get("sessionTimeoutMs", 6_000),
        heartbeat_interval_ms=500,
        max_poll_interval_ms=60_000,
    )

    class Listener(ConsumerRebalanceListener):
        async def on_partitions_revoked(self, revoked):
            pass

        async def on_partitions_assigned(self, assigned):
            emit("assigned", partitions=sorted(each.partition for each in assigned))

    consumer.subscribe([request["topic"]], listener=Listener())
    await consumer.start()
    left = request.get("count", float("inf"))
    try:
        while left > 0 and not stopped.is_set():
            options = {} if left == float("inf") else {"max_records": left}
            found = await consumer.getmany(timeout_ms=100, **options)
            offsets = {}
            for partition, records in found.items():
                for record in records:
                    emit_message(record)
                    left -= 1
                    offsets[partition] = record.offset + 1
            if offsets and request.get("commit", True):
                try:
                    await consumer.commit(offsets)
                except KafkaError as error:
                    # The records go to another member, or come again.
                    emit("commit-failed", message=repr(error))
    finally:
        await consumer.stop()


async def admin(request):
    client = AIOKafkaAdminClient(**settings(request), request_timeout_ms=20_000)
    await client.start()
    try:
        return await ADMIN[request["op"]](client, request)
    finally:
        await client.close()


def check(code):
    if code != 0:
        raise Failure(code, for_code(code).__name__)


async def create_topic(client, request):
    topic = NewTopic(request["topic"], request["partitions"], 1, topic_configs=request.get("configs", {}))
    answer = await client.create_topics([topic])
    check(answer.topic_errors[0][1])


async def describe_topic(client, request):
    (found,) = await client.describe_topics([request["topic"]])
    check(found["error_code"])
    return {"partitions": len(found["partitions"])}


async def list_topics(client, request):
    return {"topics": await client.list_topics()}


async def describe_configs(client, request):
    (answer,) = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, request["topic"])])
    ((code, _, _, _, entries),) = answer.resources
    check(code)
    return {"configs": {entry[0]: entry[1] for entry in entries}}


async def alter_configs(client, request):
    resource = ConfigResource(ConfigResourceType.TOPIC, request["topic"], configs=request["configs"])
    (answer,) = await client.alter_configs([resource])
    check(answer.resources[0][0])


async def create_partitions(client, request):
    answer = await client.create_partitions({request["topic"]: NewPartitions(request["count"])})
    check(answer.topic_errors[0][1])


async def delete_records(client, request):
    partition = TopicPartition(request["topic"], request["partition"])
    await client.delete_records({partition: RecordsToDelete(before_offset=request["offset"])})


async def delete_topic(client, request):
    answer = await client.delete_topics([request["topic"]])
    check(answer.topic_error_codes[0][1])


async def list_offsets(client, request):
    # The admin client has no such operation, its consumer has.
    partition = TopicPartition(request["topic"], request["partition"])
    consumer = AIOKafkaConsumer(**settings(request))
    await consumer.start()
    try:
        if request["at"] == "earliest":
            return {"offset": (await consumer.beginning_offsets([partition]))[partition]}
        if request["at"] == "latest":
            return {"offset": (await consumer.end_offsets([partition]))[partition]}
        found = (await consumer.offsets_for_times({partition: request["at"]}))[partition]
        return {"offset": -1 if found is None else found.offset}
    finally:
        await consumer.stop()


async def committed(client, request):
    found = await client.list_consumer_group_offsets(request["group"])
    return {"offsets": {str(partition.partition): each.offset for partition, each in found.items()}}


async def reset_offsets(client, request):
    # As a consumer that assigns its partitions itself may do: the group is empty.
    consumer = AIOKafkaConsumer(**settings(request), group_id=request["group"], enable_auto_commit=False)
    await consumer.start()
    try:
        offsets = {TopicPartition(request["topic"], int(each)): offset for each, offset in request["offsets"].items()}
        consumer.assign(list(offsets))
        await consumer.commit(offsets)
    finally:
        await consumer.stop()


async def list_groups(client, request):
    return {"groups": [each[0] for each in await client.list_consumer_groups()]}


async def describe_group(client, request):
    (answer,) = await client.describe_consumer_groups([request["group"]])
    code, _, state, _, _, members = answer.groups[0][:6]
    check(code)
    return {"state": state, "members": len(members)}


async def describe_cluster(client, request):
    return {"nodes": len((await client.describe_cluster())["brokers"])}


ADMIN = {
    "create-topic": create_topic,
    "describe-topic": describe_topic,
    "list-topics": list_topics,
    "describe-configs": describe_configs,
    "alter-configs": alter_configs,
    "create-partitions": create_partitions,
    "delete-records": delete_records,
    "delete-topic": delete_topic,
    "list-offsets": list_offsets,
    "committed": committed,
    "reset-offsets": reset_offsets,
    "list-groups": list_groups,
    "describe-group": describe_group,
    "describe-cluster": describe_cluster,
}

COMMANDS = {"produce": produce, "consume": consume, "group": group, "admin": admin}
# Its producers live on from one request to the next, and so does their loop.
with asyncio.Runner() as lasting:
    serve({name: command(run) for name, run in COMMANDS.items()} | {"transact": command(transact, lasting.run)})
