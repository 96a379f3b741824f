using System.Text;
using System.Text.RegularExpressions;
using Superserve.Core.Authentication;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;
using Superserve.Core.Swapping;

namespace Superserve.Core.Tests.Swaps;

/// <summary>The swap decision once more, without thought of speed: places are regular expressions over the whole head.</summary>
internal static class NaiveSwap
{
    /// <summary>A place in the head: a header by its index, or the target (-1).</summary>
    public readonly record struct Place(BoundSecret Secret, AuthScheme Scheme, int Index, string User);

    /// <summary>Neither reasons nor places: pass. Any reason: refuse with one of them. Else swap all places.</summary>
    public sealed record Answer(HashSet<RefusalReason> Reasons, List<Place> Places);

    public static string Unescape(string text) =>
        Regex.Replace(text, "%([0-9a-fA-F]{2})", match => ((char)Convert.ToInt32(match.Groups[1].Value, 16)).ToString());

    public static string UnBasic(HeaderField field)
    {
        Match match = Regex.Match(field.Value, "^basic +([A-Za-z0-9+/]+=*) *$", RegexOptions.IgnoreCase);
        if (!field.Is("Authorization") || !match.Success || match.Groups[1].Value.Length % 4 != 0) return "";
        return Encoding.Latin1.GetString(Convert.FromBase64String(match.Groups[1].Value));
    }

    /// <summary>All the text in which something may stand, decoded and not.</summary>
    public static string Texts(Request request, int index) => index < 0
        ? request.Target + "\n" + Unescape(request.Target)
        : request.Headers[index].Value + "\n" + UnBasic(request.Headers[index]);

    public static Answer Decide(Request request, BoundSecret[] secrets)
    {
        Answer answer = new([], []);
        foreach (BoundSecret secret in secrets)
        {
            for (int index = -1; index < request.Headers.Length; index++)
                if (Texts(request, index).Contains(secret.StandIn.Value)) Judge(request, secret, index, answer);
        }

        foreach (Place a in answer.Places)
            foreach (Place b in answer.Places)
                if (a.Secret != b.Secret && Sets(a.Scheme).Any(Sets(b.Scheme).Contains)) answer.Reasons.Add(RefusalReason.CredentialMisplaced);

        if (answer.Places.Count > 0 && Regex.IsMatch(request.Method, "^(trace|connect)$", RegexOptions.IgnoreCase)) answer.Reasons.Add(RefusalReason.RequestDenied);
        if (answer.Reasons.Count + answer.Places.Count > 0 && !request.IsSecure) return new([RefusalReason.CleartextRefused], []);
        return answer;
    }

    // The one value of a header or a parameter cannot be two credentials.
    private static string[] Sets(AuthScheme scheme) => scheme switch
    {
        HeaderScheme header => [.. header.Headers.Select(h => h.Name.ToLowerInvariant())],
        BasicScheme => ["authorization"],
        QueryScheme query => [$"{query.Parameter}="],
        _ => [],
    };

    private static void Judge(Request request, BoundSecret secret, int index, Answer answer)
    {
        HostAuth? host = secret.Definition.Hosts.FirstOrDefault(h => h.Pattern.Name == request.Host);
        if (host is null || (host.Pattern.Port ?? 443) != request.Port)
        {
            answer.Reasons.Add(host is null ? RefusalReason.CredentialHostMismatch : RefusalReason.PortBlocked);
            return;
        }

        foreach (AuthScheme scheme in host.Schemes)
        {
            if (!Fits(request, secret.StandIn.Value, index, scheme, out string user)) continue;
            answer.Places.Add(new Place(secret, scheme, index, user));
            if (secret.Credential is CredentialState.Revoked) answer.Reasons.Add(RefusalReason.CredentialRevoked);
            if (secret.Credential is CredentialState.Unavailable) answer.Reasons.Add(RefusalReason.CredentialUnavailable);
            return;
        }

        answer.Reasons.Add(RefusalReason.CredentialMisplaced);
    }

    private static bool Fits(Request request, string standIn, int index, AuthScheme scheme, out string user)
    {
        user = "";
        switch (scheme)
        {
            case HeaderScheme header when index >= 0:
                HeaderField field = request.Headers[index];
                return header.Headers.Any(h => h.Template.HasValue && field.Is(h.Name) && Regex.IsMatch(
                    field.Value, $"^(?i:{Regex.Escape(h.Template.Before)}) *{standIn} *(?i:{Regex.Escape(h.Template.After)})$"));
            case BasicScheme basic when index >= 0:
                string pair = UnBasic(request.Headers[index]);
                user = pair.Split(':')[0];
                return basic.CredentialIsUsername ? pair.StartsWith(standIn + ":") : pair == user + ":" + standIn && !user.Contains(standIn);
            case QueryScheme query when index < 0:
                string[] halves = request.Target.Split('?', 2);
                string[] holding = [.. halves[^1].Split('&').Where(pair => Unescape(pair).Contains(standIn))];
                return halves.Length == 2 && !Unescape(halves[0]).Contains(standIn) && holding.Length > 0
                    && holding.All(pair => Unescape(pair) == query.Parameter + "=" + standIn);
            case PathScheme path when index < 0:
                string anyEscape = string.Concat((path.Prefix.Before + standIn).Select(c => $"({Regex.Escape(c.ToString())}|(?i:%{(int)c:x2}))"));
                Match match = Regex.Match(request.Target, $"^{anyEscape}({Regex.Escape(path.Prefix.After)}.*)$");
                return match.Success && !Unescape(match.Groups[^1].Value).Contains(standIn);
            default:
                return false;
        }
    }
}
