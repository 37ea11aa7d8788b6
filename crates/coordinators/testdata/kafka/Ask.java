import java.io.*;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.file.*;
import java.util.*;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.*;

/**
 * Tells a story of this directory to a broker: the same requests, byte for byte what a client sends, and prints each
 * answer as the story has it. Arguments: HOST PORT FILE... Needs topics t1 (3 partitions) and t2.
 */
public class Ask {
  static DataInputStream in;
  static DataOutputStream out;
  static int correlation = 0;
  static long base;
  static String story;
  static Map<String, long[]> producers;

  static ByteBufferAccessor call(ApiKeys api, int version, ApiMessage data) throws IOException {
    var header = new RequestHeaderData().setRequestApiKey(api.id).setRequestApiVersion((short) version)
        .setCorrelationId(++correlation).setClientId("ask");
    short hv = api.requestHeaderVersion((short) version);
    var cache = new ObjectSerializationCache();
    int size = header.size(cache, hv) + data.size(cache, (short) version);
    ByteBuffer buffer = ByteBuffer.allocate(size);
    var accessor = new ByteBufferAccessor(buffer);
    header.write(accessor, cache, hv);
    data.write(accessor, cache, (short) version);
    out.writeInt(size);
    out.write(buffer.array());
    out.flush();
    byte[] answer = new byte[in.readInt()];
    in.readFully(answer);
    var read = new ByteBufferAccessor(ByteBuffer.wrap(answer));
    new ResponseHeaderData(read, api.responseHeaderVersion((short) version));
    return read;
  }

  static String word(short code) { return code == 0 ? "ok" : Errors.forCode(code).name(); }
  static String shown(long id, int epoch) { return (id < 0 ? id : id - base + 1) + "/" + epoch; }

  public static void main(String[] args) throws Exception {
    var socket = new Socket(args[0], Integer.parseInt(args[1]));
    in = new DataInputStream(new BufferedInputStream(socket.getInputStream()));
    out = new DataOutputStream(new BufferedOutputStream(socket.getOutputStream()));
    // The first question makes the broker create __transaction_state; then it is ready after a while.
    for (int n = 0; n < 100; n++) {
      call(ApiKeys.FIND_COORDINATOR, 4, new FindCoordinatorRequestData().setKeyType((byte) 1).setCoordinatorKeys(List.of("warm")));
      var q = new InitProducerIdRequestData().setTransactionalId("warm").setTransactionTimeoutMs(1000);
      var r = new InitProducerIdResponseData(call(ApiKeys.INIT_PRODUCER_ID, 5, q), (short) 5);
      if (r.errorCode() == 0) break;
      Thread.sleep(200);
    }
    for (int i = 2; i < args.length; i++) tell(Path.of(args[i]));
  }

  static void tell(Path file) throws Exception {
    base = -1;
    story = file.getFileName() + "-";
    producers = new HashMap<>();
    System.out.println("== " + file.getFileName());
    boolean isDirective = true;
    for (String line : Files.readAllLines(file)) {
      if (line.isBlank()) { isDirective = true; continue; }
      if (line.startsWith("#") || !isDirective) continue;
      isDirective = false;
      System.out.println(line);
      String told = happen(line.split(" "));
      if (!told.isEmpty()) System.out.println(told);
    }
  }

