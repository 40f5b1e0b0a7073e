import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * The JDK's own HttpClient. It would rather speak HTTP/2, so on every new connection without TLS it offers
 * `Upgrade: h2c`; a server that doesn't speak it answers as if it had not been asked (RFC 9110, 7.8).
 *
 * Reads lines `BASE_URL MODEL HOW` and answers each with one of JSON, as the other programs here do.
 */
public final class Ask {
    private static final Pattern CONTENT = Pattern.compile("\"content\": ?\"([^\"]*)\"");
    private static final Pattern FINISH = Pattern.compile("\"finish_reason\": ?\"([^\"]*)\"");
    /** More than fits into the segment that the head came in. */
    private static final String LONG = "word ".repeat(20_000) + "Where were you?";

    private final HttpClient client;
    private final URI uri;
    private final String model;

    private Ask(HttpClient client, String baseUrl, String model) {
        this.client = client;
        this.uri = URI.create(baseUrl + "/chat/completions");
        this.model = model;
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ");
            // A new one, so that its first request is one that offers the upgrade.
            Ask ask = new Ask(HttpClient.newHttpClient(), words[0], words[1]);
            try {
                System.out.println(ask.answer(words[2]));
            } catch (Exception error) {
                String text = String.valueOf(error.getMessage()).replaceAll("[\\\\\"\\p{Cntrl}]", "'");
                System.out.printf("{\"error\": \"%s: %s\"}%n", error.getClass().getSimpleName(), text);
            }
        }
    }

    private String answer(String how) throws Exception {
        switch (how) {
            case "stream":
                return of(body(client.send(request("Where were you?", true), HttpResponse.BodyHandlers.ofLines()))
                        .filter(line -> line.startsWith("data: ")).collect(Collectors.joining("\n")));
            case "whole":
                return whole("Where were you?");
            case "long":
                return whole(LONG);
            case "twice":
                whole("Where were you?");
                return whole(LONG);
            default:
                throw new IllegalArgumentException(how);
        }
    }

    private String whole(String question) throws Exception {
        return of(body(client.send(request(question, false), HttpResponse.BodyHandlers.ofString())));
    }

    private static <T> T body(HttpResponse<T> answer) {
        if (answer.statusCode() != 200) {
            throw new IllegalStateException("status " + answer.statusCode());
        }
        return answer.body();
    }

    private HttpRequest request(String question, boolean stream) {
        String body = String.format(
                "{\"model\": \"%s\", \"stream\": %b, \"max_tokens\": 20, \"messages\": [{\"role\": \"user\", \"content\": \"%s\"}]}",
                model, stream, question);
        return HttpRequest.newBuilder(uri).timeout(Duration.ofSeconds(60)).header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body)).build();
    }

    private static String of(String answer) {
        String said = CONTENT.matcher(answer).results().map(found -> found.group(1)).collect(Collectors.joining());
        Matcher finish = FINISH.matcher(answer);
        return finish.find()
                ? String.format("{\"said\": \"%s\", \"finish\": \"%s\"}", said, finish.group(1))
                : String.format("{\"said\": \"%s\", \"finish\": null}", said);
    }
}
