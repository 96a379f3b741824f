using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Text;
using Superserve.Testing;
using Superserve.Testing.Network;

namespace Superserve.Benchmarks.Soak;

/// <summary>An answer that is not as it should be.</summary>
internal sealed class WrongException(string what) : Exception(what);

/// <summary>One kind of what sandboxes do.</summary>
/// <param name="Name">What it is called in the report.</param>
/// <param name="Weight">How often it comes, against the others.</param>
/// <param name="RunAsync">Does it once; throws unless everything is as it should be.</param>
internal sealed record SoakAction(string Name, int Weight, Func<CancellationToken, Task> RunAsync)
{
    public int Done;

    public int Failed;
}

/// <summary>What a sandbox does in an hour, over ten thousand names, each thing with its right result.</summary>
internal sealed class SoakTraffic : IDisposable
{
    private const int Names = 10_000;

    /// <summary>Names that are asked again and again, on connections that are kept.</summary>
    private const int HotNames = 20;

    private const int MaxBody = 8 * 1024 * 1024;

    private readonly SoakPod _pod;
    private readonly HttpMessageInvoker _kept;
    private readonly Lock _lock = new();
    private readonly List<double> _keptTook = [], _newTook = [];

    public SoakTraffic(SoakPod pod)
    {
        _pod = pod;
        _kept = pod.CreateClient();
        Actions =
        [
            new("request on a kept connection", 24, cancellation => TimedAsync(_keptTook, () => SmallAsync(_kept, Pick(HttpVersion.Version11, HttpVersion.Version20), Name(HotNames), cancellation))),
            new("request on a new connection", 28, cancellation => TimedAsync(_newTook, () => AloneAsync(client => SmallAsync(client, HttpVersion.Version11, Name(Names), cancellation)))),
            new("five streams of HTTP/2", 8, cancellation => AloneAsync(client =>
            {
                string host = Name(Names);
                return Task.WhenAll(Enumerable.Range(0, 5).Select(_ => SmallAsync(client, HttpVersion.Version20, host, cancellation)));
            })),
            new("answer with the credential in it", 6, cancellation => AloneAsync(client => ScrubbedAsync(client, cancellation))),
            new("server-sent events", 4, cancellation => AloneAsync(client => EventsAsync(client, cancellation))),
            new("WebSocket", 4, cancellation => AloneAsync(client => ConversationAsync(client, isAbandoned: false, cancellation))),
            new("upload", 3, cancellation => AloneAsync(client => UploadAsync(client, cancellation))),
            new("download", 3, cancellation => AloneAsync(client => DownloadAsync(client, abandonAfter: long.MaxValue, cancellation))),
            new("tunnel", 4, TunnelAsync),
            new("look-up", 6, LookUpAsync),
            new("stand-in for another host", 1, cancellation => RefusedAsync($"https://{FreeName()}/", "credential_host_mismatch", cancellation)),
            new("stand-in in another header", 1, cancellation => RefusedAsync($"https://{BoundName()}/", "credential_misplaced", cancellation, header: "X-Other")),
            new("stand-in over plain HTTP", 1, cancellation => RefusedAsync($"http://{BoundName()}/", "cleartext_refused", cancellation)),
            new("another name than in the hello", 1, MisnamedAsync),
            new("denied host", 1, cancellation => RefusedAsync($"https://{SoakPod.DeniedHost}/", "host_denied", cancellation)),
            new("half a hello, then nothing", 1, cancellation => AbandonedHelloAsync(reset: false, cancellation)),
            new("half a hello, then a reset", 1, cancellation => AbandonedHelloAsync(reset: true, cancellation)),
            new("handshake, then nothing", 1, AbandonedHandshakeAsync),
            new("download that is left", 1, cancellation => AloneAsync(client => DownloadAsync(client, abandonAfter: 64 * 1024, cancellation))),
            new("upload that is left", 1, cancellation => AloneAsync(client => AbandonedUploadAsync(client, cancellation))),
            new("WebSocket that is left", 1, cancellation => AloneAsync(client => ConversationAsync(client, isAbandoned: true, cancellation))),
        ];
    }

    public IReadOnlyList<SoakAction> Actions { get; }

    public void Dispose() => _kept.Dispose();

    /// <summary>One of the actions.</summary>
    public SoakAction Next()
    {
        int at = RandomNumberGenerator.GetInt32(Actions.Sum(action => action.Weight));
        foreach (SoakAction action in Actions)
            if ((at -= action.Weight) < 0) return action;
        return Actions[^1];
    }

