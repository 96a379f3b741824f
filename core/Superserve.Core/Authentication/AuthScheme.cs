using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using Superserve.Core.Secrets;

namespace Superserve.Core.Authentication;

/// <summary>Where in a request head a credential stands.</summary>
/// <param name="Type">The scheme's name as owners write it: bearer, api-key, basic, custom, query or path.</param>
public abstract record AuthScheme(string Type)
{
    /// <summary>At most so many headers in a custom scheme.</summary>
    public const int MaxCustomHeaders = 8;

    private const int MaxTextLength = 1024;
    private const int MaxParameterLength = 128;

    /// <summary>Authorization: Bearer V.</summary>
    public static HeaderScheme Bearer { get; } =
        new("bearer", [new HeaderTemplate("Authorization", new ValueTemplate("Bearer ", "", HasValue: true))]);

    /// <summary>Reads a scheme; each mistake is added to <paramref name="errors"/> with the path of its field.</summary>
    /// <param name="spec">The fields.</param>
    /// <param name="path">Where they stand, as <c>secrets[0].auth</c>.</param>
    /// <param name="errors">Where mistakes go.</param>
    /// <param name="scheme">The scheme, where there was no mistake.</param>
    /// <param name="inCatalog">Lets <c>basic</c> leave the user name to the client.</param>
    public static bool TryCreate(
        AuthSchemeSpec spec, string path, ICollection<SpecError> errors, [NotNullWhen(true)] out AuthScheme? scheme, bool inCatalog = false)
    {
        scheme = null;
        int before = errors.Count;
        if (spec.Type is not ("bearer" or "api-key" or "basic" or "custom" or "query" or "path"))
        {
            errors.Add(new(path + ".type", (spec.Type is null ? "a scheme needs a type" : $"there is no scheme '{spec.Type}'")
                + "; write one of bearer, api-key, basic, custom, query, path"));
            return false;
        }

        RefuseForeign(spec.Header, "header", spec.Type is "api-key");
        RefuseForeign(spec.Prefix, "prefix", spec.Type is "api-key" or "path");
        RefuseForeign(spec.Username, "username", spec.Type is "basic");
        RefuseForeign(spec.Headers, "headers", spec.Type is "custom");
        RefuseForeign(spec.Parameter, "parameter", spec.Type is "query");

        scheme = spec.Type switch
        {
            "bearer" => Bearer,
            "api-key" => ApiKey(spec, path, errors),
            "basic" => Basic(spec, path, errors, inCatalog),
            "custom" => Custom(spec, path, errors),
            "query" => Query(spec, path, errors),
            _ => Path(spec, path, errors),
        };
        if (errors.Count == before && scheme is not null) return true;
        scheme = null;
        return false;

        void RefuseForeign(object? value, string field, bool belongs)
        {
            if (value is not null && !belongs) errors.Add(new($"{path}.{field}", $"the scheme {spec.Type} has no {field}; remove it"));
        }
    }

    /// <summary>The scheme as an owner may write it; <see cref="TryCreate"/> reads it back, as of the catalog.</summary>
    public abstract AuthSchemeSpec ToSpec();

    private static HeaderScheme? ApiKey(AuthSchemeSpec spec, string path, ICollection<SpecError> errors)
    {
        string prefix = spec.Prefix ?? "";
        if (spec.Header is null) errors.Add(new(path + ".header", "api-key needs the name of its header, as header: X-Api-Key"));
        else if (HeaderRules.ReasonAgainst(spec.Header) is { } reason) errors.Add(new(path + ".header", reason));
        if (TextError(prefix, "the prefix") is { } error) errors.Add(new(path + ".prefix", error));
        else if (ValueTemplate.TryParse(prefix, out ValueTemplate? template, out _) is false || template.HasValue)
            errors.Add(new(path + ".prefix", "the prefix is the text ahead of the credential, without {{ value }}; for text behind it use type: custom"));
        return spec.Header is null ? null : new("api-key", [new(spec.Header, new ValueTemplate(prefix, "", HasValue: true))]);
    }

    private static BasicScheme? Basic(AuthSchemeSpec spec, string path, ICollection<SpecError> errors, bool inCatalog)
    {
        if (spec.Username is null)
        {
            if (inCatalog) return new BasicScheme(null);
            errors.Add(new(path + ".username", "basic needs a username, as username: x-access-token; write \"{{ value }}\" where the credential itself is the user name"));
            return null;
        }

        if (spec.Username.Contains(':')) errors.Add(new(path + ".username", "a basic username holds no ':'; the credential is the password, only the name goes here"));
        if (TextError(spec.Username, "the username") is { } error) errors.Add(new(path + ".username", error));
        if (!ValueTemplate.TryParse(spec.Username, out ValueTemplate? template, out string? templateError)) errors.Add(new(path + ".username", templateError));
        else if (template.HasValue && (template.Before.Length > 0 || template.After.Length > 0))
            errors.Add(new(path + ".username", "write either a fixed user name or \"{{ value }}\" alone"));
        return template is { HasValue: true } ? BasicScheme.CredentialAsUsername : new BasicScheme(spec.Username);
    }

