using System.Diagnostics;
using System.Globalization;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Text;

namespace Superserve.Benchmarks.Http;

/// <summary>Single requests over HTTP/1.1 on a thread that blocks.</summary>
internal static class Requests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    /// <summary>A request's bytes.</summary>
    public static byte[] Make(string path, string token) =>
        Encoding.ASCII.GetBytes($"GET {path} HTTP/1.1\r\nHost: {HttpPod.Host}\r\nAuthorization: Bearer {token}\r\n\r\n");

    /// <summary>Connects, and has one answer. To be called in the pod.</summary>
    public static SslStream Ask(HttpPod pod)
    {
        SslStream connection = HttpPod.Connect();
        Exchange(connection, Make(ServedFiles.Tiny, pod.Token), new byte[4096]);
        return connection;
    }

    /// <summary>Asks until a proxy that has just been started answers as it should, and says since when it listens, and when that was.</summary>
    public static (DateTimeOffset Listening, DateTimeOffset Answered) FirstAnswer(HttpPod pod) => pod.Network.Pod.Enter(() =>
    {
        long started = Stopwatch.GetTimestamp();
        DateTimeOffset? listening = null;
        while (true)
        {
            try
            {
                if (listening is null)
                {
                    using Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
                    socket.Connect(HttpPod.Service, 443);
                    listening = TimeProvider.System.GetUtcNow();
                }

                using SslStream connection = Ask(pod);
                return (listening.Value, TimeProvider.System.GetUtcNow());
            }
            catch (Exception exception) when (exception is IOException or SocketException or AuthenticationException or InvalidOperationException && Stopwatch.GetElapsedTime(started) < Patience)
            {
                Clock.Wait(Stopwatch.GetTimestamp() + (Stopwatch.Frequency / 2000));
            }
        }
    });

    /// <summary>Sends it and reads the answer to its end, which must be one of 200.</summary>
    public static void Exchange(SslStream connection, byte[] request, byte[] buffer)
    {
        connection.Write(request);
        int length = 0, head;
        while ((head = buffer.AsSpan(0, length).IndexOf("\r\n\r\n"u8)) < 0) length += Read(connection, buffer.AsSpan(length));
        string text = Encoding.Latin1.GetString(buffer, 0, head);
        if (!text.StartsWith("HTTP/1.1 200", StringComparison.Ordinal)) throw new InvalidOperationException($"A request was answered with {text}");
        string? size = text.Split("\r\n").FirstOrDefault(line => line.StartsWith("content-length:", StringComparison.OrdinalIgnoreCase));
        if (size is not null)
        {
            int all = head + 4 + int.Parse(size["content-length:".Length..], CultureInfo.InvariantCulture);
            while (length < all) length += Read(connection, buffer.AsSpan(length));
        }
        else
        {
            // Chunked; small enough for the buffer.
            while (!buffer.AsSpan(0, length).EndsWith("\r\n0\r\n\r\n"u8)) length += Read(connection, buffer.AsSpan(length));
        }
    }

    private static int Read(SslStream connection, Span<byte> buffer) =>
        connection.Read(buffer) is > 0 and int length ? length : throw new IOException("An answer broke off.");
}
