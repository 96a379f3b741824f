using System.Collections.Immutable;
using System.Text;
using Superserve.Core.Authentication;
using Superserve.Core.Hosts;
using Superserve.Core.Requests;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;

namespace Superserve.Core.Swapping;

/// <summary>
/// The swap decision, the heart of the product, as a pure function of a request head and a snapshot.
/// <list type="number">
/// <item>Find every stand-in in the head: header values, decoded Basic credentials, the target raw and decoded.</item>
/// <item>None: pass. The body is never looked at; a stand-in there is inert text.</item>
/// <item>Any over plain HTTP: refuse.</item>
/// <item>For each: its secret must be for this host, and one of the shapes accepted there must put it just where it is.</item>
/// <item>For each secret: there must be a credential, and the secret's rules must cover the request.</item>
/// <item>Only then write: all places of the accepted shapes are stripped, and those that held the stand-in are set.</item>
/// </list>
/// </summary>
public static class Swap
{
    /// <summary>A longer Authorization: Basic is no credential that this product issued.</summary>
    private const int MaxBasicLength = 16 * 1024;

    private const string Authorization = "Authorization";
    private const int InTarget = -1;

    /// <summary>Decides. Allocates nothing for a request without a stand-in.</summary>
    public static SwapDecision Decide(in RequestHead head, Snapshot snapshot)
    {
        List<Find>? finds = FindStandIns(head, snapshot);
        return finds is null ? SwapDecision.Pass : Decide(head, finds, snapshot);
    }

    /// <summary>A stand-in in the head: whose, and in which header (or <see cref="InTarget"/>).</summary>
    private readonly record struct Find(BoundSecret Secret, int Header);

    /// <summary>An accepted scheme that puts the stand-in where it was found, and how its place is written.</summary>
    private readonly record struct Match(BoundSecret Secret, HostAuth Host, AuthScheme Scheme, int Header, string? BasicUser);

    private static SwapDecision Decide(in RequestHead head, List<Find> finds, Snapshot snapshot)
    {
        if (!head.IsSecure)
        {
            BoundSecret secret = finds[0].Secret;
            return SwapDecision.Refuse(RefusalReason.CleartextRefused,
                $"The stand-in of {secret.Env} was sent over plain HTTP, where anybody on the way could read the credential. Use https://{Shown(head.Host, snapshot)}.", secret);
        }

        List<Match> matches = [];
        foreach (Find find in finds)
        {
            HostAuth? host = find.Secret.Definition.ForHost(head.Host, head.Port);
            if (host is null) return WrongHost(head, find.Secret, snapshot);
            if (!TryMatch(head, find, host, out Match match)) return Misplaced(head, find, host, snapshot);
            if (SharesPlace(matches, match)) return Misplaced(head, find, host, snapshot);
            matches.Add(match);
        }

        if (IsNeverSwapped(head.Method))
        {
            return SwapDecision.Refuse(RefusalReason.RequestDenied,
                $"A {head.Method} request never carries a credential: the answer would show it. Use another method.", matches[0].Secret);
        }

        ImmutableArray<BoundSecret>.Builder secrets = ImmutableArray.CreateBuilder<BoundSecret>();
        foreach (Match match in matches)
        {
            if (secrets.Contains(match.Secret)) continue;
            if (RefuseSecret(head, match) is { } refusal) return new SwapDecision(null, refusal);
            secrets.Add(match.Secret);
        }

        return new SwapDecision(Write(head, matches, secrets.ToImmutable()), null);
    }

    // Without case: a method that a later hop takes for another one is judged as that.
    private static bool IsNeverSwapped(string method) =>
        method.Equals("TRACE", StringComparison.OrdinalIgnoreCase) || method.Equals("CONNECT", StringComparison.OrdinalIgnoreCase);

    // ---- 1. find --------------------------------------------------------------------------------------------------------

