using System.Diagnostics;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Superserve.Testing;

namespace Superserve.Benchmarks.Network;

/// <summary>How much of it there was: bytes or connections, in how long, and what the proxy's processors did for it.</summary>
internal readonly record struct Measured(long Amount, TimeSpan Time, TimeSpan Cpu)
{
    public double PerSecond => Amount / Time.TotalSeconds;

    public double CpuMicrosecondsEach => Cpu.TotalMicroseconds / Amount;
}

/// <summary>Clients in a pod: threads that block, each a connection at a time.</summary>
internal sealed class Load(BenchPod pod)
{
    /// <summary>Length of the small answer.</summary>
    public const int AnswerLength = 100;

    private const int Clients = 8;

    /// <summary>Neither TLS nor HTTP.</summary>
    private static readonly byte[] Opaque = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];

    /// <summary>As a TLS client begins. What follows may be anything: a tunnel does not look, and nobody here has to encrypt it.</summary>
    private static readonly byte[] Hello = MakeHello(BenchPod.TunnelledHost);

    /// <summary>Downloads over some connections at once.</summary>
    public Task<Measured> DownloadAsync(TimeSpan duration, int connections, bool isTls) => RunAsync(duration, connections, until =>
    {
        byte[] buffer = new byte[256 * 1024];
        long received = 0;
        using Socket socket = Connect(Services.Stream);
        socket.Send(isTls ? Hello : Opaque);
        while (Stopwatch.GetTimestamp() < until)
        {
            int length = socket.Receive(buffer);
            received += length > 0 ? length : throw new InvalidOperationException("A download ended.");
        }

        return received;
    });

    /// <summary>Connects, asks, reads the answer and closes, again and again.</summary>
    public Task<Measured> ExchangesAsync(TimeSpan duration, bool isTls) => RepeatAsync(duration, () =>
    {
        Span<byte> buffer = stackalloc byte[AnswerLength];
        using Socket socket = Connect(Services.Answer);
        socket.Send(isTls ? Hello : Opaque);
        for (int length = 0; length < AnswerLength;)
        {
            int more = socket.Receive(buffer);
            length += more > 0 ? more : throw new InvalidOperationException("An answer broke off.");
        }
    });

    /// <summary>The same in TLS, a full handshake each time; without a request where <paramref name="asks"/> is false.</summary>
    public Task<Measured> HandshakesAsync(TimeSpan duration, bool asks)
    {
        byte[] request = Encoding.ASCII.GetBytes($"GET / HTTP/1.1\r\nHost: {BenchPod.BoundHost}\r\nAuthorization: Bearer {pod.StandIn}\r\n\r\n");
        SslClientAuthenticationOptions options = new()
        {
            TargetHost = BenchPod.BoundHost,
            AllowTlsResume = false,
            CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck, DisableCertificateDownloads = true },
        };
        options.CertificateChainPolicy.CustomTrustStore.ImportFromPem(pod.Authority);
        return RepeatAsync(duration, () =>
        {
            byte[] buffer = new byte[4096];
            using SslStream tls = new(new NetworkStream(Connect(443), ownsSocket: true));
            tls.AuthenticateAsClient(options);
            if (!asks) return;
            tls.Write(request);
            int length = tls.Read(buffer);
            if (!buffer.AsSpan(0, length).StartsWith("HTTP/1.1 200"u8)) throw new InvalidOperationException($"A request was answered with {Encoding.Latin1.GetString(buffer, 0, length)}");
        });
    }

    /// <summary>Opens tunnels that have carried a word each, and leaves them open.</summary>
    public List<Socket> OpenIdle(int count) => pod.Network.Pod.Enter(() =>
    {
        byte[] buffer = new byte[AnswerLength];
        List<Socket> sockets = [];
        for (int i = 0; i < count; i++)
        {
            Socket socket = Connect(Services.Hold);
            sockets.Add(socket);
            socket.Send(Opaque);
            if (socket.Receive(buffer) == 0) throw new InvalidOperationException($"Tunnel {i} was closed.");
        }

        return sockets;
    });

    /// <summary>How long each of some questions for one name took, one after another, in milliseconds, sorted.</summary>
    public double[] Ask(int count) => pod.Network.Pod.Enter(() =>
    {
        byte[] buffer = new byte[4096];
        double[] took = new double[count];
        using Socket socket = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp) { ReceiveTimeout = 5000 };
        socket.Connect(Testing.Network.PodNetwork.UpstreamV4, 53);
        for (int i = 0; i < count; i++)
        {
            long started = Stopwatch.GetTimestamp();
            socket.Send(DnsWire.Query(BenchPod.TunnelledHost, DnsWire.A, i));
            int length = socket.Receive(buffer);
            took[i] = Stopwatch.GetElapsedTime(started).TotalMilliseconds;
            if (DnsWire.Read(buffer[..length]) is not { Code: 0, Answers.Count: 1 }) throw new InvalidOperationException("A name was not resolved.");
        }

        Array.Sort(took);
        return took;
    });

    private Task<Measured> RepeatAsync(TimeSpan duration, Action action) => RunAsync(duration, Clients, until =>
    {
        long done = 0;
        for (; Stopwatch.GetTimestamp() < until; done++) action();
        return done;
    });

    private async Task<Measured> RunAsync(TimeSpan duration, int clients, Func<long, long> run)
    {
        TimeSpan cpu = pod.ProxyCpu();
        long started = Stopwatch.GetTimestamp();
        long until = started + (long)(duration.TotalSeconds * Stopwatch.Frequency);
        // A thread each: a client's sockets are made in the pod.
        long[] done = await Task.WhenAll(Enumerable.Range(0, clients).Select(_ => Task.Factory.StartNew(
            () => pod.Network.Pod.Enter(() => run(until)), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
        return new Measured(done.Sum(), Stopwatch.GetElapsedTime(started), pod.ProxyCpu() - cpu);
    }

    private static Socket Connect(int port)
    {
        Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true, ReceiveTimeout = 20_000 };
        socket.Connect(BenchPod.Service, port);
        return socket;
    }

    private static byte[] MakeHello(string host)
    {
        using MemoryStream written = new();
        using SslStream tls = new(written);
        try
        {
            tls.AuthenticateAsClient(host);
        }
        catch (IOException)
        {
            // Nobody answers; the hello is written.
        }

        return written.ToArray();
    }
}
