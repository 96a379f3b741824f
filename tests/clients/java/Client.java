import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandler;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Random;

/** Java's own HttpClient. usage: java Client 1|2 */
public final class Client {
    private static HttpClient client;

    public static void main(String[] arguments) throws Exception {
        client = HttpClient.newBuilder().version(arguments[0].equals("2") ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1).build();
        System.out.println(send(request("/hello").build(), BodyHandlers.ofString()).body());

        byte[] body = new byte[3 << 20];
        new Random().nextBytes(body);
        byte[] back = send(request("/echo").POST(BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body))).build(), BodyHandlers.ofByteArray()).body();
        System.out.println(back.length + " " + (Arrays.equals(back, body) ? "same" : "other"));

        HttpResponse<java.io.InputStream> events = send(request("/events").build(), BodyHandlers.ofInputStream());
        try (BufferedReader reader = new BufferedReader(new InputStreamReader(events.body(), StandardCharsets.UTF_8))) {
            for (String line; (line = reader.readLine()) != null;) {
                if (line.isEmpty()) continue;
                System.out.println(line);
                if (line.endsWith("one")) send(request("/release").build(), BodyHandlers.ofString());
            }
        }
    }

    private static HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(URI.create("https://api.example.com" + path)).header("Authorization", "Bearer " + System.getenv("API_TOKEN"));
    }

    private static <T> HttpResponse<T> send(HttpRequest request, BodyHandler<T> handler) throws Exception {
        return client.send(request, handler);
    }
}
