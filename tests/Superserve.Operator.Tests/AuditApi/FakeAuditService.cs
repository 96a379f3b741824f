using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Google.Protobuf;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Superserve.Protocol.Audit;

namespace Superserve.Operator.Tests.AuditApi;

/// <summary>
/// An audit service in memory, over TLS, for tests of what asks it. It believes tokens unverified: what judges them is tested
/// elsewhere.
/// </summary>
internal sealed class FakeAuditService : AuditService.AuditServiceBase, IAsyncDisposable
{
    private readonly Lock _gate = new();
    private readonly List<RequestRow> _requests = [];
    private readonly List<NetworkRow> _network = [];
    private WebApplication? _app;
    private int _last;

    /// <summary>What lists were asked for.</summary>
    public ConcurrentQueue<ListRequest> Asked { get; } = new();

    /// <summary>The tokens that came.</summary>
    public ConcurrentQueue<string> Tokens { get; } = new();

    /// <summary>What the next calls fail with; null for none.</summary>
    public RpcException? Failure { get; set; }

    /// <summary>What usage is answered with; null for what the rows say.</summary>
    public UsageReply? Used { get; set; }

    /// <summary>What usage was asked since.</summary>
    public ConcurrentQueue<long> UsageAsked { get; } = new();

    /// <summary>Keeps lists waiting until it completes.</summary>
    public Task Held { get; set; } = Task.CompletedTask;

    public int Port { get; private set; }

