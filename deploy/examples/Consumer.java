import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;

import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Reads the outputs of one recipient: keeps what it has, and erases what is taken back.
 *
 * <p>Arguments: BROKERS TOPIC GROUP CONTRACT_VERSION [ACKNOWLEDGEMENTS_TOPIC], the last one where
 * the contract asks for acknowledgements.
 */
public final class Consumer {
    private static final String CONTRACT_VERSION_HEADER = "zeef-contract-version";
    private static final String REASON_HEADER = "zeef-retraction-reason";
    private static final String ID_HEADER = "zeef-retraction-id";

    private final Map<String, String> records = new HashMap<>();
    private final String contractVersion;

    Consumer(String contractVersion) {
        this.contractVersion = contractVersion;
    }

    /** Applies one message to what is kept, by key. Returns the id of a retraction, or null. */
    String apply(ConsumerRecord<String, String> message) {
        String version = header(message, CONTRACT_VERSION_HEADER);
        if (version != null && !version.equals(contractVersion)) {
            throw new IllegalStateException("the contract is now " + version);
        }
        // A null is a message: it takes back what you have under its key.
        if (message.value() == null) {
            String removed = records.remove(message.key());
            if (removed != null && "erase".equals(header(message, REASON_HEADER))) {
                eraseCopies();
            }
            // Also of a key that is not kept: it may have been erased before, and not acknowledged.
            return header(message, ID_HEADER);
        }
        records.put(message.key(), message.value());
        return null;
    }

    /** Erase backups, reports and exports that hold this record, too (GDPR art. 17 and 19). */
    private static void eraseCopies() {
        System.err.println("erase every copy of one record");
    }

    private static String header(ConsumerRecord<String, String> message, String name) {
        Header header = message.headers().lastHeader(name);
        return header == null || header.value() == null
                ? null
                : new String(header.value(), StandardCharsets.UTF_8);
    }

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        properties.put(ConsumerConfig.GROUP_ID_CONFIG, arguments[2]);
        // Others were never decided, and nobody counts them as yours.
        properties.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed");
        properties.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        properties.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, "false");
        Consumer kept = new Consumer(arguments[3]);
        StringDeserializer text = new StringDeserializer();
        String acknowledgements = arguments.length > 4 ? arguments[4] : null;
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties, text, text);
                KafkaProducer<String, String> producer = producer(arguments[0])) {
            consumer.subscribe(List.of(arguments[1]));
            while (true) {
                for (ConsumerRecord<String, String> message : consumer.poll(Duration.ofSeconds(1))) {
                    String retraction = kept.apply(message);
                    if (acknowledgements != null && retraction != null) {
                        producer.send(new ProducerRecord<>(acknowledgements, message.key(), retraction)).get();
                    }
                }
                // What is kept must be on disk, and what is erased acknowledged, before its offset
                // is committed: otherwise a crash between them loses an acknowledgement.
                consumer.commitSync();
            }
        }
    }

    private static KafkaProducer<String, String> producer(String brokers) {
        Properties properties = new Properties();
        properties.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
        properties.put(ProducerConfig.ACKS_CONFIG, "all");
        StringSerializer text = new StringSerializer();
        return new KafkaProducer<>(properties, text, text);
    }
}
