import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The story of ../README.md, told by the Java client and, where an operator would, by the command-line tools. */
public class Story {
    static final int N_PARTITIONS = 4;
    /** Bounds every wait for the broker; no healthy broker comes near it. */
    static final long PATIENCE_MS = 60_000;
    static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    static final String BOOTSTRAP = System.getenv("BOOTSTRAP");
    static final String NAME = System.getenv("STORY");
    static final int N_RECORDS = Integer.parseInt(System.getenv("RECORDS"));

    interface Step {
        void run() throws Exception;
    }

    /** Prints the one line per step that run.sh reads; the story ends with the first failure. */
    static void step(String name, Step step) {
        try {
            step.run();
            System.out.println("step " + name + ": ok");
        } catch (Throwable failure) {
            System.out.println("step " + name + ": FAIL " + failure);
            System.exit(1);
        }
    }

    static void check(boolean holds, Object otherwise) {
        if (!holds) throw new IllegalStateException(String.valueOf(otherwise));
    }

    static void until(String what, BooleanSupplier holds) throws InterruptedException {
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        while (!holds.getAsBoolean()) {
            check(System.currentTimeMillis() < deadline, "timed out: " + what);
            Thread.sleep(20);
        }
    }

    /** Runs a tool of the Kafka tree and gives back what it printed. */
    static String tool(String tool, String... arguments) throws Exception {
        List<String> command = new ArrayList<>(List.of(System.getenv("KAFKA_HOME") + "/bin/" + tool + ".sh", "--bootstrap-server", BOOTSTRAP));
        command.addAll(List.of(arguments));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        check(process.waitFor(PATIENCE_MS, TimeUnit.MILLISECONDS) && process.exitValue() == 0, tool + ": " + output.strip());
        return output;
    }

    static String text(String codec, int n) {
        return codec + " " + n + " the quick brown fox jumps over the lazy dog";
    }

    /** Checks what is read: contents whole, order kept in each partition, nothing twice. */
    static class Witness {
        final Map<Integer, Integer> last = new HashMap<>();
        final Map<Integer, Long> first = new HashMap<>();
        final Set<Integer> seen = new HashSet<>();
        volatile String wrong;

        synchronized void look(ConsumerRecord<String, String> record) {
            Map<String, String> headers = new HashMap<>();
            for (Header header : record.headers()) headers.put(header.key(), new String(header.value(), StandardCharsets.UTF_8));
            String codec = headers.get("codec");
            int n = Integer.parseInt(headers.getOrDefault("n", "-1"));
            int index = CODECS.indexOf(codec) * N_RECORDS + n;
            if (wrong != null) return;
            if (!text(codec, n).equals(record.value()) || !("user-" + n % 500).equals(record.key())) wrong = "a strange record: " + record;
            if (!seen.add(index)) wrong = "record " + index + " came twice";
            Integer before = last.put(record.partition(), index);
            if (before != null && before >= index) wrong = "record " + index + " came after " + before;
            first.putIfAbsent(record.partition(), record.offset());
        }

        synchronized boolean reached(int n) {
            return wrong != null || seen.size() >= n;
        }

        void await(int n) throws InterruptedException {
            until(n + " records", () -> reached(n));
            check(wrong == null, wrong);
            check(seen.size() == n, seen.size() + " records instead of " + n);
        }
    }