    public async Task StartAsync(X509Certificate2 certificate, int port)
    {
        Port = port;
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, port, listen =>
        {
            listen.Protocols = HttpProtocols.Http2;
            listen.UseHttps(certificate);
        }));
        builder.Services.AddRoutingCore();
        builder.Services.AddGrpc();
        builder.Services.AddSingleton(this);
        _app = builder.Build();
        _app.UseRouting();
        _app.MapGrpcService<FakeAuditService>();
        await _app.StartAsync();
    }

    public async Task StopAsync()
    {
        if (_app is not null) await _app.DisposeAsync();
        _app = null;
    }

    public async ValueTask DisposeAsync() => await StopAsync();

    public void Add(string inNamespace, string pod, params RequestRecord[] records)
    {
        lock (_gate) _requests.AddRange(records.Select(record => new RequestRow { Origin = NewOrigin("r", inNamespace, pod), Record = record }));
    }

    public void Add(string inNamespace, string pod, params NetworkRecord[] records)
    {
        lock (_gate) _network.AddRange(records.Select(record => new NetworkRow { Origin = NewOrigin("n", inNamespace, pod), Record = record }));
    }

    public override Task<Receipt> Record(Batch request, ServerCallContext context)
    {
        string token = TokenOf(context);
        JsonElement claims = JsonDocument.Parse(Base64Url.DecodeFromChars(token.Split('.')[1])).RootElement.GetProperty("kubernetes.io");
        string inNamespace = claims.GetProperty("namespace").GetString()!, pod = claims.GetProperty("pod").GetProperty("name").GetString()!;
        Add(inNamespace, pod, [.. request.Requests]);
        Add(inNamespace, pod, [.. request.Network]);
        return Task.FromResult(new Receipt { StoredSequence = request.FirstSequence + (ulong)(request.Requests.Count + request.Network.Count) - 1 });
    }

    public override async Task<ListReply> List(ListRequest request, ServerCallContext context)
    {
        Tokens.Enqueue(TokenOf(context));
        Asked.Enqueue(request.Clone());
        await Held.WaitAsync(context.CancellationToken);
        if (Failure is not null) throw Failure;
        ListReply reply = new();
        lock (_gate)
        {
            if (request.Log == Log.Requests) reply.Continue = Page(request, _requests, row => row.Origin, row => row.Record.Time, Matches, reply.Requests);
            else reply.Continue = Page(request, _network, row => row.Origin, row => row.Record.Time, Matches, reply.Network);
        }

        return reply;
    }

    public override Task<UsageReply> Usage(UsageRequest request, ServerCallContext context)
    {
        UsageAsked.Enqueue(request.Since);
        if (Failure is not null) throw Failure;
        lock (_gate) return Task.FromResult(Used ?? OfRows());
    }

    private UsageReply OfRows()
    {
        UsageReply reply = new() { AsOf = 1 };
        foreach (IGrouping<(string Namespace, string Secret), (string Namespace, string Secret, RequestRecord Record)> rows in _requests.SelectMany(row => row.Record.Uses.Select(use => (row.Origin.Namespace, use.Secret, row.Record))).GroupBy(row => (row.Namespace, row.Secret)))
        {
            RequestRecord[] used = [.. rows.Select(row => row.Record).Where(record => record.Verdict == Verdict.Allowed)];
            reply.Secrets.Add(new SecretUsage
            {
                Namespace = rows.Key.Namespace,
                Secret = rows.Key.Secret,
                LastUsed = used.Select(record => record.Time).DefaultIfEmpty().Max(),
                Used = (ulong)used.Length,
                Refused = (ulong)(rows.Count() - used.Length),
            });
        }

        return reply;
    }

    private static ByteString Page<T>(
        ListRequest request, List<T> rows, Func<T, Origin> origin, Func<T, long> time, Func<T, Filter, bool> matches, ICollection<T> page)
    {
        int from = 0;
        if (!request.Continue.IsEmpty && !int.TryParse(request.Continue.ToStringUtf8(), out from)) throw new RpcException(new Status(StatusCode.InvalidArgument, "no such cursor"));
        T[] selected =
        [
            .. rows.Where(row => request.Namespace.Length == 0 || origin(row).Namespace == request.Namespace)
                .Where(row => request.Name.Length > 0 ? origin(row).Name == request.Name
                    : time(row) >= request.Since && (request.Before == 0 || time(row) < request.Before) && request.Filters.All(filter => matches(row, filter) != filter.Negated))
                .OrderByDescending(time),
        ];
        foreach (T row in selected.Skip(from).Take((int)request.Limit)) page.Add(row);
        int end = from + page.Count;
        return end < selected.Length ? ByteString.CopyFromUtf8(end.ToString(System.Globalization.CultureInfo.InvariantCulture)) : ByteString.Empty;
    }

    private static bool Matches(RequestRow row, Filter filter) => filter.Field switch
    {
        Field.Secret => row.Record.Uses.Any(use => use.Secret == filter.Value),
        Field.Sandbox => row.Origin.Pod == filter.Value,
        Field.Host => row.Record.Host == filter.Value,
        Field.StatusClass => (row.Record.Status == 0 ? "error" : $"{row.Record.Status / 100}xx") == filter.Value,
        Field.Verdict => row.Record.Verdict.ToString().Equals(filter.Value, StringComparison.OrdinalIgnoreCase),
        _ => throw new RpcException(new Status(StatusCode.InvalidArgument, "no such field")),
    };

    private static bool Matches(NetworkRow row, Filter filter) => filter.Field switch
    {
        Field.Sandbox => row.Origin.Pod == filter.Value,
        Field.Host => row.Record.Host == filter.Value,
        Field.Kind => row.Record.Kind == filter.Value,
        Field.Verdict => row.Record.Verdict.ToString().Equals(filter.Value, StringComparison.OrdinalIgnoreCase),
        _ => throw new RpcException(new Status(StatusCode.InvalidArgument, "no such field")),
    };

    private Origin NewOrigin(string log, string inNamespace, string pod) => new() { Name = $"{log}{++_last:x6}", Namespace = inNamespace, Pod = pod, PodUid = $"uid-of-{pod}" };

    private static string TokenOf(ServerCallContext context) => context.RequestHeaders.GetValue("authorization")!["Bearer ".Length..];
}
