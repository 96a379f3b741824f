using System.Buffers;
using System.Collections.Immutable;
using System.Text;
using Superserve.Core.Authentication;
using Superserve.Core.Events;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Scrubbing;
using Superserve.Core.Secrets;

namespace Superserve.Core.Snapshots;

/// <summary>Which TLS connections are terminated and inspected.</summary>
public enum Interception
{
    /// <summary>Those to hosts of the sandbox's secrets; everything else is tunnelled untouched.</summary>
    BoundHosts,

    /// <summary>All but the passthrough names.</summary>
    All,
}

/// <summary>
/// Everything that a sidecar acts on, at one moment. Immutable: a change makes a new one, and every decision takes one snapshot
/// and uses it to its end.
/// </summary>
public sealed class Snapshot
{
    private const int MinScrubbedLength = 4;

    private readonly SearchValues<string>? _standIns;
    private readonly SearchValues<string>? _standInsAnyCase;
    private readonly ImmutableArray<Lazy<ScrubPatterns>> _scrubPatterns;
    private readonly Lazy<ScrubPatterns> _allScrubPatterns;

    /// <summary>Makes a snapshot.</summary>
    public Snapshot(
        long revision,
        DateTimeOffset createdAt,
        string sandbox,
        ImmutableArray<BoundSecret> secrets,
        NetworkRules network,
        Interception interception,
        ImmutableArray<HostPattern> passthrough)
    {
        Revision = revision;
        CreatedAt = createdAt;
        Sandbox = sandbox;
        Secrets = secrets;
        Network = network;
        Interception = interception;
        Passthrough = passthrough;
        _scrubPatterns = [.. secrets.Select(secret => new Lazy<ScrubPatterns>(() => ScrubPatterns.Create(ScrubPairs(secret))))];
        _allScrubPatterns = new Lazy<ScrubPatterns>(() => ScrubPatterns.Create(secrets.SelectMany(ScrubPairs)));
        if (secrets.IsEmpty) return;
        string[] standIns = [.. secrets.Select(secret => secret.StandIn.Value)];
        _standIns = SearchValues.Create(standIns, StringComparison.Ordinal);
        _standInsAnyCase = SearchValues.Create(standIns, StringComparison.OrdinalIgnoreCase);
    }

    /// <summary>Grows with every snapshot of a sidecar.</summary>
    public long Revision { get; }

    /// <summary>When it was made.</summary>
    public DateTimeOffset CreatedAt { get; }

    /// <summary>The sandbox's name, for events.</summary>
    public string Sandbox { get; }

    /// <summary>The bound secrets, detached ones included.</summary>
    public ImmutableArray<BoundSecret> Secrets { get; }

    /// <summary>Where the sandbox may connect to.</summary>
    public NetworkRules Network { get; }

    /// <summary>Which connections are inspected.</summary>
    public Interception Interception { get; }

    /// <summary>Names that are never inspected, and so open to fronting.</summary>
    public ImmutableArray<HostPattern> Passthrough { get; }

    /// <summary>What happens to requests whose events cannot be kept.</summary>
    public AuditMode Audit { get; init; }

    /// <summary>The TCP ports of the sandbox that others may connect to; null for as Kubernetes has it. Enforced where capture is transparent.</summary>
    public ImmutableArray<int>? AllowIn { get; init; }

    /// <summary>Whether a secret is bound to the host and port, so that the network rules allow it implicitly.</summary>
    public bool IsBound(string host, int port)
    {
        foreach (BoundSecret secret in Secrets)
            if (!secret.IsDetached && secret.Definition.ForHost(host, port) is not null) return true;
        return false;
    }

    /// <summary>Whether a TLS connection to the host and port is terminated and inspected.</summary>
    public bool Intercepts(string host, int port)
    {
        // Detached secrets count here: their stand-ins get a clear refusal instead of the service's.
        foreach (BoundSecret secret in Secrets)
            if (secret.Definition.ForHost(host, port) is not null) return true;
        if (Interception != Interception.All) return false;
        foreach (HostPattern pattern in Passthrough)
            if (pattern.Port is null ? pattern.MatchesName(host) : pattern.Matches(host, port)) return false;
        return true;
    }

    /// <summary>What the answer to a request that used <paramref name="secrets"/> is searched for.</summary>
    public ScrubPatterns ScrubPatternsFor(ImmutableArray<BoundSecret> secrets)
    {
        // Nearly every request uses one; each secret more makes the search slower.
        if (secrets.Length == 1)
            for (int i = 0; i < Secrets.Length; i++)
                if (ReferenceEquals(Secrets[i], secrets[0])) return _scrubPatterns[i].Value;
        return _allScrubPatterns.Value;
    }

    /// <summary>Whether a text holds a stand-in.</summary>
    public bool HoldsStandIn(ReadOnlySpan<char> text) => _standIns is not null && text.ContainsAny(_standIns);

    /// <summary>
    /// A text of the sandbox's (a path, a host, a method) as logs may show it: without stand-ins in any case or percent-encoding,
    /// in printable ASCII, and no longer than <paramref name="maxLength"/>.
    /// </summary>
    public string Redact(string text, int maxLength)
    {
        if (text.Length > 4 * maxLength) text = text[..(4 * maxLength)];
        if (_standInsAnyCase is not null)
        {
            // Encoded again only between the stand-ins: one may hold a character that would be escaped.
            if (text.Contains('%') && Pieces(Percent.Decode(text)) is { Count: > 1 } decoded)
                text = string.Join(ValueTemplate.Placeholder, decoded.Select(piece => Percent.Encode(piece).Replace("%2F", "/", StringComparison.Ordinal)));
            if (text.AsSpan().ContainsAny(_standInsAnyCase)) text = string.Join(ValueTemplate.Placeholder, Pieces(text));
        }

        if (text.Length > maxLength) text = string.Concat(text.AsSpan(0, maxLength), "…");
        return text.AsSpan().ContainsAnyExceptInRange(' ', '~') ? Printable(text) : text;
    }

    /// <summary>What stands around the stand-ins of a text, in any case; the text itself where it holds none.</summary>
    private List<string> Pieces(string text)
    {
        List<string> pieces = [];
        while (text.AsSpan().IndexOfAny(_standInsAnyCase!) is >= 0 and int at)
        {
            int length = Secrets.Where(secret => string.Compare(text, at, secret.StandIn.Value, 0, secret.StandIn.Value.Length, StringComparison.OrdinalIgnoreCase) == 0)
                .Max(secret => secret.StandIn.Value.Length);
            pieces.Add(text[..at]);
            text = text[(at + length)..];
        }

        pieces.Add(text);
        return pieces;
    }

    private static IEnumerable<ScrubPair> ScrubPairs(BoundSecret secret)
    {
        if (secret.Credential is not CredentialState.Available { Credential: var credential }) yield break;
        // So short a text stands in any answer by accident.
        if (credential.Bytes.Length < MinScrubbedLength) yield break;
        string[] users = [.. secret.Definition.Hosts.SelectMany(host => host.Schemes).OfType<BasicScheme>().Select(basic => basic.Username).OfType<string>().Distinct()];
        yield return new ScrubPair(credential.Bytes, Encoding.ASCII.GetBytes(secret.StandIn.Value), users);
    }

    private static string Printable(string text)
    {
        StringBuilder printable = new(text.Length);
        foreach (char c in text) printable.Append(c is (>= ' ' and <= '~') or '…' ? c : '?');
        return printable.ToString();
    }
}