    static Properties consumerProperties() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", BOOTSTRAP);
        properties.put("key.deserializer", StringDeserializer.class.getName());
        properties.put("value.deserializer", StringDeserializer.class.getName());
        properties.put("enable.auto.commit", "false");
        properties.put("auto.offset.reset", "earliest");
        return properties;
    }

    /** One consumer of the group, on a thread of its own. It looks at records only while its gate is open. */
    static class Member implements Runnable, ConsumerRebalanceListener {
        final KafkaConsumer<String, String> consumer;
        final Set<Integer> owns = new HashSet<>();
        final ConcurrentLinkedQueue<Runnable> asked = new ConcurrentLinkedQueue<>();
        final Thread thread = new Thread(this);
        final Witness witness;
        volatile boolean open;
        volatile boolean leaving;

        Member(Witness witness, boolean open) {
            this.witness = witness;
            this.open = open;
            Properties properties = consumerProperties();
            properties.put("group.id", NAME);
            consumer = new KafkaConsumer<>(properties);
            thread.start();
        }

        @Override public void run() {
            consumer.subscribe(List.of(NAME), this);
            while (!leaving) {
                if (open) consumer.resume(consumer.assignment()); else consumer.pause(consumer.assignment());
                consumer.poll(Duration.ofMillis(100)).forEach(witness::look);
                for (Runnable task = asked.poll(); task != null; task = asked.poll()) task.run();
            }
            consumer.close();
        }

        @Override public synchronized void onPartitionsAssigned(Collection<TopicPartition> gained) {
            gained.forEach(partition -> owns.add(partition.partition()));
            if (!open) consumer.pause(gained);
        }

        @Override public synchronized void onPartitionsRevoked(Collection<TopicPartition> lost) {
            lost.forEach(partition -> owns.remove(partition.partition()));
        }

        synchronized int n() {
            return owns.size();
        }

        void leave() throws InterruptedException {
            leaving = true;
            thread.join(PATIENCE_MS);
        }
    }

    static void produce(String codec) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", BOOTSTRAP);
        properties.put("key.serializer", StringSerializer.class.getName());
        properties.put("value.serializer", StringSerializer.class.getName());
        properties.put("compression.type", codec);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(properties)) {
            for (int n = 0; n < N_RECORDS; n++) {
                ProducerRecord<String, String> record = new ProducerRecord<>(NAME, "user-" + n % 500, text(codec, n));
                record.headers().add("codec", codec.getBytes()).add("n", Integer.toString(n).getBytes());
                sent.add(producer.send(record));
            }
        }
        for (Future<RecordMetadata> future : sent) future.get(1, TimeUnit.SECONDS);
    }

    static Member a;
    static Member b;
    static long replayFrom;
    static final Map<TopicPartition, OffsetAndMetadata> middle = new HashMap<>();
    static int rest;

    public static void main(String[] arguments) throws Exception {
        step("create", () -> tool("kafka-topics", "--create", "--topic", NAME, "--partitions", "" + N_PARTITIONS, "--replication-factor", "1"));
        for (String codec : CODECS) {
            if (codec.equals("lz4")) {
                Thread.sleep(20);
                replayFrom = System.currentTimeMillis();
            }
            step("produce-" + codec, () -> produce(codec));
        }
        step("read", () -> {
            Witness witness = new Witness();
            a = new Member(witness, false);
            b = new Member(witness, false);
            until("two partitions each", () -> a.n() == 2 && b.n() == 2);
            a.open = b.open = true;
            witness.await(CODECS.size() * N_RECORDS);
        });
        step("move", () -> {
            b.open = false;
            a.leave();
            until("all partitions at the survivor", () -> b.n() == N_PARTITIONS);
        });
        step("commit", Story::commit);
        step("resume", () -> {
            b.leave();
            Witness witness = new Witness();
            a = new Member(witness, true);
            witness.await(rest);
            middle.forEach((partition, at) -> check(witness.first.get(partition.partition()) == at.offset(),
                partition + " resumed at " + witness.first.get(partition.partition()) + " instead of " + at.offset()));
        });
        step("replay", Story::replay);
        step("list-topics", () -> {
            String topics = tool("kafka-topics", "--list");
            check(topics.lines().anyMatch(NAME::equals), topics);
        });
        step("list-groups", () -> {
            String groups = tool("kafka-consumer-groups", "--list");
            check(groups.lines().anyMatch(NAME::equals), groups);
        });
        step("describe-topic", () -> {
            String topic = tool("kafka-topics", "--describe", "--topic", NAME);
            check(topic.contains("PartitionCount: " + N_PARTITIONS) && topic.lines().filter(line -> line.contains("Leader: ")).count() == N_PARTITIONS, topic);
        });
        step("describe-group", () -> {
            String state = tool("kafka-consumer-groups", "--describe", "--group", NAME, "--state");
            check(state.contains("Stable"), state);
            String offsets = tool("kafka-consumer-groups", "--describe", "--group", NAME);
            check(offsets.lines().filter(line -> line.startsWith(NAME) && line.contains("consumer-")).count() == N_PARTITIONS, offsets);
        });
        step("delete-group", () -> {
            a.leave();
            tool("kafka-consumer-groups", "--delete", "--group", NAME);
            String groups = tool("kafka-consumer-groups", "--list");
            check(groups.lines().noneMatch(NAME::equals), groups);
        });
        step("delete-topic", () -> {
            tool("kafka-topics", "--delete", "--topic", NAME);
            String topics = tool("kafka-topics", "--list");
            check(topics.lines().noneMatch(NAME::equals), topics);
        });
        System.exit(0);
    }

    static List<TopicPartition> partitions() {
        List<TopicPartition> all = new ArrayList<>();
        for (int p = 0; p < N_PARTITIONS; p++) all.add(new TopicPartition(NAME, p));
        return all;
    }

    static void commit() throws Exception {
        CompletableFuture<Map<TopicPartition, OffsetAndMetadata>> answer = new CompletableFuture<>();
        b.asked.add(() -> {
            try {
                b.consumer.endOffsets(partitions()).forEach((partition, end) -> {
                    middle.put(partition, new OffsetAndMetadata(end / 2, "half"));
                    rest += end - end / 2;
                });
                b.consumer.commitSync(middle);
                answer.complete(b.consumer.committed(middle.keySet()));
            } catch (RuntimeException failure) {
                answer.completeExceptionally(failure);
            }
        });
        Map<TopicPartition, OffsetAndMetadata> committed = answer.get(PATIENCE_MS, TimeUnit.MILLISECONDS);
        check(committed.equals(middle), committed + " is committed instead of " + middle);
    }

    /** Reads everything since a moment, which is what the last two codecs wrote. */
    static void replay() throws Exception {
        Witness witness = new Witness();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(consumerProperties())) {
            Map<TopicPartition, Long> moment = new HashMap<>();
            partitions().forEach(partition -> moment.put(partition, replayFrom));
            consumer.assign(partitions());
            consumer.offsetsForTimes(moment).forEach((partition, at) -> consumer.seek(partition, at.offset()));
            long deadline = System.currentTimeMillis() + PATIENCE_MS;
            while (!witness.reached(2 * N_RECORDS) && System.currentTimeMillis() < deadline) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
                    check(record.timestamp() >= replayFrom, "before the moment: " + record);
                    witness.look(record);
                }
            }
        }
        witness.await(2 * N_RECORDS);
    }
}