    private static List<Find>? FindStandIns(in RequestHead head, Snapshot snapshot)
    {
        List<Find>? finds = null;
        for (int i = 0; i < head.Headers.Length; i++)
        {
            string value = head.Headers[i].Value;
            if (snapshot.HoldsStandIn(value)) Add(value, i);
            else if (TryDecodeBasic(head.Headers[i], out string? decoded) && snapshot.HoldsStandIn(decoded)) Add(decoded, i);
        }

        // One may stand there as it is and another one percent-encoded.
        string target = head.Target.Contains('%') ? $"{head.Target} {Percent.Decode(head.Target)}" : head.Target;
        if (snapshot.HoldsStandIn(target)) Add(target, InTarget);
        return finds;

        void Add(string text, int header)
        {
            foreach (BoundSecret secret in snapshot.Secrets)
                if (text.Contains(secret.StandIn.Value, StringComparison.Ordinal)) (finds ??= []).Add(new Find(secret, header));
        }
    }

    private static bool TryDecodeBasic(HeaderField field, out string decoded)
    {
        decoded = "";
        if (!field.Is(Authorization) || !field.Value.StartsWith("Basic ", StringComparison.OrdinalIgnoreCase) || field.Value.Length > MaxBasicLength) return false;
        ReadOnlySpan<char> base64 = field.Value.AsSpan("Basic ".Length).Trim(' ');
        byte[] bytes = new byte[base64.Length];
        if (!Convert.TryFromBase64Chars(base64, bytes, out int length)) return false;
        decoded = Encoding.Latin1.GetString(bytes, 0, length);
        return true;
    }

    // ---- 2. match -------------------------------------------------------------------------------------------------------

    private static bool TryMatch(in RequestHead head, Find find, HostAuth host, out Match match)
    {
        foreach (AuthScheme scheme in host.Schemes)
        {
            string? basicUser = null;
            bool here = scheme switch
            {
                HeaderScheme header => find.Header >= 0 && IsHeaderPlace(head.Headers[find.Header], header, find.Secret),
                BasicScheme basic => find.Header >= 0 && IsBasicPlace(head.Headers[find.Header], basic, find.Secret, out basicUser),
                QueryScheme query => find.Header == InTarget && IsQueryPlace(head.Target, query, find.Secret),
                PathScheme path => find.Header == InTarget && IsPathPlace(head.Target, path, find.Secret, out _),
                _ => false,
            };
            if (!here) continue;
            match = new Match(find.Secret, host, scheme, find.Header, basicUser);
            return true;
        }

        match = default;
        return false;
    }

    private static bool IsHeaderPlace(HeaderField field, HeaderScheme scheme, BoundSecret secret)
    {
        foreach (HeaderTemplate header in scheme.Headers)
            if (field.Is(header.Name) && header.Template.TryExtract(field.Value, out ReadOnlySpan<char> value) && secret.StandIn.Matches(value.Trim(' '))) return true;
        return false;
    }

    private static bool IsBasicPlace(HeaderField field, BasicScheme scheme, BoundSecret secret, out string? user)
    {
        user = null;
        if (!TryDecodeBasic(field, out string decoded)) return false;
        int colon = decoded.IndexOf(':');
        if (colon < 0) return false;
        ReadOnlySpan<char> name = decoded.AsSpan(0, colon);
        // A token that holds a ':' cannot be a user name; as a password it follows the first one.
        if (!secret.StandIn.Matches(scheme.CredentialIsUsername ? name : decoded.AsSpan(colon + 1))) return false;
        // The user's text travels on with the credential; it must not hold another stand-in unswapped, which the finds see to.
        user = name.ToString();
        return scheme.CredentialIsUsername || !user.Contains(secret.StandIn.Value, StringComparison.Ordinal);
    }

    /// <summary>Every occurrence in the target must be the value of the parameter: one that is elsewhere too is misplaced.</summary>
    private static bool IsQueryPlace(string target, QueryScheme scheme, BoundSecret secret)
    {
        bool found = false;
        ReadOnlySpan<char> path = RequestPath.OfTarget(target);
        if (Percent.Decode(path).Contains(secret.StandIn.Value, StringComparison.Ordinal)) return false;
        if (path.Length == target.Length) return false;
        ReadOnlySpan<char> query = target.AsSpan(path.Length + 1);
        foreach (Range range in query.Split('&'))
        {
            (string name, string value) = Parameter(query[range]);
            bool isParameter = string.Equals(name, scheme.Parameter, StringComparison.Ordinal);
            if (isParameter && secret.StandIn.Matches(value)) found = true;
            else if (value.Contains(secret.StandIn.Value, StringComparison.Ordinal) || name.Contains(secret.StandIn.Value, StringComparison.Ordinal)) return false;
        }

        return found;
    }

