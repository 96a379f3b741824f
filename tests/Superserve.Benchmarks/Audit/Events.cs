using System.Globalization;
using Google.Protobuf;
using Superserve.Protocol.Audit;

namespace Superserve.Benchmarks.Audit;

/// <summary>
/// Events as a large installation has them: 40 namespaces, 2,000 sandboxes, 10 secrets in each namespace of which some are used a thousand
/// times as often as others, 500 hosts, one request in 25 refused or failed. Made by counting, so that two runs are of the same.
/// </summary>
internal static class Events
{
    public const int Namespaces = 40;
    public const int Pods = 2000;
    public const int Hosts = 500;

    public static string NamespaceOf(int pod) => $"team-{pod % Namespaces}";

    public static string PodOf(int pod) => string.Create(CultureInfo.InvariantCulture, $"research-agent-7d9f8b6c5d-{pod:x5}");

    public static RequestRecord Request(long number, long time)
    {
        ulong chance = Mix((ulong)number);
        bool isRefused = chance % 25 == 0;
        // Small numbers are much more frequent.
        int secret = Skewed(chance >> 8, 10), host = Skewed(chance >> 24, Hosts);
        RequestRecord record = new()
        {
            Time = time,
            Method = chance % 3 == 0 ? "GET" : "POST",
            Host = $"api-{host}.example.com",
            Port = 443,
            Path = $"/v1/projects/{chance % 100_000}/messages",
            Status = isRefused ? (chance % 50 == 0 ? 403u : 0u) : (chance >> 40) % 40 == 0 ? 429u : 200u,
            UpstreamStatus = isRefused ? 0u : 200u,
            DurationMicroseconds = 1000 + (long)(chance % 900_000),
            BytesSent = chance % 20_000,
            BytesReceived = chance % 300_000,
            Protocol = "HTTP/2",
            Verdict = isRefused ? (chance % 50 == 0 ? Verdict.Blocked : Verdict.Failed) : Verdict.Allowed,
            Error = isRefused ? (chance % 50 == 0 ? "request_denied" : "aborted") : "",
        };
        record.Uses.Add(new SecretUse { Secret = $"secret-{secret}", Env = "ANTHROPIC_API_KEY" });
        return record;
    }

    public static NetworkRecord Connection(long number, long time)
    {
        ulong chance = Mix((ulong)number);
        bool isDns = chance % 2 == 0;
        return new NetworkRecord
        {
            Time = time,
            Kind = isDns ? "dns" : "connection",
            Protocol = isDns ? "dns" : "tcp",
            Host = $"api-{Skewed(chance >> 24, Hosts)}.example.com",
            Address = isDns ? "" : "203.0.113.7",
            Port = isDns ? 53u : 443u,
            Handling = isDns ? "" : "intercepted",
            Verdict = chance % 20 == 0 ? Verdict.Blocked : Verdict.Allowed,
            Rule = "allowOut *.example.com",
            DurationMicroseconds = (long)(chance % 900_000),
            BytesSent = chance % 20_000,
            BytesReceived = chance % 300_000,
            QueryType = isDns ? "AAAA" : "",
            Response = isDns ? "NOERROR" : "",
        };
    }

    /// <summary>A batch of a pod: three in four are of requests.</summary>
    public static Batch Batch(ByteString boot, Log log, long first, int count, Func<int, long> time)
    {
        Batch batch = new() { Boot = boot, Log = log, FirstSequence = (ulong)first };
        for (int i = 0; i < count; i++)
        {
            if (log == Log.Requests) batch.Requests.Add(Request((first * 7919) + i + boot[0], time(i)));
            else batch.Network.Add(Connection((first * 7919) + i + boot[0], time(i)));
        }

        return batch;
    }

    private static int Skewed(ulong chance, int count) => (int)(count * Math.Pow((chance & 0xffff) / 65536.0, 3));

    private static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
        value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
        return value ^ (value >> 31);
    }
}
