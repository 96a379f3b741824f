using System.Globalization;

namespace Superserve.Core.Hosts;

/// <summary>
/// The Public Suffix List (publicsuffix.org), both its parts: below a name on it anybody can register a host, so a wildcard
/// there would send a credential to strangers.
/// </summary>
public sealed class PublicSuffixList
{
    private static readonly Lazy<PublicSuffixList> LazyEmbedded = new(LoadEmbedded);

    private readonly HashSet<string> _suffixes = new(StringComparer.Ordinal);       // com, co.uk, supabase.co
    private readonly HashSet<string> _wildcards = new(StringComparer.Ordinal);      // ck, from the rule *.ck
    private readonly HashSet<string> _exceptions = new(StringComparer.Ordinal);     // www.ck, from the rule !www.ck
    private readonly Dictionary<string, string> _below = new(StringComparer.Ordinal); // amazonaws.com -> a suffix below it

    private PublicSuffixList()
    {
    }

    /// <summary>The list that is built in.</summary>
    public static PublicSuffixList Embedded => LazyEmbedded.Value;

    /// <summary>Reads a list in publicsuffix.org's format.</summary>
    public static PublicSuffixList Parse(TextReader reader)
    {
        PublicSuffixList list = new();
        IdnMapping idn = new();
        while (reader.ReadLine() is { } line)
        {
            // A rule ends at the first white space; // begins a comment line.
            ReadOnlySpan<char> rule = line.AsSpan().Trim();
            int space = rule.IndexOfAny(' ', '\t');
            if (space >= 0) rule = rule[..space];
            if (rule.IsEmpty || rule.StartsWith("//", StringComparison.Ordinal)) continue;
            list.Add(rule, idn);
        }

        return list;
    }

    /// <summary>Whether anybody may register names directly below <paramref name="name"/>.</summary>
    public bool IsPublicSuffix(string name)
    {
        if (_exceptions.Contains(name)) return false;
        if (_suffixes.Contains(name)) return true;
        int dot = name.IndexOf('.');
        // A top-level domain that the list does not know is one too (the list's default rule, "*").
        return dot < 0 || _wildcards.Contains(name[(dot + 1)..]);
    }

    /// <summary>Why <c>*.name</c> may not be written; null where it may.</summary>
    public string? ReasonAgainstWildcard(string name)
    {
        if (IsPublicSuffix(name)) return $"anybody can register a name below the public suffix '{name}'";
        return _below.TryGetValue(name, out string? suffix)
            ? $"it covers the public suffix '{suffix}', below which anybody can register a name"
            : null;
    }

    private void Add(ReadOnlySpan<char> rule, IdnMapping idn)
    {
        bool exception = rule[0] == '!';
        bool wildcard = rule.StartsWith("*.", StringComparison.Ordinal);
        string name = rule[(exception ? 1 : wildcard ? 2 : 0)..].ToString();
        if (name.AsSpan().ContainsAnyExceptInRange('\0', '\x7f')) name = idn.GetAscii(name);
        (exception ? _exceptions : wildcard ? _wildcards : _suffixes).Add(name);
        if (exception) return;

        string suffix = wildcard ? "*." + name : name;
        // The wildcard's own name is above its suffixes; above a plain suffix are its parents.
        for (string above = wildcard ? name : Parent(name); above.Length > 0; above = Parent(above)) _below.TryAdd(above, suffix);
    }

    private static string Parent(string name) => name.IndexOf('.') is >= 0 and int dot ? name[(dot + 1)..] : "";

    private static PublicSuffixList LoadEmbedded()
    {
        using Stream stream = typeof(PublicSuffixList).Assembly.GetManifestResourceStream("public_suffix_list.dat")
            ?? throw new InvalidOperationException("The public suffix list is not in the assembly.");
        using StreamReader reader = new(stream);
        return Parse(reader);
    }
}
