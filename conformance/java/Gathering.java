import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Many consumers of one group begin at once: BOOTSTRAP TOPIC PROTOCOL N. Prints the milliseconds from the last first poll until every
 * partition is with one of them and nobody has two more than another.
 */
public class Gathering {
    static final long PATIENCE_S = 240;
    static final Duration POLL = Duration.ofMillis(100);

    static final List<Set<TopicPartition>> owned = new ArrayList<>();
    static final CountDownLatch complete = new CountDownLatch(1);
    static int nPartitions;
    static long lastPoll;
    static long completeAt;
    static volatile boolean ends;

    static synchronized void polls() {
        lastPoll = System.nanoTime();
    }

    static synchronized void change(int place, Collection<TopicPartition> partitions, boolean isTaken) {
        Set<TopicPartition> mine = owned.get(place);
        if (isTaken) mine.addAll(partitions);
        else mine.removeAll(partitions);
        if (completeAt == 0 && isComplete()) {
            completeAt = System.nanoTime();
            complete.countDown();
        }
    }

    static boolean isComplete() {
        Set<TopicPartition> all = new HashSet<>();
        int n = 0, most = 0, least = Integer.MAX_VALUE;
        for (Set<TopicPartition> one : owned) {
            all.addAll(one);
            n += one.size();
            most = Math.max(most, one.size());
            least = Math.min(least, one.size());
        }
        return n == nPartitions && all.size() == n && most <= least + 1;
    }

    public static void main(String[] args) throws Exception {
        String topic = args[1];
        int n = Integer.parseInt(args[3]);
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        properties.put("group.protocol", args[2]);
        properties.put("group.id", "gathering-" + System.currentTimeMillis());
        List<KafkaConsumer<byte[], byte[]>> consumers = new ArrayList<>();
        for (int place = 0; place < n; place++) {
            owned.add(new HashSet<>());
            consumers.add(new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer()));
        }
        nPartitions = consumers.get(0).partitionsFor(topic).size();
        CountDownLatch begin = new CountDownLatch(1);
        List<Thread> threads = new ArrayList<>();
        for (int place = 0; place < n; place++) threads.add(member(place, consumers.get(place), topic, begin));
        begin.countDown();
        boolean isDone = complete.await(PATIENCE_S, TimeUnit.SECONDS);
        ends = true;
        for (Thread thread : threads) thread.join();
        if (!isDone) {
            System.err.println("not complete after " + PATIENCE_S + " s: " + owned.stream().map(Set::size).toList());
            System.exit(1);
        }
        System.out.println((completeAt - lastPoll) / 1_000_000);
    }

    static Thread member(int place, KafkaConsumer<byte[], byte[]> consumer, String topic, CountDownLatch begin) {
        Thread thread = new Thread(() -> {
            try (consumer) {
                consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                    @Override
                    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                        change(place, partitions, true);
                    }

                    @Override
                    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                        change(place, partitions, false);
                    }
                });
                begin.await();
                polls();
                while (!ends) consumer.poll(POLL);
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        });
        thread.start();
        return thread;
    }
}
