namespace Superserve.Core.Secrets;

/// <summary>
/// What an owner writes of a Superserve Secret, apart from where the credential is: the Kubernetes resource's spec and a
/// secret of the local configuration share it. Nothing is checked yet; <see cref="SecretDefinition.TryCreate"/> does.
/// </summary>
public record SecretSpec
{
    /// <summary>A provider's name in the catalog; excludes <see cref="Hosts"/> and <see cref="Auth"/>.</summary>
    public string? Provider { get; init; }

    /// <summary>The owner's part of the host name, for providers that have a host per tenant.</summary>
    public string? Tenant { get; init; }

    /// <summary>Host patterns, where one scheme serves them all.</summary>
    public IReadOnlyList<string>? Hosts { get; init; }

    /// <summary>How requests to the hosts carry the credential.</summary>
    public AuthSpec? Auth { get; init; }

    /// <summary>If set, no other request carries the credential.</summary>
    public IReadOnlyList<RequestRuleSpec>? Rules { get; init; }

    /// <summary>Lets <c>Set-Cookie</c> of answers to swapped requests pass; a session cookie outlives revocation.</summary>
    public bool AllowSetCookie { get; init; }
}

/// <summary>An auth scheme's fields; which belong together depends on <see cref="Type"/>.</summary>
public record AuthSchemeSpec
{
    /// <summary>bearer, api-key, basic, custom, query or path.</summary>
    public string? Type { get; init; }

    /// <summary>api-key: the header's name.</summary>
    public string? Header { get; init; }

    /// <summary>api-key: text ahead of the credential; path: the path's start, with <c>{{ value }}</c>.</summary>
    public string? Prefix { get; init; }

    /// <summary>basic: the user name.</summary>
    public string? Username { get; init; }

    /// <summary>custom: header names and their templates.</summary>
    public IReadOnlyDictionary<string, string>? Headers { get; init; }

    /// <summary>query: the parameter's name.</summary>
    public string? Parameter { get; init; }
}

/// <summary>One scheme for all hosts, or a list of schemes per host.</summary>
public sealed record AuthSpec : AuthSchemeSpec
{
    /// <summary>Schemes per host; excludes the scheme's own fields and the secret's hosts.</summary>
    public IReadOnlyList<PerHostAuthSpec>? PerHost { get; init; }
}

/// <summary>One scheme for some hosts.</summary>
public sealed record PerHostAuthSpec : AuthSchemeSpec
{
    /// <summary>Host patterns.</summary>
    public IReadOnlyList<string>? Hosts { get; init; }
}

/// <summary>Methods and path globs that may carry a credential; an absent list means all.</summary>
public sealed record RequestRuleSpec
{
    /// <summary>HTTP methods, upper case.</summary>
    public IReadOnlyList<string>? Methods { get; init; }

    /// <summary>Path globs: <c>*</c> within one segment, <c>**</c> as a whole segment for any number of segments.</summary>
    public IReadOnlyList<string>? Paths { get; init; }
}

/// <summary>A mistake in what an owner wrote.</summary>
/// <param name="Path">The field, as <c>secrets[0].hosts[1]</c>.</param>
/// <param name="Message">What is wrong and what to change.</param>
public readonly record struct SpecError(string Path, string Message)
{
    /// <summary>The path and the message on one line.</summary>
    public override string ToString() => Path.Length == 0 ? Message : $"{Path}: {Message}";
}
