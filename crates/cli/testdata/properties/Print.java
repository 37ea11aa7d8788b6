import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.*;

/** Prints what java.util.Properties makes of every file in corpus.txt: `java Print.java > java.txt`. */
public class Print {
    static String quote(String text) {
        StringBuilder out = new StringBuilder();
        for (char c : text.toCharArray())
            out.append(c >= ' ' && c <= '~' && c != '\\' ? String.valueOf(c) : String.format("\\u%04x", (int) c));
        return out.toString();
    }
    public static void main(String[] args) throws Exception {
        String all = Files.readString(Path.of("corpus.txt"), StandardCharsets.ISO_8859_1);
        String separator = "----8<----\n";
        while (!all.isEmpty()) {
            int end = all.indexOf(separator);
            Properties properties = new Properties();
            try {
                properties.load(new ByteArrayInputStream(all.substring(0, end).getBytes(StandardCharsets.ISO_8859_1)));
                for (String name : new TreeSet<>(properties.stringPropertyNames()))
                    System.out.println("[" + quote(name) + "]=[" + quote(properties.getProperty(name)) + "]");
            } catch (IllegalArgumentException e) {
                System.out.println("malformed");
            }
            System.out.println("----");
            all = all.substring(end + separator.length());
        }
    }
}
