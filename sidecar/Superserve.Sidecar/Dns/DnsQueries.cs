using System.Net;
using System.Net.Sockets;
using Superserve.Core.Dns;
using Superserve.Core.Events;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Snapshots;
using Superserve.Core.Swapping;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Events;
using Superserve.Sidecar.Metrics;

namespace Superserve.Sidecar.Dns;

/// <summary>
/// Answers one query of the sandbox: judge it, ask for it in a message of the sidecar's own, and answer in another one. Nothing of
/// what either side wrote is passed on as it came.
/// </summary>
internal sealed class DnsQueries(ISnapshotSource snapshots, Resolver resolver, NameMemory memory, IEventSink events, SidecarOptions options, SidecarMetrics metrics, TimeProvider time)
{
    // Each name that leaves carries something out, and each query holds a socket until it is answered.
    private const int Burst = 200;
    private const int PerSecond = 50;
    private const int ChosenBurst = 50;
    private const int ChosenPerSecond = 5;
    private const int MaxForwarded = 64;

    private const int LoopbackTimeToLive = 60;
    private const int PinnedTimeToLive = 5;

    private const string RateRule = "query rate";
    private const string MalformedRule = "malformed query";

    private readonly TokenBucket _all = new(Burst, PerSecond, time);
    private readonly TokenBucket _chosen = LimitOfChosen(time);
    private int _forwarded;

    private readonly record struct Outcome(DnsAnswer Answer, ConnectionVerdict Verdict, NetworkVerdict Network)
    {
        public static Outcome Blocked(DnsCode code, NetworkVerdict network) => new(new DnsAnswer(code, [], null), ConnectionVerdict.Blocked, network);

        public static Outcome Blocked(DnsCode code, string rule) => Blocked(code, new NetworkVerdict(false, RefusalReason.RequestDenied, rule, false));
    }

    /// <summary>How many names that the sandbox chose itself, under a strict list, may be asked for.</summary>
    public static TokenBucket LimitOfChosen(TimeProvider time) => new(ChosenBurst, ChosenPerSecond, time);

    /// <summary>The answer to a message; null where it is none to be answered.</summary>
    public async Task<byte[]?> AnswerAsync(ReadOnlyMemory<byte> message, bool isTcp, CancellationToken cancellationToken)
    {
        long startedAt = time.GetTimestamp();
        if (!DnsQuery.TryParse(message.Span, out DnsQuery? query)) return null;
        Snapshot snapshot = snapshots.Current;
        Outcome outcome = query.Problem == DnsCode.NoError
            ? await DecideAsync(snapshot, query, cancellationToken)
            : Outcome.Blocked(query.Problem, MalformedRule);
        byte[] answer = DnsResponse.Write(query, outcome.Answer, isTcp ? DnsResponse.MaxLength : query.UdpLimit);
        Record(snapshot, query, outcome, startedAt, message.Length, answer.Length);
        return answer;
    }

    private async Task<Outcome> DecideAsync(Snapshot snapshot, DnsQuery query, CancellationToken cancellationToken)
    {
        LookUpVerdict verdict = LookUpRules.Judge(snapshot, query.Name, query.Type);
        return verdict.Action switch
        {
            LookUpAction.Forward => await ForwardAsync(query.Name!, query.Type, verdict, cancellationToken),
            LookUpAction.AnswerLoopback => new Outcome(Loopback(query.Name!, query.Type), ConnectionVerdict.Allowed, verdict.Network),
            LookUpAction.NotImplemented => Outcome.Blocked(DnsCode.NotImp, verdict.Network),
            _ => Outcome.Blocked(DnsCode.NXDomain, verdict.Network),
        };
    }

    private async Task<Outcome> ForwardAsync(string name, DnsType type, LookUpVerdict verdict, CancellationToken cancellationToken)
    {
        DnsAnswer answer;
        if (options.PinnedHosts.TryGetValue(name, out IPEndPoint? pinned)) answer = Fixed(name, type, pinned.Address, PinnedTimeToLive);
        else if (!resolver.TryGetKept(name, type, out answer))
        {
            if ((verdict.IsChosen && !_chosen.TryTake()) || !_all.TryTake()) return Outcome.Blocked(DnsCode.ServFail, RateRule);
            try
            {
                if (Interlocked.Increment(ref _forwarded) > MaxForwarded) return Outcome.Blocked(DnsCode.ServFail, RateRule);
                answer = await resolver.QueryAsync(name, type, cancellationToken);
            }
            catch (ResolverException exception)
            {
                RefusalReason reason = exception.Failure == ResolverFailure.Unanswered ? RefusalReason.UpstreamTimeout : RefusalReason.UpstreamUnreachable;
                return new Outcome(new DnsAnswer(DnsCode.ServFail, [], null), ConnectionVerdict.Failed, verdict.Network with { Reason = reason });
            }
            finally
            {
                Interlocked.Decrement(ref _forwarded);
            }
        }

        // Before the sandbox can use an address it is known what for.
        if (answer.Code == DnsCode.NoError) memory.Remember(name, answer.Addresses, TimeSpan.FromSeconds(answer.TimeToLive));
        return new Outcome(answer, ConnectionVerdict.Allowed, verdict.Network);
    }

    private static DnsAnswer Loopback(string name, DnsType type)
    {
        IPAddress? address = type switch
        {
            DnsType.A => IPAddress.Loopback,
            DnsType.AAAA => IPAddress.IPv6Loopback,
            _ => null,
        };
        return Fixed(name, type, address, LoopbackTimeToLive);
    }

    /// <summary>An answer that nobody is asked for; without a record where the address is of the other family.</summary>
    private static DnsAnswer Fixed(string name, DnsType type, IPAddress? address, int timeToLive)
    {
        bool isOfType = type == (address?.AddressFamily == AddressFamily.InterNetworkV6 ? DnsType.AAAA : DnsType.A);
        return new DnsAnswer(DnsCode.NoError, address is not null && isOfType ? [new DnsRecord(name, type, timeToLive, address.GetAddressBytes())] : [], null);
    }

    private void Record(Snapshot snapshot, DnsQuery query, in Outcome outcome, long startedAt, int sent, int received)
    {
        TimeSpan duration = time.GetElapsedTime(startedAt);
        string response = outcome.Answer.Code.ToString().ToUpperInvariant();
        metrics.NameLookedUp(outcome.Verdict, response);
        events.Add(new DnsEvent
        {
            Time = time.GetUtcNow() - duration,
            Sandbox = snapshot.Sandbox,
            Host = query.Name switch
            {
                null => "?",
                "" => ".",
                _ => snapshot.Redact(query.Name, HostName.MaxLength),
            },
            Port = DnsServer.StandardPort,
            QueryType = Enum.IsDefined(query.Type) ? query.Type.ToString() : $"TYPE{(int)query.Type}",
            Verdict = outcome.Verdict,
            Rule = outcome.Network.Rule,
            LogOnly = outcome.Network.IsLogOnly,
            Response = response,
            Error = outcome.Verdict == ConnectionVerdict.Allowed ? null : outcome.Network.Reason?.WireName(),
            BytesSent = sent,
            BytesReceived = received,
            DurationMilliseconds = duration.TotalMilliseconds,
        });
    }
}
