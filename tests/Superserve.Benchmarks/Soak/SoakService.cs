using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Superserve.Testing;
using Superserve.Testing.Network;

namespace Superserve.Benchmarks.Soak;

/// <summary>
/// The service at the upstream, for all names: it looks at what it gets, and its answers are such that a client can tell whether they
/// are whole.
/// </summary>
internal sealed class SoakService : IAsyncDisposable
{
    /// <summary>A credential is expected under this domain, and none under the other.</summary>
    public const string BoundDomain = "soak.example.com", FreeDomain = "soak.example.net";

    public const int EchoPort = 7001;

    public const int Events = 10;

    /// <summary>How long the credential before this one may still come: requests were under way when it changed.</summary>
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(10);

    private readonly WebApplication _app;
    private readonly Socket _echo;
    private volatile Credentials _credentials = new("", "", 0);

    private sealed record Credentials(string Current, string Before, long ChangedAt);

    private SoakService(NetworkNamespace upstream, IPAddress address)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.MaxRequestBodySize = null;
            kestrel.Limits.MinRequestBodyDataRate = null;
            kestrel.Limits.MinResponseDataRate = null;
            kestrel.Listen(address, 443, listener => listener.UseHttps(TestAuthority.Issue("*." + BoundDomain, "*." + FreeDomain)));
        }).UseSockets(sockets => sockets.CreateBoundListenSocket = endPoint => upstream.Enter(() => SocketTransportOptions.CreateDefaultBoundListenSocket(endPoint)));
        _app = builder.Build();
        _app.UseWebSockets();
        _app.Run(AnswerAsync);
        _echo = upstream.Enter(() =>
        {
            Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            socket.Bind(new IPEndPoint(address, EchoPort));
            socket.Listen(1024);
            return socket;
        });
    }

    public static async Task<SoakService> StartAsync(NetworkNamespace upstream, IPAddress address)
    {
        SoakService service = new(upstream, address);
        await service._app.StartAsync();
        _ = service.EchoAsync();
        return service;
    }

    /// <summary>From now on this is the credential.</summary>
    public void Rotate(string credential) => _credentials = new Credentials(credential, _credentials.Current, TimeProvider.System.GetTimestamp());

    public async ValueTask DisposeAsync()
    {
        _echo.Dispose();
        using CancellationTokenSource now = new();
        await now.CancelAsync();
        await _app.StopAsync(now.Token);
        await _app.DisposeAsync();
    }

    private async Task AnswerAsync(HttpContext context)
    {
        try
        {
            string authorization = context.Request.Headers.Authorization.ToString();
            bool isBound = context.Request.Host.Host.EndsWith("." + BoundDomain, StringComparison.Ordinal);
            if (isBound ? !IsCredential(authorization) : authorization.Length > 0)
            {
                context.Response.StatusCode = 401;
                return;
            }

            await (context.Request.Path.Value switch
            {
                "/down" => SendAsync(context, long.Parse(context.Request.Query["length"]!, CultureInfo.InvariantCulture)),
                "/up" => ReceiveAsync(context),
                "/events" => SendEventsAsync(context),
                "/conversation" => ConverseAsync(context),
                // What a careless service does.
                "/token" => context.Response.WriteAsync($"You sent {authorization}, did you not?"),
                _ => context.Response.WriteAsync("ok"),
            });
        }
        catch (Exception exception) when (exception is IOException or OperationCanceledException or WebSocketException)
        {
            // A client that went away midway: some are meant to, and the others notice.
            context.Abort();
        }
    }

    private bool IsCredential(string authorization)
    {
        Credentials credentials = _credentials;
        return authorization == "Bearer " + credentials.Current
            || (authorization == "Bearer " + credentials.Before && TimeProvider.System.GetElapsedTime(credentials.ChangedAt) < Grace);
    }

    private static async Task SendAsync(HttpContext context, long length)
    {
        context.Response.ContentLength = length;
        for (long sent = 0; sent < length;)
        {
            ReadOnlyMemory<byte> piece = Pattern.At(sent, length - sent);
            await context.Response.Body.WriteAsync(piece, context.RequestAborted);
            sent += piece.Length;
        }
    }

    private static async Task ReceiveAsync(HttpContext context)
    {
        byte[] buffer = new byte[64 * 1024];
        long received = 0;
        while (await context.Request.Body.ReadAsync(buffer, context.RequestAborted) is > 0 and int length)
        {
            if (!Pattern.Holds(buffer.AsSpan(0, length), received))
            {
                context.Response.StatusCode = 400;
                return;
            }

            received += length;
        }

        await context.Response.WriteAsync(received.ToString(CultureInfo.InvariantCulture));
    }

    private static async Task SendEventsAsync(HttpContext context)
    {
        context.Response.ContentType = "text/event-stream";
        for (int i = 0; i < Events; i++)
        {
            await context.Response.WriteAsync($"data: {i}\n\n", context.RequestAborted);
            await context.Response.Body.FlushAsync(context.RequestAborted);
            await Task.Delay(TimeSpan.FromMilliseconds(200), TimeProvider.System, context.RequestAborted);
        }
    }

    private static async Task ConverseAsync(HttpContext context)
    {
        using WebSocket socket = await context.WebSockets.AcceptWebSocketAsync();
        byte[] buffer = new byte[64 * 1024];
        while (true)
        {
            ValueWebSocketReceiveResult received = await socket.ReceiveAsync(buffer.AsMemory(), context.RequestAborted);
            if (received.MessageType == WebSocketMessageType.Close) break;
            await socket.SendAsync(buffer.AsMemory(0, received.Count), received.MessageType, received.EndOfMessage, context.RequestAborted);
        }

        await socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, null, context.RequestAborted);
    }

    private async Task EchoAsync()
    {
        try
        {
            while (true) _ = EchoAsync(await _echo.AcceptAsync());
        }
        catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
        {
            // The end.
        }
    }

    private static async Task EchoAsync(Socket client)
    {
        using Socket accepted = client;
        byte[] buffer = new byte[16 * 1024];
        try
        {
            while (await client.ReceiveAsync(buffer) is > 0 and int length)
                for (int sent = 0; sent < length;) sent += await client.SendAsync(buffer.AsMemory(sent, length - sent));
        }
        catch (SocketException)
        {
            // It went away.
        }
    }
}

/// <summary>Endless text whose every piece can be checked by where it stands.</summary>
internal static class Pattern
{
    private static readonly byte[] Block = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Range(0, 8192).Select(line => $"{line:00000000}, and on\n")));

    /// <summary>Some of it from a position on.</summary>
    public static ReadOnlyMemory<byte> At(long position, long most)
    {
        int start = (int)(position % Block.Length);
        return Block.AsMemory(start, (int)Math.Min(Math.Min(most, 32 * 1024), Block.Length - start));
    }

    /// <summary>Whether it has these bytes at that position.</summary>
    public static bool Holds(ReadOnlySpan<byte> bytes, long position)
    {
        while (!bytes.IsEmpty)
        {
            ReadOnlySpan<byte> expected = At(position, bytes.Length).Span;
            if (!bytes[..expected.Length].SequenceEqual(expected)) return false;
            bytes = bytes[expected.Length..];
            position += expected.Length;
        }

        return true;
    }
}
