using Superserve.Core.Events;

namespace Superserve.Sidecar.Events;

/// <summary>
/// Counts refusals that repeat: the first is an event at once, those alike that follow within a window become one row. Programs try
/// again at once, resolvers with every suffix that they have, and a scan tries everything. Requests that got a credential pass.
/// </summary>
/// <remarks>
/// What differs in a window is bounded: further refusals are counted by what refused them, as the host <c>*</c>. So a flood makes at
/// most some 50 rows a second of each log, 10 KB, and no refusal goes uncounted.
/// </remarks>
internal sealed class RepeatedRefusals : IEventSink, IHostedService, IDisposable
{
    /// <summary>How long refusals are counted together.</summary>
    public static readonly TimeSpan Window = TimeSpan.FromSeconds(10);

    /// <summary>How many that differ have rows of their own in a window, of each log.</summary>
    public const int MaxDistinct = 256;

    private const string Any = "*";

    private readonly IEventSink _events;
    private readonly Lock _lock = new();
    private readonly ITimer _timer;

    // Null: one was seen, and is an event already. A flood of the one kind leaves the other its room.
    private Dictionary<Likeness, SidecarEvent?> _requests = [];
    private Dictionary<Likeness, SidecarEvent?> _network = [];

    public RepeatedRefusals(IEventSink events, TimeProvider time)
    {
        _events = events;
        _timer = time.CreateTimer(_ => Flush(), null, Window, Window);
    }

    /// <inheritdoc />
    public bool TryBegin(RequestEvent begun, AuditMode audit, out int place) => _events.TryBegin(begun, audit, out place);

    /// <inheritdoc />
    public void Complete(int place, RequestEvent request) => _events.Complete(place, request);

    /// <inheritdoc />
    public void Add(SidecarEvent item)
    {
        bool isRefusal = item switch
        {
            RequestEvent request => request.Error is not null,
            // Packets are counted where they are heard of.
            ConnectionEvent connection => connection is { Verdict: ConnectionVerdict.Blocked, Packets: null },
            DnsEvent lookUp => lookUp.Verdict == ConnectionVerdict.Blocked,
            _ => false,
        };
        if (!isRefusal || !IsRepeated(item)) _events.Add(item);
    }

    /// <summary>Passes on what was counted.</summary>
    public void Flush()
    {
        Dictionary<Likeness, SidecarEvent?> requests, network;
        lock (_lock)
        {
            (requests, network) = (_requests, _network);
            if (requests.Count + network.Count == 0) return;
            (_requests, _network) = ([], []);
        }

        foreach (SidecarEvent? repeated in requests.Values.Concat(network.Values))
            if (repeated is not null) _events.Add(repeated);
    }

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public async Task StopAsync(CancellationToken cancellationToken)
    {
        await _timer.DisposeAsync();
        Flush();
    }

    public void Dispose() => _timer.Dispose();

    private bool IsRepeated(SidecarEvent item)
    {
        Likeness key = Likeness.Of(item);
        lock (_lock)
        {
            Dictionary<Likeness, SidecarEvent?> counted = item is RequestEvent ? _requests : _network;
            if (!counted.TryGetValue(key, out SidecarEvent? sum))
            {
                if (counted.Count < MaxDistinct)
                {
                    counted[key] = null;
                    return false;
                }

                item = WithoutChoice(item);
                key = Likeness.Of(item);
                sum = counted.GetValueOrDefault(key);
            }

            counted[key] = sum is null ? item : sum with
            {
                Count = sum.Count + item.Count,
                BytesSent = sum.BytesSent + item.BytesSent,
                BytesReceived = sum.BytesReceived + item.BytesReceived,
            };
            return true;
        }
    }

    /// <summary>
    /// Without all that the sandbox chooses: what is left has as many values as there are rules and secrets. Of several secrets the first
    /// one stands for all, since a sandbox chooses among as many sets of them as it likes.
    /// </summary>
    private static SidecarEvent WithoutChoice(SidecarEvent item) => item switch
    {
        RequestEvent request => request with { Host = Any, Port = 0, Method = Any, Path = Any, Secret = First(request.Secret), Env = First(request.Env) },
        ConnectionEvent connection => connection with { Host = Any, Port = 0, Address = null },
        DnsEvent lookUp => lookUp with { Host = Any, QueryType = Any },
        _ => item,
    };

    private static string? First(string? joined) => joined?.Split(',', 2)[0];

    /// <summary>What makes refusals alike; of requests, the path is no part.</summary>
    private readonly record struct Likeness(Type Kind, string Host, int Port, string How, string What, string? Error, string? Secret, string? Env)
    {
        public static Likeness Of(SidecarEvent item) => item switch
        {
            RequestEvent request => new(typeof(RequestEvent), item.Host, item.Port, request.Protocol, request.Method, item.Error, request.Secret, request.Env),
            ConnectionEvent connection => new(typeof(ConnectionEvent), item.Host, item.Port, connection.Handling, connection.Rule, item.Error, connection.Protocol, null),
            DnsEvent lookUp => new(typeof(DnsEvent), item.Host, item.Port, lookUp.QueryType, lookUp.Rule, item.Error, lookUp.Response, null),
            _ => throw new ArgumentException("There is no such event.", nameof(item)),
        };
    }
}
