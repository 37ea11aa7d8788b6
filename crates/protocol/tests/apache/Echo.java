// Reads and writes messages with Kafka's own classes. One line in: class, version, bytes in hex.
// One line out: the bytes that Kafka writes for what it read, and what it read as JSON; or "error".
// Run by tests/apache.rs with an Apache Kafka's jars on the class path.

import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

public class Echo {
    public static void main(String[] arguments) throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");
            String hex = words.length > 2 ? words[2] : "";
            out.println(echo(words[0], Short.parseShort(words[1]), HexFormat.of().parseHex(hex)));
        }
        out.flush();
    }

    private static String echo(String name, short version, byte[] bytes) {
        try {
            Class<?> type = Class.forName(name);
            Message message = (Message) type.getDeclaredConstructor().newInstance();
            ByteBuffer input = ByteBuffer.wrap(bytes);
            message.read(new ByteBufferAccessor(input), version);
            if (input.hasRemaining()) {
                return "error " + input.remaining() + " bytes left";
            }
            var cache = new ObjectSerializationCache();
            ByteBuffer output = ByteBuffer.allocate(message.size(cache, version));
            message.write(new ByteBufferAccessor(output), cache, version);
            return HexFormat.of().formatHex(output.array()) + " " + json(type, message, version);
        } catch (Exception error) {
            return "error " + error.toString().replace('\n', ' ');
        }
    }

    private static JsonNode json(Class<?> type, Message message, short version) throws Exception {
        Class<?> converter = Class.forName(type.getName() + "JsonConverter");
        var write = converter.getMethod("write", type, short.class);
        return (JsonNode) write.invoke(null, message, version);
    }
}
