using System.Security.Cryptography;
using Google.Protobuf;
using Superserve.Audit.Calls;
using Superserve.Audit.Ingest;
using Superserve.Protocol.Audit;

namespace Superserve.Audit.Tests.Fixture;

/// <summary>Events, batches and callers.</summary>
internal static class Some
{
    public static readonly DateTimeOffset Now = new(2026, 5, 1, 12, 0, 0, TimeSpan.Zero);

    public static long NowMicroseconds => Now.ToUnixTimeMilliseconds() * 1000;

    public static Caller Pod(string name = "agent-1", string inNamespace = "agents", string? uid = null) => new(inNamespace, name, uid ?? $"uid-of-{name}", "default", Now.AddYears(1));

    public static Caller Operator() => new("superserve-system", "superserve-operator-0", "uid-operator", "superserve-operator", Now.AddYears(1));

    public static ByteString Boot() => ByteString.CopyFrom(RandomNumberGenerator.GetBytes(16));

    public static RequestRecord Request(long time = 0, string host = "api.anthropic.com", uint status = 200, Verdict verdict = Verdict.Allowed, string[]? secrets = null, string path = "/v1/messages")
    {
        RequestRecord record = new()
        {
            Time = time == 0 ? NowMicroseconds : time,
            Method = "POST",
            Host = host,
            Port = 443,
            Path = path,
            Status = status,
            UpstreamStatus = status,
            DurationMicroseconds = 1500,
            BytesSent = 100,
            BytesReceived = 2000,
            Protocol = "HTTP/2",
            Verdict = verdict,
        };
        record.Uses.AddRange((secrets ?? ["anthropic-prod"]).Select(secret => new SecretUse { Secret = secret, Env = "API_KEY" }));
        return record;
    }

    public static NetworkRecord Connection(long time = 0, string host = "example.com", Verdict verdict = Verdict.Blocked, string kind = "connection") => new()
    {
        Time = time == 0 ? NowMicroseconds : time,
        Kind = kind,
        Protocol = kind == "dns" ? "dns" : "tcp",
        Host = host,
        Port = kind == "dns" ? 53u : 443u,
        Handling = kind == "dns" ? "" : "tunnelled",
        Verdict = verdict,
        Rule = "denyOut 0.0.0.0/0",
    };

    public static Batch Batch(ByteString boot, ulong first, params IEnumerable<RequestRecord> records)
    {
        Batch batch = new() { Boot = boot, Log = Log.Requests, FirstSequence = first };
        batch.Requests.AddRange(records.Select(record => record.Clone()));
        return batch;
    }

    public static Batch Batch(ByteString boot, ulong first, params IEnumerable<NetworkRecord> records)
    {
        Batch batch = new() { Boot = boot, Log = Log.Network, FirstSequence = first };
        batch.Network.AddRange(records.Select(record => record.Clone()));
        return batch;
    }

    /// <summary>A batch as the reader takes it.</summary>
    public static TakenBatch Taken(Batch batch, Caller? caller = null, TimeProvider? time = null) =>
        new BatchReader(time ?? new Microsoft.Extensions.Time.Testing.FakeTimeProvider(Now)).Read(batch.Clone(), caller ?? Pod());
}
