import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.ListOffsetsResult;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The Java client as an agent of the compatibility tests. README.md describes what goes in and out. */
public final class Agent {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);
  private static final LinkedBlockingQueue<Optional<String>> LINES = new LinkedBlockingQueue<>();
  private static volatile boolean inputEnded = false;

  private Agent() {}

  public static void main(String[] args) throws Exception {
    Thread reader = new Thread(Agent::readInput);
    reader.setDaemon(true);
    reader.start();
    for (Optional<String> line = LINES.take(); line.isPresent(); line = LINES.take()) {
      try {
        emit("done", run(JSON.readTree(line.get())));
      } catch (Throwable error) {
        emit("failed", failure(error));
      }
    }
    System.exit(0);
  }

  private static void readInput() {
    try (BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
      for (String line = in.readLine(); line != null; line = in.readLine()) LINES.add(Optional.of(line));
    } catch (java.io.IOException error) {
      System.err.println(error);
    }
    inputEnded = true;
    LINES.add(Optional.empty());
  }

  private static ObjectNode run(JsonNode request) throws Exception {
    return switch (request.get("command").asText()) {
      case "produce" -> produce(request);
      case "consume" -> consume(request);
      case "group" -> group(request);
      case "transact" -> Transactions.transact(request);
      case "admin" -> admin(request);
      default -> throw new IllegalArgumentException("unknown command");
    };
  }

  private static ObjectNode failure(Throwable error) {
    Throwable cause = error;
    while (cause instanceof ExecutionException && cause.getCause() != null) cause = cause.getCause();
    for (Throwable at = cause; at != null; at = at.getCause()) {
      if (at instanceof ApiException) cause = at;
    }
    ObjectNode node = JSON.createObjectNode();
    if (cause instanceof ApiException) node.put("code", Errors.forException(cause).code());
    return node.put("message", cause.toString());
  }

  private static synchronized void emit(String event, ObjectNode body) {
    ObjectNode line = JSON.createObjectNode().put("event", event);
    line.setAll(body);
    OUT.println(line);
    OUT.flush();
  }

  static Properties properties(JsonNode request) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", request.get("bootstrap").asText());
    JsonNode sasl = request.get("sasl");
    if (sasl != null) {
      String mechanism = sasl.get("mechanism").asText();
      String module =
          switch (mechanism) {
            case "PLAIN" -> "plain.PlainLoginModule";
            case "OAUTHBEARER" -> "oauthbearer.OAuthBearerLoginModule";
            default -> "scram.ScramLoginModule";
          };
      properties.put("security.protocol", request.has("tls") ? "SASL_SSL" : "SASL_PLAINTEXT");
      properties.put("sasl.mechanism", mechanism);
      if (mechanism.equals("OAUTHBEARER"))
        properties.put("sasl.login.callback.handler.class", TokenHandler.class.getName());
      properties.put(
          "sasl.jaas.config",
          "org.apache.kafka.common.security." + module + " required username=\"" + sasl.get("username").asText()
              + "\" password=\"" + sasl.get("password").asText() + "\";");
    }
    if (request.has("tls")) {
      properties.put("ssl.truststore.type", "PEM");
      properties.put("ssl.truststore.certificates", request.get("tls").get("ca").asText());
    }
    return properties;
  }

  /** From one request to the next. */
  private static KafkaProducer<byte[], byte[]> kept;

  private static ObjectNode produce(JsonNode request) throws Exception {
    Properties properties = properties(request);
    int acks = request.path("acks").asInt(-1);
    boolean idempotent = request.path("idempotent").asBoolean(false);
    properties.put("acks", acks == -1 ? "all" : String.valueOf(acks));
    properties.put("enable.idempotence", idempotent);
    properties.put("compression.type", request.path("codec").asText("none"));
    properties.put("max.request.size", 2 << 20);
    properties.put("delivery.timeout.ms", 30_000);
    properties.put("request.timeout.ms", 20_000);
    if (request.has("batchBytes")) properties.put("batch.size", request.get("batchBytes").asInt());
    // Without idempotence only one request in flight keeps the order over a repetition.
    if (!idempotent) properties.put("max.in.flight.requests.per.connection", 1);
    ArrayNode acked = JSON.createArrayNode();
    boolean keeps = request.path("keepsProducer").asBoolean(false);
    KafkaProducer<byte[], byte[]> producer =
        keeps && kept != null
            ? kept
            : new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    if (keeps) kept = producer;
    try {
      List<Future<RecordMetadata>> sent = new ArrayList<>();
      for (JsonNode record : request.get("records"))
        sent.add(producer.send(recordOf(request.get("topic").asText(), record)));
      producer.flush();
      for (Future<RecordMetadata> each : sent) {
        try {
          RecordMetadata metadata = each.get();
          acked.addObject().put("partition", metadata.partition()).put("offset", metadata.offset());
        } catch (ExecutionException error) {
          if (!request.path("mayFail").asBoolean(false)) throw error;
          acked.addObject().put("partition", -1).put("offset", -1).put("isFailed", true);
        }
      }
    } finally {
      if (!keeps) producer.close();
    }
    ObjectNode result = JSON.createObjectNode();
    result.set("acked", acked);
    return result;
  }

  static ProducerRecord<byte[], byte[]> recordOf(String topic, JsonNode record) {
    List<Header> headers = new ArrayList<>();
    for (JsonNode header : record.path("headers"))
      headers.add(new RecordHeader(header.get(0).asText(), bytes(header.get(1))));
    return new ProducerRecord<>(
        topic,
        record.has("partition") ? record.get("partition").asInt() : null,
        record.has("timestampMs") ? record.get("timestampMs").asLong() : null,
        bytes(record.get("key")),
        bytes(record.get("value")),
        headers);
  }

  private static KafkaConsumer<byte[], byte[]> consumer(Properties properties) {
    properties.put("enable.auto.commit", false);
    return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
  }

  private static ObjectNode consume(JsonNode request) {
    Properties properties = properties(request);
    properties.put("auto.offset.reset", request.path("reset").asText("none"));
    if (request.has("isolation")) properties.put("isolation.level", request.get("isolation").asText());
    try (KafkaConsumer<byte[], byte[]> consumer = consumer(properties)) {
      List<TopicPartition> partitions = new ArrayList<>();
      for (JsonNode partition : request.get("partitions"))
        partitions.add(new TopicPartition(request.get("topic").asText(), partition.asInt()));
      consumer.assign(partitions);
      JsonNode from = request.get("from");
      if (from.isTextual() && from.asText().equals("earliest")) consumer.seekToBeginning(partitions);
      else if (from.isTextual()) consumer.seekToEnd(partitions);
      else if (from.has("offset")) partitions.forEach((each) -> consumer.seek(each, from.get("offset").asLong()));
      else seekToTime(consumer, partitions, from.get("timestampMs").asLong());
      if (from.isTextual()) partitions.forEach(consumer::position);
      emit("ready", JSON.createObjectNode());
      long left = request.get("count").asLong();
      long deadline = System.currentTimeMillis() + request.get("timeoutMs").asLong();
      while (left > 0 && System.currentTimeMillis() < deadline) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
          if (left-- > 0) emitRecord(record);
        }
      }
    }
    return JSON.createObjectNode();
  }

  private static void seekToTime(
      KafkaConsumer<byte[], byte[]> consumer, List<TopicPartition> partitions, long timestampMs) {
    Map<TopicPartition, Long> times = new HashMap<>();
    partitions.forEach((each) -> times.put(each, timestampMs));
    Map<TopicPartition, OffsetAndTimestamp> found = consumer.offsetsForTimes(times);
    for (TopicPartition partition : partitions) {
      if (found.get(partition) == null) consumer.seekToEnd(List.of(partition));
      else consumer.seek(partition, found.get(partition).offset());
    }
  }

  private static ObjectNode group(JsonNode request) {
    Properties properties = properties(request);
    boolean classic = !request.path("protocol").asText("classic").equals("consumer");
    properties.put("group.id", request.get("group").asText());
    properties.put("group.protocol", classic ? "classic" : "consumer");
    properties.put("auto.offset.reset", request.path("reset").asText("earliest"));
    if (request.has("instanceId")) properties.put("group.instance.id", request.get("instanceId").asText());
    if (classic) {
      properties.put("session.timeout.ms", request.path("sessionTimeoutMs").asInt(6_000));
      properties.put("heartbeat.interval.ms", 500);
    }
    boolean commits = request.path("commit").asBoolean(true);
    long left = request.path("count").asLong(Long.MAX_VALUE);
    Set<TopicPartition> owned = null;
    try (KafkaConsumer<byte[], byte[]> consumer = consumer(properties)) {
      consumer.subscribe(List.of(request.get("topic").asText()));
      while (left > 0 && !inputEnded) {
        Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
          owned = emitOwned(consumer, owned);
          if (left-- <= 0) break;
          emitRecord(record);
          next.put(
              new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
        }
        owned = emitOwned(consumer, owned);
        try {
          if (commits && !next.isEmpty()) consumer.commitSync(next);
        } catch (org.apache.kafka.clients.consumer.CommitFailedException
            | org.apache.kafka.common.errors.RebalanceInProgressException error) {
          // The records go to another member, or come again.
          System.err.println(error);
        }
      }
    }
    return JSON.createObjectNode();
  }

  private static Set<TopicPartition> emitOwned(KafkaConsumer<byte[], byte[]> consumer, Set<TopicPartition> before) {
    Set<TopicPartition> owned = new HashSet<>(consumer.assignment());
    if (owned.equals(before) || (before == null && owned.isEmpty())) return before;
    ObjectNode body = JSON.createObjectNode();
    ArrayNode partitions = body.putArray("partitions");
    owned.stream().mapToInt(TopicPartition::partition).sorted().forEach(partitions::add);
    emit("assigned", body);
    return owned;
  }

  private static void emitRecord(ConsumerRecord<byte[], byte[]> record) {
    ObjectNode body =
        JSON.createObjectNode()
            .put("partition", record.partition())
            .put("offset", record.offset())
            .put("timestampMs", record.timestamp())
            .put("key", base64(record.key()))
            .put("value", base64(record.value()));
    ArrayNode headers = body.putArray("headers");
    for (Header header : record.headers()) headers.addArray().add(header.key()).add(base64(header.value()));
    emit("record", body);
  }

  private static ObjectNode admin(JsonNode request) throws Exception {
    ObjectNode result = JSON.createObjectNode();
    Properties properties = properties(request);
    properties.put("default.api.timeout.ms", 20_000);
    properties.put("request.timeout.ms", 10_000);
    String topic = request.path("topic").asText();
    String group = request.path("group").asText();
    TopicPartition partition = new TopicPartition(topic, request.path("partition").asInt());
    try (Admin admin = Admin.create(properties)) {
      switch (request.get("op").asText()) {
        case "create-topic" -> {
          NewTopic created = new NewTopic(topic, Optional.of(request.get("partitions").asInt()), Optional.empty());
          admin.createTopics(List.of(created.configs(strings(request.path("configs"))))).all().get();
        }
        case "describe-topic" ->
            result.put(
                "partitions", admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size());
        case "list-topics" -> admin.listTopics().names().get().forEach(result.putArray("topics")::add);
        case "describe-configs" -> {
          ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
          ObjectNode configs = result.putObject("configs");
          for (ConfigEntry entry : admin.describeConfigs(List.of(resource)).all().get().get(resource).entries())
            configs.put(entry.name(), entry.value());
        }
        case "alter-configs" -> {
          Collection<AlterConfigOp> changes = new ArrayList<>();
          strings(request.get("configs"))
              .forEach(
                  (name, value) ->
                      changes.add(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
          ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
          admin.incrementalAlterConfigs(Map.of(resource, changes)).all().get();
        }
        case "create-partitions" ->
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(request.get("count").asInt()))).all().get();
        case "delete-records" ->
            admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(request.get("offset").asLong())))
                .all()
                .get();
        case "delete-topic" -> admin.deleteTopics(List.of(topic)).all().get();
        case "list-offsets" -> {
          ListOffsetsOptions options =
              new ListOffsetsOptions(
                  request.path("isolation").asText().equals("read_committed")
                      ? IsolationLevel.READ_COMMITTED
                      : IsolationLevel.READ_UNCOMMITTED);
          ListOffsetsResult.ListOffsetsResultInfo found =
              admin
                  .listOffsets(Map.of(partition, offsetSpec(request.get("at"))), options)
                  .partitionResult(partition)
                  .get();
          result.put("offset", found.offset());
        }
        case "committed" -> {
          ObjectNode offsets = result.putObject("offsets");
          admin
              .listConsumerGroupOffsets(group)
              .partitionsToOffsetAndMetadata()
              .get()
              .forEach(
                  (at, offset) -> {
                    if (at.topic().equals(topic)) offsets.put(String.valueOf(at.partition()), offset.offset());
                  });
        }
        case "reset-offsets" -> {
          admin.alterConsumerGroupOffsets(group, offsetsOf(topic, request.get("offsets"))).all().get();
        }
        case "list-groups" -> {
          ArrayNode groups = result.putArray("groups");
          admin.listGroups().all().get().forEach((each) -> groups.add(each.groupId()));
        }
        case "describe-group" -> {
          var description = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
          result.put("state", description.groupState().toString()).put("members", description.members().size());
        }
        case "delete-group" -> admin.deleteConsumerGroups(List.of(group)).all().get();
        case "describe-cluster" -> result.put("nodes", admin.describeCluster().nodes().get().size());
        case "list-transactions" -> {
          ArrayNode ids = result.putArray("transactionalIds");
          admin.listTransactions().all().get().forEach((each) -> ids.add(each.transactionalId()));
        }
        case "describe-transaction" -> {
          String id = request.get("transactionalId").asText();
          result.put("state", admin.describeTransactions(List.of(id)).description(id).get().state().toString());
        }
        default -> throw new IllegalArgumentException("unknown op");
      }
    }
    return result;
  }

  static Map<TopicPartition, OffsetAndMetadata> offsetsOf(String topic, JsonNode offsets) {
    Map<TopicPartition, OffsetAndMetadata> found = new HashMap<>();
    offsets
        .fields()
        .forEachRemaining(
            (each) ->
                found.put(
                    new TopicPartition(topic, Integer.parseInt(each.getKey())),
                    new OffsetAndMetadata(each.getValue().asLong())));
    return found;
  }

  private static OffsetSpec offsetSpec(JsonNode at) {
    if (at.isNumber()) return OffsetSpec.forTimestamp(at.asLong());
    return switch (at.asText()) {
      case "earliest" -> OffsetSpec.earliest();
      case "latest" -> OffsetSpec.latest();
      default -> OffsetSpec.maxTimestamp();
    };
  }

  private static Map<String, String> strings(JsonNode object) {
    Map<String, String> values = new HashMap<>();
    object.fields().forEachRemaining((each) -> values.put(each.getKey(), each.getValue().asText()));
    return values;
  }

  private static byte[] bytes(JsonNode node) {
    return node == null || node.isNull() ? null : Base64.getDecoder().decode(node.asText());
  }

  private static String base64(byte[] bytes) {
    return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
  }
}