    /// <summary>How long small requests took since this was asked last, in milliseconds, sorted.</summary>
    public (double[] Kept, double[] New) TakeLatencies()
    {
        lock (_lock)
        {
            (double[], double[]) taken = ([.. _keptTook.Order()], [.. _newTook.Order()]);
            _keptTook.Clear();
            _newTook.Clear();
            return taken;
        }
    }

    private async Task TimedAsync(List<double> into, Func<Task> runAsync)
    {
        long started = Stopwatch.GetTimestamp();
        await runAsync();
        double took = Stopwatch.GetElapsedTime(started).TotalMilliseconds;
        lock (_lock) into.Add(took);
    }

    /// <summary>With connections of its own, which are closed at its end.</summary>
    private async Task AloneAsync(Func<HttpMessageInvoker, Task> runAsync)
    {
        using HttpMessageInvoker client = _pod.CreateClient();
        await runAsync(client);
    }

    private static T Pick<T>(params ReadOnlySpan<T> among) => among[RandomNumberGenerator.GetInt32(among.Length)];

    /// <summary>Half of the names are the secret's.</summary>
    private static string Name(int count) => RandomNumberGenerator.GetInt32(count) is var index && index % 2 == 0
        ? $"n{index}.{SoakService.BoundDomain}"
        : $"n{index}.{SoakService.FreeDomain}";

    private static string BoundName() => $"n{2 * RandomNumberGenerator.GetInt32(Names / 2)}.{SoakService.BoundDomain}";

    private static string FreeName() => $"n{(2 * RandomNumberGenerator.GetInt32(Names / 2)) + 1}.{SoakService.FreeDomain}";

    private static HttpRequestMessage Request(HttpMethod method, string host, string path, Version version)
    {
        HttpRequestMessage request = new(method, $"https://{host}{path}") { Version = version, VersionPolicy = HttpVersionPolicy.RequestVersionExact };
        if (host.EndsWith(SoakService.BoundDomain, StringComparison.Ordinal)) request.Headers.TryAddWithoutValidation("Authorization", "Bearer " + SoakPod.StandIn);
        return request;
    }

    private static async Task<HttpResponseMessage> SendAsync(HttpMessageInvoker client, HttpRequestMessage request, CancellationToken cancellation)
    {
        HttpResponseMessage response = await client.SendAsync(request, cancellation);
        if (response.StatusCode == HttpStatusCode.OK) return response;
        string body = await response.Content.ReadAsStringAsync(cancellation);
        throw new WrongException($"{request.Method} {request.RequestUri} was answered with {(int)response.StatusCode} {body}");
    }

    private static void Expect(bool condition, string what)
    {
        if (!condition) throw new WrongException(what);
    }

    private static async Task SmallAsync(HttpMessageInvoker client, Version version, string host, CancellationToken cancellation)
    {
        using HttpRequestMessage request = Request(HttpMethod.Get, host, "/", version);
        using HttpResponseMessage response = await SendAsync(client, request, cancellation);
        string body = await response.Content.ReadAsStringAsync(cancellation);
        Expect(body == "ok", $"The answer is {body}");
    }

    private async Task ScrubbedAsync(HttpMessageInvoker client, CancellationToken cancellation)
    {
        using HttpRequestMessage request = Request(HttpMethod.Get, BoundName(), "/token", Pick(HttpVersion.Version11, HttpVersion.Version20));
        using HttpResponseMessage response = await SendAsync(client, request, cancellation);
        string body = await response.Content.ReadAsStringAsync(cancellation);
        Expect(body == $"You sent Bearer {SoakPod.StandIn}, did you not?", $"What should have been scrubbed is {body}");
    }

    private static async Task EventsAsync(HttpMessageInvoker client, CancellationToken cancellation)
    {
        using HttpRequestMessage request = Request(HttpMethod.Get, Name(Names), "/events", Pick(HttpVersion.Version11, HttpVersion.Version20));
        using HttpResponseMessage response = await SendAsync(client, request, cancellation);
        string body = await response.Content.ReadAsStringAsync(cancellation);
        Expect(body == string.Concat(Enumerable.Range(0, SoakService.Events).Select(i => $"data: {i}\n\n")), $"The events are {body}");
    }