  static String happen(String[] words) throws Exception {
    String name = "";
    Map<String, String> flags = new HashMap<>();
    for (int i = 1; i < words.length; i++) {
      int at = words[i].indexOf('=');
      if (at >= 0) flags.put(words[i].substring(0, at), words[i].substring(at + 1));
      else if (Character.isUpperCase(words[i].charAt(0))) name = words[i];
      else flags.put(words[i], "");
    }
    String given = flags.getOrDefault("id", "x");
    String id = given.equals("none") ? "" : story + given;
    int v = flags.containsKey("v") ? Integer.parseInt(flags.get("v")) : -1;
    long[] as = flags.containsKey("as") ? producer(flags.get("as")) : producers.get(name);
    switch (words[0]) {
      case "init": {
        long[] held = {-1, -1};
        if (flags.containsKey("held")) held = flags.get("held").isEmpty() ? producers.get(name) : producer(flags.get("held"));
        int times = Integer.parseInt(flags.getOrDefault("times", "1"));
        InitProducerIdResponseData r = null;
        for (int n = 0; n < times; n++) {
          var q = new InitProducerIdRequestData().setTransactionalId(id)
              .setTransactionTimeoutMs(Integer.parseInt(flags.getOrDefault("timeout", "60000")))
              .setProducerId(held[0]).setProducerEpoch((short) held[1]);
          int version = v < 0 ? 5 : v;
          r = new InitProducerIdResponseData(call(ApiKeys.INIT_PRODUCER_ID, version, q), (short) version);
        }
        if (base < 0 && r.producerId() >= 0) base = r.producerId();
        if (r.producerId() >= 0) producers.put(name, new long[] {r.producerId(), r.producerEpoch()});
        return name + ": " + word(r.errorCode()) + " " + shown(r.producerId(), r.producerEpoch());
      }
      case "add": case "verify": {
        int version = v < 0 ? 5 : v;
        var topics = new AddPartitionsToTxnRequestData.AddPartitionsToTxnTopicCollection();
        TreeMap<String, List<Integer>> to = new TreeMap<>();
        for (String one : flags.getOrDefault("to", "").replaceAll("[()]", "").split(","))
          if (!one.isEmpty()) to.computeIfAbsent(one.split("-")[0], k -> new ArrayList<>()).add(Integer.parseInt(one.split("-")[1]));
        to.forEach((t, ps) -> topics.add(new AddPartitionsToTxnRequestData.AddPartitionsToTxnTopic().setName(t).setPartitions(ps)));
        var q = new AddPartitionsToTxnRequestData();
        if (version < 4) q.setV3AndBelowTransactionalId(id).setV3AndBelowProducerId(as[0]).setV3AndBelowProducerEpoch((short) as[1]).setV3AndBelowTopics(topics);
        else {
          var all = new AddPartitionsToTxnRequestData.AddPartitionsToTxnTransactionCollection();
          all.add(new AddPartitionsToTxnRequestData.AddPartitionsToTxnTransaction().setTransactionalId(id).setProducerId(as[0])
              .setProducerEpoch((short) as[1]).setVerifyOnly(words[0].equals("verify")).setTopics(topics));
          q.setTransactions(all);
        }
        var r = new AddPartitionsToTxnResponseData(call(ApiKeys.ADD_PARTITIONS_TO_TXN, version, q), (short) version);
        var results = new TreeMap<String, String>();
        var list = version < 4 ? r.resultsByTopicV3AndBelow()
            : r.resultsByTransaction().isEmpty() ? new AddPartitionsToTxnResponseData.AddPartitionsToTxnTopicResultCollection()
            : r.resultsByTransaction().iterator().next().topicResults();
        for (var t : list) for (var p : t.resultsByPartition())
          results.put(t.name() + "-" + p.partitionIndex(), word(p.partitionErrorCode()));
        StringJoiner j = new StringJoiner(" ");
        results.forEach((k, w) -> j.add(k + "=" + w));
        return name + ": " + j;
      }
      case "add-offsets": {
        int version = v < 0 ? 4 : v;
        var q = new AddOffsetsToTxnRequestData().setTransactionalId(id).setProducerId(as[0]).setProducerEpoch((short) as[1]).setGroupId("g");
        var r = new AddOffsetsToTxnResponseData(call(ApiKeys.ADD_OFFSETS_TO_TXN, version, q), (short) version);
        return name + ": " + word(r.errorCode());
      }
      case "commit": case "abort": {
        int version = v < 0 ? 5 : v;
        var q = new EndTxnRequestData().setTransactionalId(id).setProducerId(as[0]).setProducerEpoch((short) as[1])
            .setCommitted(words[0].equals("commit"));
        var r = new EndTxnResponseData(call(ApiKeys.END_TXN, version, q), (short) version);
        if (r.producerId() >= 0) producers.put(name, new long[] {r.producerId(), r.producerEpoch()});
        return name + ": " + word(r.errorCode()) + " " + shown(r.producerId(), r.producerEpoch());
      }
      case "describe": {
        var q = new DescribeTransactionsRequestData().setTransactionalIds(List.of(id));
        var s = new DescribeTransactionsResponseData(call(ApiKeys.DESCRIBE_TRANSACTIONS, 0, q), (short) 0).transactionStates().get(0);
        if (s.errorCode() != 0) return word(s.errorCode());
        StringJoiner j = new StringJoiner(" ");
        var sorted = new TreeMap<String, List<Integer>>();
        s.topics().forEach(t -> { var ps = new ArrayList<>(t.partitions()); Collections.sort(ps); sorted.put(t.topic(), ps); });
        sorted.forEach((t, ps) -> j.add(t + ps));
        return given + " " + s.transactionState() + " " + shown(s.producerId(), s.producerEpoch()) + " timeout=" + s.transactionTimeoutMs() + " start=" + (s.transactionStartTimeMs() < 0 ? "-1" : "some") + " " + j;
      }
      case "written": Thread.sleep(400); return "";
      default: return "?";
    }
  }

  static long[] producer(String text) {
    String[] parts = text.split("\\.");
    long id = Long.parseLong(parts[0]);
    return new long[] {id < 0 || base < 0 ? id : id + base - 1, Long.parseLong(parts[1])};
  }
}