    private static (string Name, string Value) Parameter(ReadOnlySpan<char> pair)
    {
        int equals = pair.IndexOf('=');
        return equals < 0
            ? (Percent.Decode(pair, plusIsSpace: true), "")
            : (Percent.Decode(pair[..equals], plusIsSpace: true), Percent.Decode(pair[(equals + 1)..], plusIsSpace: true));
    }

    /// <summary>The path starts with the rendered prefix, and the stand-in is nowhere else in the target.</summary>
    /// <param name="target">Path and query.</param>
    /// <param name="scheme">The prefix.</param>
    /// <param name="secret">Whose stand-in.</param>
    /// <param name="end">How many raw characters the prefix took, up to and without the template's end.</param>
    private static bool IsPathPlace(string target, PathScheme scheme, BoundSecret secret, out int end)
    {
        end = 0;
        string expected = scheme.Prefix.Before + secret.StandIn.Value;
        char[] actual = new char[expected.Length];
        int at = 0, length = 0;
        while (length < expected.Length && at < target.Length) actual[length++] = Percent.Next(target, ref at);
        if (length < expected.Length || !actual.AsSpan(0, scheme.Prefix.Before.Length).SequenceEqual(scheme.Prefix.Before)
            || !secret.StandIn.Matches(actual.AsSpan(scheme.Prefix.Before.Length))) return false;
        end = at;
        return target.AsSpan(at).StartsWith(scheme.Prefix.After, StringComparison.Ordinal)
            && !Percent.Decode(target.AsSpan(at)).Contains(secret.StandIn.Value, StringComparison.Ordinal);
    }

    /// <summary>Two secrets cannot both be the one value that a header or a parameter is set to.</summary>
    private static bool SharesPlace(List<Match> matches, Match match)
    {
        if (matches.Count == 0) return false;
        foreach (Match other in matches)
            if (other.Secret != match.Secret && Places(other.Scheme).Intersect(Places(match.Scheme)).Any()) return true;
        return false;

        static IEnumerable<string> Places(AuthScheme scheme) => scheme switch
        {
            HeaderScheme headers => headers.Headers.Select(header => header.Name.ToUpperInvariant()),
            BasicScheme => [Authorization.ToUpperInvariant()],
            QueryScheme query => ["?" + query.Parameter],
            _ => [],
        };
    }

    // ---- 3. refuse ------------------------------------------------------------------------------------------------------

    private static SwapDecision WrongHost(in RequestHead head, BoundSecret secret, Snapshot snapshot)
    {
        string host = Shown(head.Host, snapshot);
        foreach (HostAuth auth in secret.Definition.Hosts)
        {
            if (!auth.Pattern.MatchesName(head.Host)) continue;
            return SwapDecision.Refuse(RefusalReason.PortBlocked,
                $"The stand-in of {secret.Env} was sent to {host} on port {head.Port}, but its secret '{secret.Name}' is for port {auth.Pattern.Port ?? 443} of that host. Use that port, or ask the owner to write {host}:{head.Port} into the secret's hosts.", secret);
        }

        return SwapDecision.Refuse(RefusalReason.CredentialHostMismatch,
            $"The stand-in of {secret.Env} was sent to {host}, but its secret '{secret.Name}' is only for {Hosts(secret)}. Send it there, or ask the owner to add the host to the secret.", secret);
    }

