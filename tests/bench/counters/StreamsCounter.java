import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.util.Properties;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The counter of the case `stream-peers`, as a program of Kafka Streams.
 *
 * <p>java StreamsCounter BOOTSTRAP APP EVENTS COUNTS WAIT_S THREADS
 *
 * <p>Exactly once, which commits every 100 ms by default: the count in its store (in memory, with a
 * changelog) and the record that it writes leave in one transaction, with the offsets. A callback that
 * waits holds its thread up. `stream_sides.py` compiles and starts it.
 */
public final class StreamsCounter {
  private static final ObjectMapper JSON = new ObjectMapper();

  private StreamsCounter() {}

  /** Counts the events of each workflow. */
  private static final class Counter implements Processor<String, byte[], String, byte[]> {
    private final long waitMs;
    private ProcessorContext<String, byte[]> context;
    private KeyValueStore<String, Long> counts;

    Counter(long waitMs) {
      this.waitMs = waitMs;
    }

    @Override
    public void init(ProcessorContext<String, byte[]> given) {
      context = given;
      counts = given.getStateStore("counts");
    }

    @Override
    public void process(Record<String, byte[]> record) {
      try {
        JsonNode event = JSON.readTree(record.value());
        if (waitMs > 0) {
          Thread.sleep(waitMs);
        }
        String workflow = event.get("workflow_id").asText();
        Long before = counts.get(workflow);
        long count = before == null ? 1 : before + 1;
        counts.put(workflow, count);
        var told = JSON.createObjectNode().put("workflow_id", workflow).put("event", "counted");
        told.putObject("payload").put("count", count);
        context.forward(record.withValue(JSON.writeValueAsBytes(told)));
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      } catch (InterruptedException error) {
        throw new IllegalStateException(error);
      }
    }
  }

  public static void main(String[] given) throws Exception {
    var settings = new Properties();
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, given[0]);
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, given[1]);
    settings.put(StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("streams").toString());
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Integer.parseInt(given[5]));
    settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    settings.put("auto.offset.reset", "earliest");
    long waitMs = Math.round(Double.parseDouble(given[4]) * 1000);
    var topology = new Topology();
    topology.addSource(
        "events", new StringDeserializer(), new ByteArrayDeserializer(), given[2]);
    topology.addProcessor("counter", () -> new Counter(waitMs), "events");
    topology.addStateStore(
        Stores.keyValueStoreBuilder(
            Stores.inMemoryKeyValueStore("counts"), Serdes.String(), Serdes.Long()),
        "counter");
    topology.addSink(
        "counts", given[3], new StringSerializer(), new ByteArraySerializer(), "counter");
    new KafkaStreams(topology, settings).start();
  }
}