    private static async Task DownloadAsync(HttpMessageInvoker client, long abandonAfter, CancellationToken cancellation)
    {
        int length = RandomNumberGenerator.GetInt32(256 * 1024, MaxBody);
        using HttpRequestMessage request = Request(HttpMethod.Get, Name(Names), $"/down?length={length}", Pick(HttpVersion.Version11, HttpVersion.Version20));
        using HttpResponseMessage response = await SendAsync(client, request, cancellation);
        await using Stream body = await response.Content.ReadAsStreamAsync(cancellation);
        byte[] buffer = new byte[64 * 1024];
        long received = 0;
        while (received < abandonAfter && await body.ReadAsync(buffer, cancellation) is > 0 and int more)
        {
            Expect(Pattern.Holds(buffer.AsSpan(0, more), received), $"A download is not as it was sent, at {received}");
            received += more;
        }

        Expect(received >= Math.Min(length, abandonAfter), $"A download of {length} has {received}");
    }

    private static async Task UploadAsync(HttpMessageInvoker client, CancellationToken cancellation)
    {
        int length = RandomNumberGenerator.GetInt32(256 * 1024, MaxBody);
        using HttpRequestMessage request = Request(HttpMethod.Post, Name(Names), "/up", Pick(HttpVersion.Version11, HttpVersion.Version20));
        request.Content = new PatternContent(length, isLengthKnown: Pick(true, false), PatternContent.Never);
        using HttpResponseMessage response = await SendAsync(client, request, cancellation);
        string body = await response.Content.ReadAsStringAsync(cancellation);
        Expect(body == length.ToString(CultureInfo.InvariantCulture), $"Of an upload of {length} this came: {body}");
    }

    private static async Task AbandonedUploadAsync(HttpMessageInvoker client, CancellationToken cancellation)
    {
        using HttpRequestMessage request = Request(HttpMethod.Post, Name(Names), "/up", Pick(HttpVersion.Version11, HttpVersion.Version20));
        request.Content = new PatternContent(MaxBody, isLengthKnown: Pick(true, false), breakOffAt: 256 * 1024);
        try
        {
            using HttpResponseMessage response = await client.SendAsync(request, cancellation);
            throw new WrongException("An upload that broke off was answered.");
        }
        catch (HttpRequestException)
        {
            // As it should be.
        }
    }

    private static async Task ConversationAsync(HttpMessageInvoker client, bool isAbandoned, CancellationToken cancellation)
    {
        string host = Name(Names);
        using ClientWebSocket socket = new();
        socket.Options.HttpVersion = Pick(HttpVersion.Version11, HttpVersion.Version20);
        socket.Options.HttpVersionPolicy = HttpVersionPolicy.RequestVersionExact;
        if (host.EndsWith(SoakService.BoundDomain, StringComparison.Ordinal)) socket.Options.SetRequestHeader("Authorization", "Bearer " + SoakPod.StandIn);
        await socket.ConnectAsync(new Uri($"wss://{host}/conversation"), client, cancellation);
        byte[] buffer = new byte[32 * 1024];
        for (int i = 0; i < 10; i++)
        {
            ReadOnlyMemory<byte> sent = Pattern.At(i, RandomNumberGenerator.GetInt32(1, 32 * 1024));
            await socket.SendAsync(sent, WebSocketMessageType.Binary, true, cancellation);
            int received = 0;
            ValueWebSocketReceiveResult result;
            do
            {
                result = await socket.ReceiveAsync(buffer.AsMemory(received), cancellation);
                received += result.Count;
            }
            while (!result.EndOfMessage);
            Expect(buffer.AsSpan(0, received).SequenceEqual(sent.Span), "A message is not as it was sent");
            if (isAbandoned && i == 5)
            {
                socket.Abort();
                return;
            }

            await Task.Delay(TimeSpan.FromMilliseconds(100), TimeProvider.System, cancellation);
        }

        await socket.CloseAsync(WebSocketCloseStatus.NormalClosure, null, cancellation);
    }

    private async Task TunnelAsync(CancellationToken cancellation)
    {
        using Socket socket = await _pod.ConnectAsync(SoakService.EchoPort, cancellation);
        byte[] buffer = new byte[16 * 1024];
        for (int i = 0; i < 5; i++)
        {
            // Not the beginning of anything.
            byte[] sent = [0, .. Pattern.At(i, RandomNumberGenerator.GetInt32(1, 8 * 1024)).Span];
            await socket.SendAsync(sent, cancellation);
            int received = 0;
            while (received < sent.Length && await socket.ReceiveAsync(buffer.AsMemory(received), cancellation) is > 0 and int more) received += more;
            Expect(buffer.AsSpan(0, received).SequenceEqual(sent), "A tunnel's answer is not what was sent");
        }
    }

