using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Primitives;
using Superserve.Testing.Network;

namespace Superserve.Testing;

/// <summary>One request as the service got it.</summary>
public sealed class ReceivedRequest(string protocol, string method, string target, List<(string Name, string Value)> headers)
{
    public string Protocol { get; } = protocol;

    public string Method { get; } = method;

    public string Target { get; } = target;

    /// <summary>The fields, each value by itself.</summary>
    public IReadOnlyList<(string Name, string Value)> Headers { get; } = headers;

    public byte[] Body { get; set; } = [];

    public string BodyText => Encoding.UTF8.GetString(Body);

    /// <summary>The values of a field, joined; null where there is none.</summary>
    public string? this[string name]
    {
        get
        {
            string[] values = [.. Headers.Where(field => field.Name.Equals(name, StringComparison.OrdinalIgnoreCase)).Select(field => field.Value)];
            return values.Length == 0 ? null : string.Join(", ", values);
        }
    }

    public override string ToString() => $"{Method} {Target}\n" + string.Join('\n', Headers.Select(field => $"{field.Name}: {field.Value}")) + "\n\n" + BodyText;
}

/// <summary>A real service, HTTP/1.1, HTTP/2 and WebSocket: one port with TLS, one without.</summary>
public sealed class TestService : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly ConcurrentQueue<ReceivedRequest> _requests = new();

    private TestService(WebApplication app) => _app = app;

    /// <summary>Answers; what it does not read of the body is not recorded.</summary>
    public delegate Task AnswerDelegate(HttpContext context, ReceivedRequest request);

    /// <summary>How requests are answered; the standard answer reads the body and says "ok".</summary>
    public AnswerDelegate Answer { get; set; } = (context, _) => context.Response.WriteAsync("ok");

    /// <summary>Whether the body is read and recorded ahead of <see cref="Answer"/>.</summary>
    public bool ReadsBody { get; set; } = true;

    /// <summary>Whether <see cref="Requests"/> has what came.</summary>
    public bool KeepsRequests { get; set; } = true;

    public IPEndPoint Address { get; private set; } = null!;

    public IPEndPoint PlainAddress { get; private set; } = null!;

    public IReadOnlyList<ReceivedRequest> Requests => [.. _requests];

    /// <summary>One on loopback.</summary>
    public static Task<TestService> StartAsync(params string[] names) =>
        StartAsync(new IPEndPoint(IPAddress.Loopback, FreePort.Next()), new IPEndPoint(IPAddress.Loopback, FreePort.Next()), SocketTransportOptions.CreateDefaultBoundListenSocket, names);

    /// <summary>One at an address of a network, on the usual ports; what it does is this process's all the same.</summary>
    public static Task<TestService> StartInAsync(NetworkNamespace network, IPAddress address, params string[] names) =>
        StartAsync(new IPEndPoint(address, 443), new IPEndPoint(address, 80), endPoint => network.Enter(() => SocketTransportOptions.CreateDefaultBoundListenSocket(endPoint)), names);

    private static async Task<TestService> StartAsync(IPEndPoint address, IPEndPoint plainAddress, Func<EndPoint, Socket> bind, string[] names)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseSockets(sockets => sockets.CreateBoundListenSocket = bind).UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.RequestHeaderEncodingSelector = _ => Encoding.Latin1;
            kestrel.ResponseHeaderEncodingSelector = _ => Encoding.Latin1;
            kestrel.Limits.MaxRequestBodySize = null;
            kestrel.Limits.MinRequestBodyDataRate = null;
            kestrel.Limits.MinResponseDataRate = null;
            kestrel.Listen(address, listener => listener.UseHttps(TestAuthority.Issue(names)));
            kestrel.Listen(plainAddress);
        });
        TestService service = new(builder.Build()) { Address = address, PlainAddress = plainAddress };
        service._app.UseWebSockets();
        service._app.Run(service.RecordAsync);
        await service._app.StartAsync();
        return service;
    }

    /// <summary>The only request that came.</summary>
    public ReceivedRequest Single() => Assert.Single(Requests);

    public async ValueTask DisposeAsync()
    {
        using CancellationTokenSource now = new();
        await now.CancelAsync();
        await _app.StopAsync(now.Token);
        await _app.DisposeAsync();
    }

    private async Task RecordAsync(HttpContext context)
    {
        List<(string, string)> headers = [];
        foreach ((string name, StringValues values) in context.Request.Headers)
            foreach (string? value in values) headers.Add((name, value ?? ""));
        ReceivedRequest request = new(context.Request.Protocol, context.Request.Method, context.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget, headers);
        if (ReadsBody)
        {
            using MemoryStream body = new();
            try
            {
                await context.Request.Body.CopyToAsync(body);
            }
            finally
            {
                request.Body = body.ToArray();
                Keep(request);
            }
        }
        else Keep(request);
        await Answer(context, request);
    }

    private void Keep(ReceivedRequest request)
    {
        if (KeepsRequests) _requests.Enqueue(request);
    }
}