    private static SwapDecision Misplaced(in RequestHead head, Find find, HostAuth host, Snapshot snapshot)
    {
        string place = find.Header == InTarget ? "the URL" : $"the header {Shown(head.Headers[find.Header].Name, snapshot)}";
        return SwapDecision.Refuse(RefusalReason.CredentialMisplaced,
            $"The stand-in of {find.Secret.Env} is in {place}, where {Shown(head.Host, snapshot)} does not take it. Send it as {string.Join(", or as ", host.Schemes.Select(Describe))}, alone and unchanged.", find.Secret);
    }

    private static Refusal? RefuseSecret(in RequestHead head, Match match)
    {
        BoundSecret secret = match.Secret;
        switch (secret.IsDetached ? CredentialState.Revoked.Instance : secret.Credential)
        {
            case CredentialState.Revoked when secret.IsDetached:
                return new Refusal(RefusalReason.CredentialRevoked,
                    $"This stand-in of {secret.Env} (secret '{secret.Name}') is no longer valid: its owner removed or replaced it. Start the program anew to get the present one, or ask the owner.", secret);
            case CredentialState.Revoked:
                return new Refusal(RefusalReason.CredentialRevoked,
                    $"The credential of {secret.Env} (secret '{secret.Name}') was revoked by its owner, or is not in place yet. Retrying does not help; ask the owner.", secret);
            case CredentialState.Unavailable unavailable:
                return new Refusal(RefusalReason.CredentialUnavailable,
                    $"The credential of {secret.Env} (secret '{secret.Name}') cannot be used: {unavailable.Message}. Ask the owner to mend it; the next request will use it.", secret);
        }

        RequestRules rules = secret.Definition.Rules;
        if (rules.Exist && OverriddenBy(head) is { } place)
        {
            return new Refusal(RefusalReason.RequestDenied,
                $"{place} would let the service take this request for another one, which the rules of the secret '{secret.Name}' could not judge. Send the method and path themselves.", secret);
        }

        ReadOnlySpan<char> path = RequestPath.OfTarget(head.Target);
        if (match.Scheme is PathScheme scheme && IsPathPlace(head.Target, scheme, secret, out int end))
            path = string.Concat(scheme.Prefix.Before, "credential", path[end..]);
        return rules.ReasonAgainst(head.Method, path) is { } reason
            ? new Refusal(RefusalReason.RequestDenied, $"This request may not carry the credential of {secret.Env}: {reason}. Ask the owner of the secret '{secret.Name}' for a rule that covers it.", secret)
            : null;
    }

    /// <summary>What in the head some frameworks take as the request's method or path in place of the request line.</summary>
    private static string? OverriddenBy(in RequestHead head)
    {
        foreach (HeaderField field in head.Headers)
            if (RequestRules.IsOverride(field.Name)) return $"The header {field.Name}";
        ReadOnlySpan<char> query = head.Target.AsSpan(RequestPath.OfTarget(head.Target).Length);
        if (query.IsEmpty) return null;
        foreach (Range range in query[1..].SplitAny('&', ';'))
        {
            // PHP takes dots and spaces in a name for underscores, drops spaces ahead of it, and ends it at NUL and '['.
            string name = Parameter(query[1..][range]).Name.TrimStart(' ');
            if (name.AsSpan().IndexOfAny('\0', '[') is >= 0 and int end) name = name[..end];
            if (name.Replace('.', '_').Replace(' ', '_').Equals("_method", StringComparison.OrdinalIgnoreCase)) return "The query parameter _method";
        }

        return null;
    }

    /// <summary>The sandbox's own text as a refusal may show it: a host label or a header's name can hold a stand-in too.</summary>
    private static string Shown(string text, Snapshot snapshot) => snapshot.Redact(text, HostName.MaxLength);

    private static string Hosts(BoundSecret secret)
    {
        const int Shown = 4;
        string hosts = string.Join(", ", secret.Definition.Hosts.Take(Shown).Select(auth => auth.Pattern.ToString()));
        return secret.Definition.Hosts.Length > Shown ? $"{hosts} and {secret.Definition.Hosts.Length - Shown} more" : hosts;
    }

