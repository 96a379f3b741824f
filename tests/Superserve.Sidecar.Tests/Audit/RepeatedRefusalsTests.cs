using Microsoft.Extensions.Time.Testing;
using Superserve.Core.Events;
using Superserve.Sidecar.Events;

namespace Superserve.Sidecar.Tests.Audit;

/// <summary>Refusals that repeat are counted, and nothing else is.</summary>
public sealed class RepeatedRefusalsTests : IEventSink, IDisposable
{
    private readonly List<SidecarEvent> _events = [];
    private readonly FakeTimeProvider _time = new();
    private readonly RepeatedRefusals _refusals;

    public RepeatedRefusalsTests() => _refusals = new RepeatedRefusals(this, _time);

    public void Dispose() => _refusals.Dispose();

    bool IEventSink.TryBegin(RequestEvent begun, AuditMode audit, out int place)
    {
        place = 7;
        return true;
    }

    void IEventSink.Complete(int place, RequestEvent request)
    {
        Assert.Equal(7, place);
        _events.Add(request);
    }

    void IEventSink.Add(SidecarEvent item) => _events.Add(item);

    private static RequestEvent Request(string path = "/", string? error = "host_denied", string host = "a.test", string? secret = "s", string method = "GET") => new()
    {
        Time = DateTimeOffset.UnixEpoch,
        Sandbox = "demo",
        Host = host,
        Port = 443,
        Secret = secret,
        Env = secret is null ? null : "KEY",
        Method = method,
        Path = path,
        Protocol = "HTTP/1.1",
        Status = 403,
        Error = error,
        BytesSent = 10,
        BytesReceived = 3,
        DurationMilliseconds = 1,
        Verdict = error is null ? ConnectionVerdict.Allowed : ConnectionVerdict.Blocked,
    };

    private static ConnectionEvent Connection(string host = "a.test", int port = 443, ConnectionVerdict verdict = ConnectionVerdict.Blocked, long? packets = null, string rule = "strict list") => new()
    {
        Time = DateTimeOffset.UnixEpoch,
        Sandbox = "demo",
        Host = host,
        Port = port,
        Address = "192.0.2.1",
        Handling = "tunnelled",
        Verdict = verdict,
        Packets = packets,
        Rule = rule,
        Error = "host_not_allowed",
        BytesSent = 1,
        BytesReceived = 2,
        DurationMilliseconds = 1,
    };

    private static DnsEvent LookUp(string host, string type = "A") => new()
    {
        Time = DateTimeOffset.UnixEpoch,
        Sandbox = "demo",
        Host = host,
        Port = 53,
        QueryType = type,
        Verdict = ConnectionVerdict.Blocked,
        Rule = "strict list",
        Response = "NXDOMAIN",
        Error = "host_not_allowed",
        BytesSent = 0,
        BytesReceived = 0,
        DurationMilliseconds = 1,
    };

    [Fact]
    public void The_first_is_an_event_at_once_and_those_that_follow_are_one_more_with_their_sums()
    {
        for (int i = 0; i < 5; i++) _refusals.Add(Request($"/{i}"));
        Assert.Equal(Request("/0"), Assert.Single(_events));
        _time.Advance(RepeatedRefusals.Window);
        Assert.Equal(Request("/1") with { Count = 4, BytesSent = 40, BytesReceived = 12 }, Assert.Single(_events[1..]));
        // In the next window the first is one at once again.
        _refusals.Add(Request("/5"));
        Assert.Equal(Request("/5"), Assert.Single(_events[2..]));
        _time.Advance(RepeatedRefusals.Window);
        Assert.Equal(3, _events.Count);
    }

    [Fact]
    public void What_differs_in_more_than_the_path_is_an_event_of_its_own()
    {
        SidecarEvent[] all =
        [
            Request(), Request(error: "port_blocked"), Request(host: "b.test"), Request(secret: null), Request(secret: "t"), Request(method: "PUT"),
            Connection(), Connection(host: "b.test"), Connection(port: 80), Connection(rule: "denyOut a.test"),
            LookUp("a.test"), LookUp("a.test", "AAAA"), LookUp("b.test"),
        ];
        foreach (SidecarEvent item in all) _refusals.Add(item);
        Assert.Equal(all, _events);
    }

    [Fact]
    public void What_is_no_refusal_passes_each_time()
    {
        SidecarEvent[] all = [Connection(verdict: ConnectionVerdict.Allowed), Connection(verdict: ConnectionVerdict.Failed), Connection(packets: 3), LookUp("a.test") with { Verdict = ConnectionVerdict.Allowed }];
        foreach (SidecarEvent item in all.Concat(all)) _refusals.Add(item);
        Assert.Equal([.. all, .. all], _events);
    }

    [Fact]
    public void Requests_that_got_a_credential_are_never_counted_together()
    {
        for (int i = 0; i < 3; i++)
        {
            Assert.True(_refusals.TryBegin(Request(), AuditMode.Required, out int place));
            _refusals.Complete(place, Request(error: "upstream_unreachable"));
        }

        Assert.Equal(3, _events.Count);
    }

    [Fact]
    public void A_flood_of_what_differs_is_counted_by_what_refused_it()
    {
        const int Flood = 100_000;
        for (int i = 0; i < Flood; i++)
        {
            _refusals.Add(Connection($"{i}.test", i % 60_000));
            _refusals.Add(LookUp($"{i}.test", $"TYPE{i % 60_000}"));
            _refusals.Add(Request($"/{i}", host: $"{i}.test", method: $"M{i}"));
        }

        _time.Advance(RepeatedRefusals.Window);
        // Each log has rows of its own, and one more for each kind.
        Assert.Equal((2 * RepeatedRefusals.MaxDistinct) + 3, _events.Count);
        Assert.Equal(3 * Flood, _events.Sum(item => item.Count));
        Assert.Contains(_events, item => item is ConnectionEvent { Host: "*", Port: 0, Address: null, Rule: "strict list", Count: > 90_000 });
        Assert.Contains(_events, item => item is DnsEvent { Host: "*", QueryType: "*", Response: "NXDOMAIN", Count: > 90_000 });
        Assert.Contains(_events, item => item is RequestEvent { Host: "*", Port: 0, Method: "*", Path: "*", Secret: "s", Error: "host_denied", Count: > 90_000 });
    }

    [Fact]
    public void A_flood_of_sets_of_secrets_is_counted_by_the_first_of_each()
    {
        const int Flood = 10_000, Secrets = 14;
        for (int i = 1; i <= Flood; i++)
        {
            string names = string.Join(',', Enumerable.Range(0, Secrets).Where(bit => (i >> bit & 1) == 1).Select(bit => $"s{bit}"));
            _refusals.Add(Request(secret: names) with { Env = names.ToUpperInvariant() });
        }

        _time.Advance(RepeatedRefusals.Window);
        Assert.InRange(_events.Count, RepeatedRefusals.MaxDistinct, RepeatedRefusals.MaxDistinct + Secrets);
        Assert.Equal(Flood, _events.Sum(item => item.Count));
        Assert.Contains(_events, item => item is RequestEvent { Host: "*", Secret: "s0", Env: "S0" });
    }

    [Fact]
    public async Task What_is_counted_when_the_sidecar_stops_is_not_lost()
    {
        for (int i = 0; i < 3; i++) _refusals.Add(Connection());
        await _refusals.StopAsync(CancellationToken.None);
        Assert.Equal(3, _events.Sum(item => item.Count));
    }
}
