using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Superserve.Core.Hosts;

/// <summary>
/// A host as an owner writes it: <c>api.github.com</c>, <c>*.github.com</c> (any depth below, not the name itself), either
/// with <c>:port</c>.
/// </summary>
public sealed record HostPattern
{
    /// <summary>The port of a bound host that names none.</summary>
    public const int DefaultPort = 443;

    private readonly string _dotName;

    private HostPattern(string name, bool isWildcard, int? port)
    {
        Name = name;
        IsWildcard = isWildcard;
        Port = port;
        _dotName = "." + name;
    }

    /// <summary>The canonical name, without the wildcard's <c>*.</c>.</summary>
    public string Name { get; }

    /// <summary>Whether the pattern matches the names below <see cref="Name"/> instead of the name itself.</summary>
    public bool IsWildcard { get; }

    /// <summary>The port, where the pattern names one.</summary>
    public int? Port { get; }

    /// <summary>Whether a canonical name is one of the pattern's, whatever the port.</summary>
    public bool MatchesName(string host) =>
        IsWildcard
            ? host.Length > _dotName.Length && host.EndsWith(_dotName, StringComparison.Ordinal)
            : string.Equals(host, Name, StringComparison.Ordinal);

    /// <summary>Whether a canonical name and a port are the pattern's; without a port of its own it means 443.</summary>
    public bool Matches(string host, int port) => port == (Port ?? DefaultPort) && MatchesName(host);

    /// <summary>Whether some host on some port is matched by both.</summary>
    public bool Overlaps(HostPattern other)
    {
        if ((Port ?? DefaultPort) != (other.Port ?? DefaultPort)) return false;
        return (IsWildcard, other.IsWildcard) switch
        {
            (false, _) => other.MatchesName(Name),
            (true, false) => MatchesName(other.Name),
            _ => string.Equals(Name, other.Name, StringComparison.Ordinal)
                || Name.EndsWith(other._dotName, StringComparison.Ordinal)
                || other.Name.EndsWith(_dotName, StringComparison.Ordinal),
        };
    }

    /// <summary>Whether this matches whatever the other one matches, where a pattern without a port means every port.</summary>
    public bool Covers(HostPattern other)
    {
        if (Port is not null && Port != other.Port) return false;
        if (!other.IsWildcard) return MatchesName(other.Name);
        return IsWildcard && (string.Equals(Name, other.Name, StringComparison.Ordinal) || other.Name.EndsWith(_dotName, StringComparison.Ordinal));
    }

    /// <summary>Reads a pattern; on failure <paramref name="error"/> says what to change.</summary>
    public static bool TryParse(
        string? text,
        PublicSuffixList suffixes,
        [NotNullWhen(true)] out HostPattern? pattern,
        [NotNullWhen(false)] out string? error)
    {
        pattern = null;
        ReadOnlySpan<char> host = text;
        int? port = null;
        if (host.Contains("://", StringComparison.Ordinal))
        {
            error = $"'{text}' is an address with a scheme; write the host alone, as api.example.com";
            return false;
        }

        int colon = host.LastIndexOf(':');
        if (colon >= 0)
        {
            if (!int.TryParse(host[(colon + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out int number) || number is < 1 or > 65535)
            {
                error = $"'{text}' has no valid port after ':'; write a port from 1 to 65535, as api.example.com:8443, or leave it out for 443";
                return false;
            }

            port = number;
            host = host[..colon];
        }

        bool wildcard = host.StartsWith("*.", StringComparison.Ordinal);
        if (wildcard) host = host[2..];
        error = Check(text, host, wildcard, suffixes);
        if (error is not null) return false;
        pattern = new HostPattern(host.ToString(), wildcard, port);
        return true;
    }

    private static string? Check(string? text, ReadOnlySpan<char> host, bool wildcard, PublicSuffixList suffixes)
    {
        const string Form = "write a DNS name as api.example.com, or *.example.com for the names below it";
        if (host.IsEmpty) return $"a host is empty; {Form}";
        if (host.Contains('/') || host.Contains('@')) return $"'{text}' is not a host; {Form}, without scheme, user or path";
        if (host.Contains('*')) return $"'{text}' has a '*' that is not the whole first label; {Form}";
        foreach (char c in host)
            if (char.IsAsciiLetterUpper(c)) return $"'{text}' has upper-case letters; write it in lower case";
        if (HostName.TryParseAddress(host, out _)) return $"'{text}' is an address; {Form}";
        if (!HostName.TryCanonicalize(host, out string? name) || host[^1] == '.' || host.Contains('_')
            || host[0] == '-' || host[^1] == '-' || host.Contains("-.", StringComparison.Ordinal) || host.Contains(".-", StringComparison.Ordinal))
            return $"'{text}' is not a DNS name; {Form}";
        if (!wildcard) return name.Contains('.') ? null : $"'{text}' has a single label; write the full name, as {text}.example.com";
        return suffixes.ReasonAgainstWildcard(name) is { } reason ? $"'{text}' is too wide: {reason}; list the hosts one by one" : null;
    }

    /// <summary>The pattern as it was written.</summary>
    public override string ToString() =>
        (IsWildcard ? "*." : "") + Name + (Port is { } port ? string.Create(CultureInfo.InvariantCulture, $":{port}") : "");
}
