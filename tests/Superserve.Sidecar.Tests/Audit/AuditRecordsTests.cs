using Superserve.Core.Events;
using Superserve.Protocol.Audit;
using Superserve.Sidecar.Events;
using Verdict = Superserve.Protocol.Audit.Verdict;

namespace Superserve.Sidecar.Tests.Audit;

/// <summary>What an event's record holds.</summary>
public sealed class AuditRecordsTests
{
    private static readonly DateTimeOffset Time = new(2026, 1, 2, 3, 4, 5, 678, TimeSpan.Zero);

    private static readonly RequestEvent Request = new()
    {
        Time = Time,
        Sandbox = "agents/research-0",
        Host = "api.example.com",
        Port = 8443,
        Secret = "one,two",
        Env = "ONE,TWO",
        Method = "POST",
        Path = "/v1",
        Protocol = "HTTP/2",
        Status = 502,
        UpstreamStatus = 500,
        BytesSent = long.MaxValue,
        BytesReceived = long.MaxValue,
        DurationMilliseconds = 1e12,
        Error = "credential_host_mismatch",
        Verdict = ConnectionVerdict.Failed,
    };

    private static readonly RequestRecord Record = new()
    {
        Time = Time.ToUnixTimeMilliseconds() * 1000,
        Uses = { new SecretUse { Secret = "one", Env = "ONE" }, new SecretUse { Secret = "two", Env = "TWO" } },
        Method = "POST",
        Host = "api.example.com",
        Port = 8443,
        Path = "/v1",
        Protocol = "HTTP/2",
        Status = 502,
        UpstreamStatus = 500,
        BytesSent = long.MaxValue,
        BytesReceived = long.MaxValue,
        DurationMicroseconds = 1_000_000_000_000_000,
        Error = "credential_host_mismatch",
        Verdict = Verdict.Failed,
    };

    [Fact]
    public void A_begun_request_and_its_outcome_are_the_whole_record()
    {
        byte[] begun = AuditRecords.OfBegun(Request).ToArray();
        byte[] outcome = AuditRecords.OfOutcome(Request).ToArray();
        Assert.Equal(Record, RequestRecord.Parser.ParseFrom([.. begun, .. outcome]));
        Assert.Equal(Record, RequestRecord.Parser.ParseFrom(AuditRecords.Of(Request)));
        // The longest there can be.
        Assert.InRange(outcome.Length, 60, Journal.MaxOutcomeLength);
    }

    [Fact]
    public void A_begun_request_that_is_interrupted_has_no_status()
    {
        RequestRecord record = RequestRecord.Parser.ParseFrom([.. AuditRecords.OfBegun(Request).ToArray(), .. AuditRecords.OfInterruption()]);
        Assert.Equal(("interrupted", Verdict.Failed, 0U, 2, "/v1"), (record.Error, record.Verdict, record.Status, record.Uses.Count, record.Path));
    }

    [Fact]
    public void What_one_record_held_is_in_no_other()
    {
        _ = AuditRecords.Of(Request with { Count = 5 });
        RequestRecord next = RequestRecord.Parser.ParseFrom(AuditRecords.OfBegun(Request with { Secret = null, Env = null, Path = "/" }));
        Assert.Equal(new RequestRecord { Time = Record.Time, Method = "POST", Host = "api.example.com", Port = 8443, Path = "/", Protocol = "HTTP/2" }, next);
    }

    [Fact]
    public void A_path_that_is_too_long_for_a_slot_is_cut()
    {
        RequestEvent request = Request with { Path = "/" + new string('x', 1024), Secret = string.Join(',', Enumerable.Repeat(new string('s', 253), 5)), Env = "A,B,C,D,E" };
        byte[] begun = AuditRecords.OfBegun(request).ToArray();
        Assert.InRange(begun.Length, Journal.MaxBegunLength - 8, Journal.MaxBegunLength);
        RequestRecord record = RequestRecord.Parser.ParseFrom(begun);
        Assert.Equal((5, true), (record.Uses.Count, record.Path.EndsWith('…')));
    }

    [Fact]
    public void Connections_and_look_ups_are_of_one_log()
    {
        ConnectionEvent connection = new()
        {
            Time = Time,
            Sandbox = "s",
            Host = "h.test",
            Port = 443,
            Address = "192.0.2.1",
            Protocol = "quic",
            Packets = 9,
            Handling = "dropped",
            Verdict = ConnectionVerdict.Blocked,
            Rule = "r",
            LogOnly = true,
            Error = "port_blocked",
            BytesSent = 1,
            BytesReceived = 2,
            DurationMilliseconds = 0.5,
        };
        long time = Time.ToUnixTimeMilliseconds() * 1000;
        Assert.Equal(
            new NetworkRecord { Time = time, Kind = "connection", Protocol = "quic", Host = "h.test", Address = "192.0.2.1", Port = 443, Handling = "dropped", Verdict = Verdict.Blocked, Rule = "r", LogOnly = true, Error = "port_blocked", DurationMicroseconds = 500, BytesSent = 1, BytesReceived = 2, Count = 9 },
            NetworkRecord.Parser.ParseFrom(AuditRecords.Of(connection)));
        DnsEvent lookUp = new()
        {
            Time = Time,
            Sandbox = "s",
            Host = "h.test",
            Port = 53,
            QueryType = "AAAA",
            Verdict = ConnectionVerdict.Allowed,
            Rule = "",
            Response = "NOERROR",
            BytesSent = 3,
            BytesReceived = 4,
            DurationMilliseconds = 2,
        };
        Assert.Equal(
            new NetworkRecord { Time = time, Kind = "dns", Protocol = "dns", Host = "h.test", Port = 53, Verdict = Verdict.Allowed, DurationMicroseconds = 2000, BytesSent = 3, BytesReceived = 4, QueryType = "AAAA", Response = "NOERROR" },
            NetworkRecord.Parser.ParseFrom(AuditRecords.Of(lookUp)));
    }
}