    private static string Describe(AuthScheme scheme) => scheme switch
    {
        HeaderScheme header => string.Join(" and ", header.Headers.Where(field => field.Template.HasValue)
            .Select(field => $"'{field.Name}: {field.Template.Before}<the variable's value>{field.Template.After}'")),
        BasicScheme { CredentialIsUsername: true } => "the user name of HTTP Basic authentication, with an empty password",
        BasicScheme => "the password of HTTP Basic authentication",
        QueryScheme query => $"the query parameter '{query.Parameter}'",
        PathScheme path => $"the path's start, '{path.Prefix.Before}<the variable's value>{path.Prefix.After}'",
        _ => scheme.Type,
    };

    // ---- 4. write -------------------------------------------------------------------------------------------------------

    private static SwapPlan Write(in RequestHead head, List<Match> matches, ImmutableArray<BoundSecret> secrets)
    {
        // Values first: nothing of the request changes until all are there.
        List<HeaderEdit> set = [];
        string? target = null;
        foreach (Match match in matches)
        {
            string credential = ((CredentialState.Available)match.Secret.Credential).Credential.Latin1;
            switch (match.Scheme)
            {
                case HeaderScheme scheme:
                    foreach (HeaderTemplate header in scheme.Headers) Set(header.Name, header.Template.Render(credential));
                    break;
                case BasicScheme { CredentialIsUsername: true }:
                    Set(Authorization, Basic(credential, ""));
                    break;
                case BasicScheme scheme:
                    Set(Authorization, Basic(scheme.Username ?? match.BasicUser ?? "", credential));
                    break;
                case QueryScheme scheme:
                    target = WithParameter(target ?? head.Target, scheme.Parameter, Percent.Encode(credential));
                    break;
                case PathScheme scheme when IsPathPlace(target ?? head.Target, scheme, match.Secret, out int end):
                    target = string.Concat(scheme.Prefix.Before, Percent.Encode(credential), (target ?? head.Target).AsSpan(end));
                    break;
            }
        }

        // Then the places of the other accepted shapes: what the sandbox put there would compete with the credential.
        List<HeaderEdit> edits = [.. set];
        foreach (Match match in matches)
        {
            foreach (AuthScheme scheme in match.Host.Schemes)
            {
                if (scheme is HeaderScheme headers)
                    foreach (HeaderTemplate header in headers.Headers) Strip(header.Name);
                else if (scheme is BasicScheme) Strip(Authorization);
                else if (scheme is QueryScheme query && !matches.Exists(other => other.Scheme is QueryScheme taken && taken.Parameter == query.Parameter))
                    target = WithParameter(target ?? head.Target, query.Parameter, null);
            }
        }

        return new SwapPlan(secrets, [.. edits], target);

        void Set(string name, string value)
        {
            set.RemoveAll(edit => string.Equals(edit.Name, name, StringComparison.OrdinalIgnoreCase));
            set.Add(new HeaderEdit(name, value));
        }

        void Strip(string name)
        {
            if (!edits.Exists(edit => string.Equals(edit.Name, name, StringComparison.OrdinalIgnoreCase))) edits.Add(new HeaderEdit(name, null));
        }
    }

    private static string Basic(string user, string password) => "Basic " + Convert.ToBase64String(Encoding.Latin1.GetBytes($"{user}:{password}"));

    /// <summary>The target with one parameter set at its first place, or removed where <paramref name="encoded"/> is null.</summary>
    private static string WithParameter(string target, string name, string? encoded)
    {
        ReadOnlySpan<char> path = RequestPath.OfTarget(target);
        if (path.Length == target.Length) return target;
        ReadOnlySpan<char> query = target.AsSpan(path.Length + 1);
        StringBuilder written = new StringBuilder(target.Length + 64).Append(path);
        char separator = '?';
        foreach (Range range in query.Split('&'))
        {
            ReadOnlySpan<char> pair = query[range];
            if (Parameter(pair).Name == name)
            {
                if (encoded is null) continue;
                written.Append(separator).Append(Percent.Encode(name)).Append('=').Append(encoded);
                encoded = null;
            }
            else written.Append(separator).Append(pair);
            separator = '&';
        }

        return written.ToString();
    }
}
