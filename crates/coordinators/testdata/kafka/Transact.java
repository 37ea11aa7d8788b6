import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

/** Transactions of every kind, so that all their records are written. Arguments: bootstrap, prefix of the ids. */
public class Transact {
  static KafkaProducer<String, String> producer(String bootstrap, String id, int timeoutMs) {
    Properties p = new Properties();
    p.put("bootstrap.servers", bootstrap);
    p.put("transactional.id", id);
    p.put("transaction.timeout.ms", timeoutMs);
    return new KafkaProducer<>(p, new StringSerializer(), new StringSerializer());
  }

  public static void main(String[] args) throws Exception {
    String bootstrap = args[0], prefix = args[1];
    try (var p = producer(bootstrap, prefix + "-plain", 60000)) {
      p.initTransactions();
      p.beginTransaction();
      for (int i = 0; i < 3; i++) p.send(new ProducerRecord<>("t1", i, "k", "v")).get();
      p.commitTransaction();
      p.beginTransaction();
      p.send(new ProducerRecord<>("t1", 0, "k", "v")).get();
      p.abortTransaction();
      p.beginTransaction();
      p.send(new ProducerRecord<>("t1", 1, "k", "v")).get();
      p.send(new ProducerRecord<>("t2", 0, "k", "v")).get();
      p.sendOffsetsToTransaction(Map.of(new TopicPartition("t1", 0), new OffsetAndMetadata(1)), new ConsumerGroupMetadata("g"));
      p.commitTransaction();
      p.beginTransaction();
      p.abortTransaction();
    }
    var left = producer(bootstrap, prefix + "-left", 60000);
    left.initTransactions();
    left.beginTransaction();
    left.send(new ProducerRecord<>("t2", 0, "k", "v")).get();
    try (var taker = producer(bootstrap, prefix + "-left", 30000)) {
      taker.initTransactions();
      taker.beginTransaction();
      taker.send(new ProducerRecord<>("t2", 0, "k", "v")).get();
      taker.commitTransaction();
    }
    left.close(Duration.ZERO);
    var late = producer(bootstrap, prefix + "-late", 1000);
    late.initTransactions();
    late.beginTransaction();
    late.send(new ProducerRecord<>("t1", 2, "k", "v")).get();
    Thread.sleep(3500);
    late.close(Duration.ZERO);
    var open = producer(bootstrap, prefix + "-open", 900000);
    open.initTransactions();
    open.beginTransaction();
    open.send(new ProducerRecord<>("t1", 0, "k", "v")).get();
    open.close(Duration.ZERO);
  }
}
