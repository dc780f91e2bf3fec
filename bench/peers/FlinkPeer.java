import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Properties;
import java.util.stream.Stream;

import com.sun.management.OperatingSystemMXBean;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;

/**
 * The sample job in Flink SQL, on a cluster inside of this process: Kafka to Parquet by day and hour, exactly once by checkpoints.
 *
 * <pre>flink.sh BROKERS TOPIC OUT CHECKPOINTS INTERVAL_MS REPEATS</pre>
 *
 * Reads what the topic holds, and ends. The same work is done REPEATS times in one JVM, from the second time on without the cost of
 * its warming up. Run n writes the folder OUT-n, has its checkpoints below CHECKPOINTS/n each INTERVAL_MS, and prints one line:
 *
 * <pre>{"run": 1, "rows_in": 2000000, "wall_s": 17.80, "cpu_s": 20.70, "files": 14}</pre>
 *
 * cpu_s is user and system time of this process during the run, all threads. Its start is in neither figure: whoever wants it
 * measures the process.
 */
final class FlinkPeer {
    private static final OperatingSystemMXBean PROCESS =
        (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    private final String brokers;
    private final String topic;
    private final Configuration settings = new Configuration();

    private FlinkPeer(String brokers, String topic, String interval) {
        this.brokers = brokers;
        this.topic = topic;
        set("execution.checkpointing.interval", interval + "ms");
        set("execution.checkpointing.mode", "EXACTLY_ONCE");
        set("state.backend.type", "hashmap");
        // As many threads as the other peers.
        set("taskmanager.numberOfTaskSlots", "2");
        set("parallelism.default", "2");
        // No operator here keeps a row that it has handed on: without this each hand-over is a copy.
        set("pipeline.object-reuse", "true");
        set("table.local-time-zone", "UTC");
        // Nothing is for others to reach.
        set("rest.bind-address", "127.0.0.1");
        set("rest.bind-port", "0");
        set("jobmanager.bind-host", "127.0.0.1");
        set("taskmanager.bind-host", "127.0.0.1");
    }

    private void set(String name, String value) {
        settings.setString(name, value);
    }

    public static void main(String[] args) throws Exception {
        FlinkPeer peer = new FlinkPeer(args[0], args[1], args[4]);
        Path checkpoints = Path.of(args[3]).toAbsolutePath();
        int repeats = Integer.parseInt(args[5]);
        for (int number = 1; number <= repeats; number++) {
            Path out = Path.of(args[2] + "-" + number).toAbsolutePath();
            long start = System.nanoTime();
            long cpu = PROCESS.getProcessCpuTime();
            peer.run(out, checkpoints.resolve(String.valueOf(number)));
            double wallSeconds = (System.nanoTime() - start) / 1e9;
            double cpuSeconds = (PROCESS.getProcessCpuTime() - cpu) / 1e9;
            String line = "{\"run\": %d, \"rows_in\": %d, \"wall_s\": %.2f, \"cpu_s\": %.2f, \"files\": %d}%n";
            System.out.printf(Locale.ROOT, line, number, peer.records(), wallSeconds, cpuSeconds, files(out));
        }
        // Threads of the cluster would keep the process alive for a while.
        System.exit(0);
    }

    private void run(Path out, Path checkpoints) throws Exception {
        set("execution.checkpointing.dir", checkpoints.toUri().toString());
        StreamTableEnvironment tables =
            StreamTableEnvironment.create(StreamExecutionEnvironment.createLocalEnvironment(settings));
        // The records hold a map of metadata, too. A column that is not declared costs least.
        tables.executeSql(String.format("""
            CREATE TABLE records (
              event_id STRING, user_id STRING, event_type STRING, amount DOUBLE, currency STRING, event_time BIGINT
            ) WITH (
              'connector' = 'kafka', 'topic' = '%s', 'properties.bootstrap.servers' = '%s',
              'properties.group.id' = 'flink',
              'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset',
              'format' = 'json', 'json.ignore-parse-errors' = 'true'
            )""", topic, brokers));
        tables.executeSql(String.format("""
            CREATE TABLE written (
              event_id STRING, user_id STRING, event_type STRING, amount DOUBLE, currency STRING,
              event_time TIMESTAMP_LTZ(3), event_date STRING, event_hour STRING
            ) PARTITIONED BY (event_date, event_hour) WITH (
              'connector' = 'filesystem', 'path' = '%s',
              'format' = 'parquet', 'parquet.compression' = 'SNAPPY', 'parquet.utc-timezone' = 'true'
            )""", out.toUri()));
        // Folders are named by texts: a DATE would become the number of a day in their names.
        tables.executeSql("""
            INSERT INTO written
            SELECT event_id, user_id, event_type, amount, currency, happened,
              DATE_FORMAT(happened, 'yyyy-MM-dd'), DATE_FORMAT(happened, 'HH')
            FROM (SELECT *, TO_TIMESTAMP_LTZ(event_time, 3) AS happened FROM records)
            WHERE event_id IS NOT NULL AND amount > 0""").await();
    }

    /** What the topic holds. A run that ended well has read all of it, and Flink itself tells no number afterwards. */
    private long records() {
        Properties client = new Properties();
        client.put("bootstrap.servers", brokers);
        ByteArrayDeserializer bytes = new ByteArrayDeserializer();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(client, bytes, bytes)) {
            var partitions = consumer.partitionsFor(topic).stream()
                .map(partition -> new TopicPartition(topic, partition.partition()))
                .toList();
            var begins = consumer.beginningOffsets(partitions);
            var ends = consumer.endOffsets(partitions);
            return partitions.stream().mapToLong(partition -> ends.get(partition) - begins.get(partition)).sum();
        }
    }

    /** How many files a reader sees: what Flink has not finished begins with a dot. */
    private static long files(Path out) throws IOException {
        try (Stream<Path> paths = Files.walk(out)) {
            return paths.filter(Files::isRegularFile).filter(path -> !path.getFileName().toString().startsWith(".")).count();
        }
    }
}
