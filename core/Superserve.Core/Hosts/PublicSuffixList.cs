using System.Globalization;

namespace Superserve.Core.Hosts;

/// <summary>
/// The Public Suffix List (publicsuffix.org), both its parts: below a name on it anybody can register a host, so a wildcard
/// there would send a credential to strangers.
/// </summary>
public sealed class PublicSuffixList
{
    private readonly Lazy<Rules> _rules;

    private PublicSuffixList(Func<Rules> load) => _rules = new Lazy<Rules>(load);

    /// <summary>The list that is built in. It is read at the first question, which only a wildcard asks: a sidecar without one never needs it.</summary>
    public static PublicSuffixList Embedded { get; } = new(LoadEmbedded);

    /// <summary>Reads a list in publicsuffix.org's format.</summary>
    public static PublicSuffixList Parse(TextReader reader)
    {
        Rules rules = Rules.Read(reader);
        return new PublicSuffixList(() => rules);
    }

    /// <summary>Whether anybody may register names directly below <paramref name="name"/>.</summary>
    public bool IsPublicSuffix(string name)
    {
        Rules rules = _rules.Value;
        if (rules.Exceptions.Contains(name)) return false;
        if (rules.Suffixes.Contains(name)) return true;
        int dot = name.IndexOf('.');
        // A top-level domain that the list does not know is one too (the list's default rule, "*").
        return dot < 0 || rules.Wildcards.Contains(name[(dot + 1)..]);
    }

    /// <summary>Why <c>*.name</c> may not be written; null where it may.</summary>
    public string? ReasonAgainstWildcard(string name)
    {
        if (IsPublicSuffix(name)) return $"anybody can register a name below the public suffix '{name}'";
        return _rules.Value.Below.TryGetValue(name, out string? suffix)
            ? $"it covers the public suffix '{suffix}', below which anybody can register a name"
            : null;
    }

    private static Rules LoadEmbedded()
    {
        using Stream stream = typeof(PublicSuffixList).Assembly.GetManifestResourceStream("public_suffix_list.dat")
            ?? throw new InvalidOperationException("The public suffix list is not in the assembly.");
        using StreamReader reader = new(stream);
        return Rules.Read(reader);
    }

    private sealed class Rules
    {
        /// <summary>com, co.uk, supabase.co.</summary>
        public HashSet<string> Suffixes { get; } = new(StringComparer.Ordinal);

        /// <summary>ck, from the rule *.ck.</summary>
        public HashSet<string> Wildcards { get; } = new(StringComparer.Ordinal);

        /// <summary>www.ck, from the rule !www.ck.</summary>
        public HashSet<string> Exceptions { get; } = new(StringComparer.Ordinal);

        /// <summary>amazonaws.com, and one suffix below it.</summary>
        public Dictionary<string, string> Below { get; } = new(StringComparer.Ordinal);

        public static Rules Read(TextReader reader)
        {
            Rules rules = new();
            IdnMapping idn = new();
            while (reader.ReadLine() is { } line)
            {
                // A rule ends at the first white space; // begins a comment line.
                ReadOnlySpan<char> rule = line.AsSpan().Trim();
                int space = rule.IndexOfAny(' ', '\t');
                if (space >= 0) rule = rule[..space];
                if (rule.IsEmpty || rule.StartsWith("//", StringComparison.Ordinal)) continue;
                rules.Add(rule, idn);
            }

            return rules;
        }

        private void Add(ReadOnlySpan<char> rule, IdnMapping idn)
        {
            bool exception = rule[0] == '!';
            bool wildcard = rule.StartsWith("*.", StringComparison.Ordinal);
            string name = rule[(exception ? 1 : wildcard ? 2 : 0)..].ToString();
            if (name.AsSpan().ContainsAnyExceptInRange('\0', '\x7f')) name = idn.GetAscii(name);
            (exception ? Exceptions : wildcard ? Wildcards : Suffixes).Add(name);
            if (exception) return;

            string suffix = wildcard ? "*." + name : name;
            // The wildcard's own name is above its suffixes; above a plain suffix are its parents.
            for (string above = wildcard ? name : Parent(name); above.Length > 0; above = Parent(above)) Below.TryAdd(above, suffix);
        }

        private static string Parent(string name) => name.IndexOf('.') is >= 0 and int dot ? name[(dot + 1)..] : "";
    }
}