    private static HeaderScheme? Custom(AuthSchemeSpec spec, string path, ICollection<SpecError> errors)
    {
        path += ".headers";
        if (spec.Headers is null or { Count: 0 })
        {
            errors.Add(new(path, "custom needs headers, as headers: {X-Key: \"{{ value }}\"}"));
            return null;
        }

        if (spec.Headers.Count > MaxCustomHeaders) errors.Add(new(path, $"{spec.Headers.Count} headers; at most {MaxCustomHeaders}"));
        HashSet<string> names = new(StringComparer.OrdinalIgnoreCase);
        ImmutableArray<HeaderTemplate>.Builder headers = ImmutableArray.CreateBuilder<HeaderTemplate>();
        bool hasValue = false;
        foreach ((string name, string text) in spec.Headers)
        {
            string at = $"{path}[{name}]";
            if (HeaderRules.ReasonAgainst(name) is { } reason) errors.Add(new(at, reason));
            if (!names.Add(name)) errors.Add(new(at, "the header stands twice; names are compared without case"));
            if (text is null) errors.Add(new(at, "the header has no value; write a text that holds {{ value }}"));
            else if (TextError(text, "the value") is { } error) errors.Add(new(at, error));
            else if (!ValueTemplate.TryParse(text, out ValueTemplate? template, out string? templateError)) errors.Add(new(at, templateError));
            else
            {
                hasValue |= template.HasValue;
                headers.Add(new(name, template));
            }
        }

        if (!hasValue) errors.Add(new(path, "no header holds {{ value }}; write it where the credential goes, as X-Key: \"{{ value }}\""));
        return new("custom", headers.ToImmutable());
    }

    private static QueryScheme? Query(AuthSchemeSpec spec, string path, ICollection<SpecError> errors)
    {
        if (spec.Parameter is not { Length: > 0 and <= MaxParameterLength })
        {
            errors.Add(new(path + ".parameter", $"query needs the parameter's name, of 1 to {MaxParameterLength} characters, as parameter: key"));
            return null;
        }

        foreach (char c in spec.Parameter)
        {
            if (Percent.IsUnreserved(c) || c is '[' or ']' or '$') continue;
            errors.Add(new(path + ".parameter", "a parameter's name holds letters, digits and - . _ ~ [ ] $ only"));
            break;
        }

        return new(spec.Parameter);
    }

    private static PathScheme? Path(AuthSchemeSpec spec, string path, ICollection<SpecError> errors)
    {
        const string Form = "as prefix: \"/bot{{ value }}/\"";
        path += ".prefix";
        if (spec.Prefix is null)
        {
            errors.Add(new(path, $"path needs the path's start, {Form}"));
            return null;
        }

        if (TextError(spec.Prefix, "the prefix") is { } error) errors.Add(new(path, error));
        if (!ValueTemplate.TryParse(spec.Prefix, out ValueTemplate? template, out string? templateError)) errors.Add(new(path, templateError));
        else if (!template.HasValue) errors.Add(new(path, $"the prefix has no place for the credential; write it {Form}"));
        else if (!template.Before.StartsWith('/') || !template.After.StartsWith('/'))
            errors.Add(new(path, $"the prefix starts with '/' and has a '/' right after {ValueTemplate.Placeholder}, {Form}; otherwise the credential would run into what follows"));
        else if ((template.Before + template.After).AsSpan().IndexOfAny("?#% \\") >= 0) errors.Add(new(path, "the prefix holds no '?', '#', '%', '\\' or space"));
        return template is null ? null : new(template);
    }

    private static string? TextError(string text, string what)
    {
        if (text.Length > MaxTextLength) return $"{what} is longer than {MaxTextLength} characters";
        foreach (char c in text)
            if (c is < ' ' or > '~') return $"{what} holds a control character or one outside ASCII; use printable ASCII";
        return null;
    }
}

/// <summary>One or more headers, at least one of which holds the credential (bearer, api-key, custom).</summary>
public sealed record HeaderScheme(string Type, ImmutableArray<HeaderTemplate> Headers) : AuthScheme(Type)
{
    /// <inheritdoc/>
    public override AuthSchemeSpec ToSpec() => Type switch
    {
        "bearer" => new() { Type = Type },
        "api-key" => new() { Type = Type, Header = Headers[0].Name, Prefix = Headers[0].Template.Before },
        _ => new() { Type = Type, Headers = Headers.ToDictionary(header => header.Name, header => header.Template.Text, StringComparer.Ordinal) },
    };
}

/// <summary>Authorization: Basic.</summary>
/// <param name="Username">The user name; null keeps the client's (an account id or an e-mail address is no secret).</param>
public sealed record BasicScheme(string? Username) : AuthScheme("basic")
{
    /// <summary>The scheme whose user name is the credential and whose password is empty.</summary>
    public static BasicScheme CredentialAsUsername { get; } = new((string?)null) { CredentialIsUsername = true };

    /// <summary>Whether the credential is the user name instead of the password.</summary>
    public bool CredentialIsUsername { get; private init; }

    /// <inheritdoc/>
    public override AuthSchemeSpec ToSpec() => new() { Type = Type, Username = CredentialIsUsername ? ValueTemplate.Placeholder : Username };
}

/// <summary>A query parameter.</summary>
/// <param name="Parameter">Its name, decoded.</param>
public sealed record QueryScheme(string Parameter) : AuthScheme("query")
{
    /// <inheritdoc/>
    public override AuthSchemeSpec ToSpec() => new() { Type = Type, Parameter = Parameter };
}

/// <summary>The path's start.</summary>
/// <param name="Prefix">Starts with a slash; a slash follows the credential.</param>
public sealed record PathScheme(ValueTemplate Prefix) : AuthScheme("path")
{
    /// <inheritdoc/>
    public override AuthSchemeSpec ToSpec() => new() { Type = Type, Prefix = Prefix.Text };
}
