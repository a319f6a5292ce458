import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The producers with transactional ids, which are kept from one request to the next. */
final class Transactions {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Map<String, KafkaProducer<byte[], byte[]>> PRODUCERS = new HashMap<>();
  private static final Set<String> OPEN = new HashSet<>();

  private Transactions() {}

  static ObjectNode transact(JsonNode request) throws Exception {
    String id = request.get("transactionalId").asText();
    String topic = request.get("topic").asText();
    KafkaProducer<byte[], byte[]> producer = PRODUCERS.get(id);
    if (producer == null) {
      producer = open(request, id);
      PRODUCERS.put(id, producer);
      producer.initTransactions();
    }
    if (OPEN.add(id)) producer.beginTransaction();
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    for (JsonNode record : request.get("records")) sent.add(producer.send(Agent.recordOf(topic, record)));
    producer.flush();
    ObjectNode result = JSON.createObjectNode();
    ArrayNode acked = result.putArray("acked");
    for (Future<RecordMetadata> each : sent)
      acked.addObject().put("partition", each.get().partition()).put("offset", each.get().offset());
    JsonNode commits = request.get("commits");
    if (commits != null)
      producer.sendOffsetsToTransaction(
          Agent.offsetsOf(topic, commits.get("offsets")), new ConsumerGroupMetadata(commits.get("group").asText()));
    switch (request.get("end").asText()) {
      case "commit" -> producer.commitTransaction();
      case "abort" -> producer.abortTransaction();
      default -> {
        return result;
      }
    }
    OPEN.remove(id);
    return result;
  }

  private static KafkaProducer<byte[], byte[]> open(JsonNode request, String id) {
    Properties properties = Agent.properties(request);
    properties.put("transactional.id", id);
    properties.put("delivery.timeout.ms", 30_000);
    properties.put("request.timeout.ms", 20_000);
    return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
  }
}
