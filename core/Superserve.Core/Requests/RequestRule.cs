using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using Superserve.Core.Secrets;

namespace Superserve.Core.Requests;

/// <summary>Methods and paths; an empty list stands for all.</summary>
public sealed record RequestRule(ImmutableArray<string> Methods, ImmutableArray<PathGlob> Paths)
{
    private const int MaxEntries = 64;

    /// <summary>Whether the rule covers a method and a normalized path; without paths any path, even one that has no normal form.</summary>
    public bool Allows(string method, string? normalizedPath)
    {
        if (!AllowsMethod(method)) return false;
        if (Paths.IsEmpty) return true;
        if (normalizedPath is null) return false;
        foreach (PathGlob path in Paths)
            if (path.Matches(normalizedPath)) return true;
        return false;
    }

    /// <summary>Whether the rule covers a method on some path.</summary>
    public bool AllowsMethod(string method) => Methods.IsEmpty || Methods.Contains(method);

    /// <summary>Reads a rule; each mistake is added with the path of its field.</summary>
    public static bool TryCreate(RequestRuleSpec spec, string path, ICollection<SpecError> errors, [NotNullWhen(true)] out RequestRule? rule)
    {
        int before = errors.Count;
        ImmutableArray<PathGlob>.Builder globs = ImmutableArray.CreateBuilder<PathGlob>();
        IReadOnlyList<string> methods = spec.Methods ?? [];
        IReadOnlyList<string> paths = spec.Paths ?? [];
        if (methods.Count == 0 && paths.Count == 0) errors.Add(new(path, "the rule names neither methods nor paths; name at least one, or remove the rule"));
        if (methods.Count > MaxEntries) errors.Add(new(path + ".methods", $"more than {MaxEntries} methods"));
        if (paths.Count > MaxEntries) errors.Add(new(path + ".paths", $"more than {MaxEntries} paths"));
        for (int i = 0; i < methods.Count; i++)
        {
            if (methods[i] is not { Length: > 0 and <= 32 } method || method.AsSpan().ContainsAnyExceptInRange('A', 'Z'))
                errors.Add(new($"{path}.methods[{i}]", "a method is written in upper-case letters, as GET"));
        }

        for (int i = 0; i < paths.Count; i++)
        {
            if (PathGlob.TryParse(paths[i], out PathGlob? glob, out string? error)) globs.Add(glob);
            else errors.Add(new($"{path}.paths[{i}]", error));
        }

        rule = errors.Count == before ? new RequestRule([.. methods], globs.ToImmutable()) : null;
        return rule is not null;
    }
}

/// <summary>What may carry a secret's credential: the owner's rules, less what the catalog knows to mint new credentials.</summary>
public sealed record RequestRules(ImmutableArray<RequestRule> Allowed, ImmutableArray<RequestRule> Minting)
{
    /// <summary>Headers by which some frameworks let a request be taken for one of another method or path.</summary>
    private static readonly string[] Overrides = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL", "X-Original-URI", "X-Forwarded-URI", "X-Envoy-Original-Path"];

    /// <summary>No rules: every request may.</summary>
    public static RequestRules None { get; } = new([], []);

    /// <summary>Whether there are any.</summary>
    public bool Exist => !Allowed.IsEmpty || !Minting.IsEmpty;

    /// <summary>
    /// Whether a header lets the server take the request for one of another method or path. Servers that hand headers on as
    /// variables (CGI, WSGI, Rack) cannot tell '-' from '_', and some of them from any other mark.
    /// </summary>
    public static bool IsOverride(string headerName)
    {
        // Most headers begin otherwise.
        if (headerName.Length < 2 || headerName[0] is not ('X' or 'x') || char.IsAsciiLetterOrDigit(headerName[1])) return false;
        string plain = string.Create(headerName.Length, headerName, static (span, from) =>
        {
            for (int i = 0; i < span.Length; i++) span[i] = char.IsAsciiLetterOrDigit(from[i]) ? from[i] : '-';
        });
        foreach (string name in Overrides)
            if (string.Equals(name, plain, StringComparison.OrdinalIgnoreCase)) return true;
        return false;
    }

    /// <summary>Why a request may not carry the credential; null where it may.</summary>
    /// <param name="method">The method, as sent.</param>
    /// <param name="path">The path as sent, without the query.</param>
    public string? ReasonAgainst(string method, ReadOnlySpan<char> path)
    {
        if (!Exist) return null;
        string? normalized = RequestPath.TryNormalize(path, out string text) ? text : null;
        if (!Allowed.IsEmpty && !IsAllowed(method, normalized))
        {
            return normalized is null
                ? "the path has dot segments, empty segments or encoded slashes, which a path rule cannot judge"
                : "no rule of the secret covers this method and path";
        }

        return Minting.IsEmpty ? null : ReasonAgainstMinting(method, path, normalized);
    }

    private bool IsAllowed(string method, string? normalizedPath)
    {
        foreach (RequestRule rule in Allowed)
            if (rule.Allows(method, normalizedPath)) return true;
        return false;
    }

    private string? ReasonAgainstMinting(string method, ReadOnlySpan<char> path, string? normalizedPath)
    {
        IEnumerable<string[]>? readings = null;
        foreach (RequestRule mint in Minting)
        {
            // Without case: a server may take "post" for POST.
            if (!mint.AllowsMethod(method.ToUpperInvariant())) continue;
            readings ??= RequestPath.Readings(path);
            foreach (PathGlob endpoint in mint.Paths)
            {
                if (!IsReading(endpoint, readings) || IsNamed(endpoint, method, normalizedPath)) continue;
                return $"{endpoint} creates new credentials, and the secret's rules do not name it";
            }
        }

        return null;

        static bool IsReading(PathGlob endpoint, IEnumerable<string[]> readings)
        {
            foreach (string[] reading in readings)
                if (endpoint.MatchesReading(reading)) return true;
            return false;
        }
    }

    private bool IsNamed(PathGlob endpoint, string method, string? normalizedPath)
    {
        foreach (RequestRule rule in Allowed)
        {
            if (normalizedPath is null || !rule.AllowsMethod(method)) continue;
            foreach (PathGlob path in rule.Paths)
                if (path.Names(endpoint) && path.Matches(normalizedPath)) return true;
        }

        return false;
    }
}