    private async Task LookUpAsync(CancellationToken cancellation)
    {
        using Socket socket = await _pod.SocketAsync();
        string name = Name(Names);
        // Over TCP, which a stub resolver takes where datagrams are too short.
        await socket.ConnectAsync(PodNetwork.UpstreamV4, 53, cancellation);
        byte[] query = DnsWire.Query(name, DnsWire.A);
        await socket.SendAsync((byte[])[.. DnsWire.Word(query.Length), .. query], cancellation);
        byte[] buffer = new byte[4096];
        int received = 0;
        while ((received < 2 || received < 2 + (buffer[0] << 8 | buffer[1])) && await socket.ReceiveAsync(buffer.AsMemory(received), cancellation) is > 0 and int more) received += more;
        WireMessage answer = DnsWire.Read(buffer[2..received]);
        Expect(answer.Code == 0 && answer.Addresses.Contains(SoakPod.Service.ToString()), $"{name} has not the address that it should have: {answer.Code}");
    }

    private Task RefusedAsync(string uri, string reason, CancellationToken cancellation, string header = "Authorization") => AloneAsync(async client =>
    {
        using HttpRequestMessage request = new(HttpMethod.Get, uri);
        request.Headers.TryAddWithoutValidation(header, "Bearer " + SoakPod.StandIn);
        using HttpResponseMessage response = await client.SendAsync(request, cancellation);
        string said = response.Headers.TryGetValues("X-Superserve-Proxy-Reason", out IEnumerable<string>? values) ? string.Join(", ", values) : "nothing";
        Expect(said == reason, $"{uri} should have been refused with {reason}: it was answered with {(int)response.StatusCode}, {said}");
    });

    /// <summary>By hand: the platform's client says the same name everywhere.</summary>
    private async Task MisnamedAsync(CancellationToken cancellation)
    {
        using Socket socket = await _pod.ConnectAsync(443, cancellation);
        await using SslStream tls = await HandshakeAsync(socket, FreeName(), SslApplicationProtocol.Http11, cancellation);
        await tls.WriteAsync(Encoding.ASCII.GetBytes($"GET / HTTP/1.1\r\nHost: {BoundName()}\r\nAuthorization: Bearer {SoakPod.StandIn}\r\n\r\n"), cancellation);
        byte[] buffer = new byte[4096];
        string answer = Encoding.ASCII.GetString(buffer, 0, await tls.ReadAsync(buffer, cancellation));
        Expect(answer.StartsWith("HTTP/1.1 421 ", StringComparison.Ordinal), $"A request for another name than in the hello was answered with {answer}");
    }

    private async Task AbandonedHelloAsync(bool reset, CancellationToken cancellation)
    {
        using Socket socket = await _pod.ConnectAsync(443, cancellation);
        await socket.SendAsync((byte[])[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], cancellation);
        if (reset) socket.LingerState = new LingerOption(true, 0);
    }

    private async Task AbandonedHandshakeAsync(CancellationToken cancellation)
    {
        using Socket socket = await _pod.ConnectAsync(443, cancellation);
        await using SslStream tls = await HandshakeAsync(socket, Name(Names), Pick(SslApplicationProtocol.Http11, SslApplicationProtocol.Http2), cancellation);
        // A beginning of a request, or not even that.
        if (Pick(true, false)) await tls.WriteAsync(Encoding.ASCII.GetBytes("GET / HT"), cancellation);
    }

    private async Task<SslStream> HandshakeAsync(Socket socket, string name, SslApplicationProtocol protocol, CancellationToken cancellation)
    {
        SslStream tls = new(new NetworkStream(socket));
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = name, CertificateChainPolicy = _pod.Trust, ApplicationProtocols = [protocol] }, cancellation);
        return tls;
    }

    private sealed class PatternContent(long length, bool isLengthKnown, long breakOffAt) : HttpContent
    {
        public const long Never = long.MaxValue;

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, CancellationToken.None);

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
        {
            for (long sent = 0; sent < length;)
            {
                if (sent >= breakOffAt) throw new IOException("It breaks off here.");
                ReadOnlyMemory<byte> piece = Pattern.At(sent, length - sent);
                await stream.WriteAsync(piece, cancellationToken);
                sent += piece.Length;
            }
        }

        protected override bool TryComputeLength(out long known)
        {
            known = length;
            return isLengthKnown;
        }
    }
}
