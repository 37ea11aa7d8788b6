import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Members of one group are restarted in the other protocol, one after the other, and back, while records are written and read. */
public class Migration {
    static final int N_PARTITIONS = 6;
    static final long PATIENCE_MS = 90_000;
    static final String BOOTSTRAP = System.getenv("BOOTSTRAP");

    final String name;
    /** Of the group and its topic; another in each run. */
    final String id;
    final String assignor;
    final boolean isStatic;
    final Map<Integer, Member> members = new TreeMap<>();
    /** How often each record was read. */
    final Map<TopicPartition, Map<Long, Integer>> read = new ConcurrentHashMap<>();
    final AtomicLong written = new AtomicLong();

    Migration(String name, Class<?> assignor, boolean isStatic) {
        this.name = name;
        this.id = name + "-" + System.currentTimeMillis();
        this.assignor = assignor.getName();
        this.isStatic = isStatic;
    }

    static Properties properties() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", BOOTSTRAP);
        return properties;
    }

    /** A client on a thread of its own, which commits what it has read before it reads on. */
    class Member extends Thread {
        final KafkaConsumer<String, String> consumer;
        final String protocol;
        volatile Set<TopicPartition> assigned = Set.of();
        volatile Throwable failure;
        final AtomicBoolean ends = new AtomicBoolean();

        Member(int place, String protocol) {
            Properties properties = properties();
            properties.put("group.id", id);
            properties.put("group.protocol", protocol);
            properties.put("client.id", "place" + place);
            properties.put("auto.offset.reset", "earliest");
            properties.put("enable.auto.commit", "false");
            if (isStatic) properties.put("group.instance.id", "place" + place);
            if (protocol.equals("classic")) {
                properties.put("partition.assignment.strategy", assignor);
                properties.put("heartbeat.interval.ms", "500");
                properties.put("session.timeout.ms", "10000");
            }
            this.protocol = protocol;
            consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
            consumer.subscribe(List.of(id));
            start();
        }

        @Override
        public void run() {
            try {
                while (!ends.get()) {
                    for (var record : consumer.poll(Duration.ofMillis(100))) {
                        var partition = new TopicPartition(record.topic(), record.partition());
                        read.computeIfAbsent(partition, it -> new ConcurrentHashMap<>()).merge(record.offset(), 1, Integer::sum);
                    }
                    assigned = Set.copyOf(consumer.assignment());
                    try {
                        consumer.commitSync();
                    } catch (RebalanceInProgressException | CommitFailedException | WakeupException later) {
                        // What was read and is not committed is read again.
                    }
                }
            } catch (Throwable thrown) {
                failure = thrown;
            } finally {
                assigned = Set.of();
                consumer.close();
            }
        }

        void end() throws InterruptedException {
            ends.set(true);
            join();
            if (failure != null) throw new IllegalStateException(failure);
        }
    }

    void until(String what, java.util.concurrent.Callable<String> missing) throws Exception {
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        String why = missing.call();
        while (why != null) {
            for (Member member : members.values()) if (member.failure != null) throw new IllegalStateException(member.failure);
            if (System.currentTimeMillis() > deadline) throw new IllegalStateException(what + ": " + why);
            Thread.sleep(100);
            why = missing.call();
        }
    }

    /** Everything is assigned once, evenly, and the group says that it is stable. */
    void settles(Admin admin, String step) throws Exception {
        until(step, () -> {
            List<Integer> loads = new ArrayList<>();
            int n = 0;
            Set<TopicPartition> all = ConcurrentHashMap.newKeySet();
            for (Member member : members.values()) {
                loads.add(member.assigned.size());
                all.addAll(member.assigned);
                n += member.assigned.size();
            }
            int each = N_PARTITIONS / members.size();
            boolean isEven = loads.stream().allMatch(load -> load >= each && load <= each + 1);
            if (n != N_PARTITIONS || all.size() != n || !isEven) return "loads " + loads;
            var described = describe(admin);
            return described.groupState().toString().equals("Stable") ? null : described.toString();
        });
        var described = describe(admin);
        Collection<String> kinds = described.members().stream()
            .map(member -> member.clientId() + member.upgraded().map(it -> it ? ":consumer" : ":classic").orElse(""))
            .sorted().collect(Collectors.toList());
        System.out.println(name + " " + step + ": " + described.type() + " " + described.groupState() + " " + kinds);
    }

    ConsumerGroupDescription describe(Admin admin) throws Exception {
        return admin.describeConsumerGroups(List.of(id)).all().get().get(id);
    }

    void restart(int place, String protocol) throws Exception {
        Member former = members.remove(place);
        if (former != null) former.end();
        members.put(place, new Member(place, protocol));
    }

    void tell() throws Exception {
        var producing = new AtomicBoolean(true);
        try (Admin admin = Admin.create(properties())) {
            admin.createTopics(List.of(new NewTopic(id, N_PARTITIONS, (short) 1))).all().get();
            var producer = new KafkaProducer<>(properties(), new StringSerializer(), new StringSerializer());
            Thread writer = new Thread(() -> {
                while (producing.get()) {
                    int partition = (int) (written.getAndIncrement() % N_PARTITIONS);
                    producer.send(new ProducerRecord<>(id, partition, null, "x"));
                    try {
                        Thread.sleep(5);
                    } catch (InterruptedException end) {
                        return;
                    }
                }
                producer.close();
            });
            writer.start();
            restart(0, "classic");
            restart(1, "classic");
            settles(admin, "two classic members");
            restart(2, "consumer");
            settles(admin, "a consumer joins");
            restart(0, "consumer");
            settles(admin, "the first moves");
            restart(1, "consumer");
            settles(admin, "all have moved");
            restart(2, "classic");
            settles(admin, "one moves back");
            restart(0, "classic");
            settles(admin, "two have moved back");
            restart(1, "classic");
            settles(admin, "all have moved back");
            producing.set(false);
            writer.join();
            Map<TopicPartition, Long> ends = new HashMap<>();
            for (int partition = 0; partition < N_PARTITIONS; partition++) {
                long n = written.get() / N_PARTITIONS + (partition < written.get() % N_PARTITIONS ? 1 : 0);
                ends.put(new TopicPartition(id, partition), n);
            }
            until("everything is committed", () -> {
                var committed = admin.listConsumerGroupOffsets(id).partitionsToOffsetAndMetadata().get();
                boolean isAll = ends.entrySet().stream().allMatch(end -> committed.get(end.getKey()) != null
                    && committed.get(end.getKey()).offset() == end.getValue());
                return isAll ? null : committed.toString();
            });
            long lost = 0;
            long twice = 0;
            for (var end : ends.entrySet()) {
                var counts = read.getOrDefault(end.getKey(), Map.of());
                lost += end.getValue() - counts.size();
                twice += counts.values().stream().filter(n -> n > 1).count();
            }
            System.out.println(name + " lost: " + lost);
            System.err.println(name + " read " + written.get() + " records, " + twice + " of them twice");
            for (Member member : members.values()) member.end();
        }
    }

    public static void main(String[] args) throws Exception {
        new Migration("cooperative", CooperativeStickyAssignor.class, false).tell();
        new Migration("eager", RangeAssignor.class, false).tell();
        new Migration("static", CooperativeStickyAssignor.class, true).tell();
        System.exit(0);
    }
}
