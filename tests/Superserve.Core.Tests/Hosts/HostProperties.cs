using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using Superserve.Core.Hosts;
using HostName = Superserve.Core.Hosts.HostName;

namespace Superserve.Core.Tests.Hosts;

[Properties(MaxTest = 1000, Arbitrary = [typeof(Patterns)])]
public sealed class HostProperties
{
    /// <summary>A pattern as its owner writes it.</summary>
    public sealed record Written(string Text);

    private static readonly string[] Labels = ["a", "b", "ab"];

    // Two labels and a suffix: any two patterns that overlap at all do so on one of these.
    private static readonly (string Host, int Port)[] World =
    [
        .. from depth in Enumerable.Range(1, 4)
           from host in Below("test", depth)
           from port in (int[])[443, 8443]
           select (host, port),
    ];

    private static IEnumerable<string> Below(string name, int depth) =>
        depth == 0 ? [name] : Labels.SelectMany(label => Below($"{label}.{name}", depth - 1));

    private static bool NaiveMatches(string pattern, string host, int port)
    {
        string[] parts = pattern.Split(':');
        if (port != (parts.Length == 2 ? int.Parse(parts[1]) : 443)) return false;
        string[] labels = host.Split('.');
        string[] wanted = parts[0].Split('.');
        if (wanted[0] != "*") return labels.SequenceEqual(wanted);
        return labels.Length >= wanted.Length && labels.TakeLast(wanted.Length - 1).SequenceEqual(wanted.Skip(1));
    }

    [Property]
    public bool A_pattern_matches_the_hosts_that_it_naively_does(Written written)
    {
        HostPattern pattern = TestSecrets.Pattern(written.Text);
        return World.All(at => pattern.Matches(at.Host, at.Port) == NaiveMatches(written.Text, at.Host, at.Port));
    }

    [Property]
    public bool Two_patterns_overlap_exactly_where_some_host_matches_both(Written a, Written b)
    {
        bool expected = World.Any(at => NaiveMatches(a.Text, at.Host, at.Port) && NaiveMatches(b.Text, at.Host, at.Port));
        return TestSecrets.Pattern(a.Text).Overlaps(TestSecrets.Pattern(b.Text)) == expected
            && TestSecrets.Pattern(b.Text).Overlaps(TestSecrets.Pattern(a.Text)) == expected;
    }

    [Property]
    public bool A_pattern_is_written_as_it_was_read(Written written)
    {
        HostPattern pattern = TestSecrets.Pattern(written.Text);
        return pattern.ToString() == written.Text && TestSecrets.Pattern(pattern.ToString()) == pattern;
    }

    [Property]
    public bool No_text_breaks_a_parser(string? text)
    {
        bool parsed = HostPattern.TryParse(text, PublicSuffixList.Embedded, out HostPattern? pattern, out string? error);
        bool isName = HostName.TryCanonicalize(text, out string? name);
        bool isAuthority = Authority.TryParse(text, 443, out Authority authority);
        return parsed == pattern is not null && parsed == error is null && isName == name is not null
            && (!isName || (HostName.TryCanonicalize(name, out string? again) && again == name))
            && (!isAuthority || (Authority.TryParse(authority.ToString(), 1, out Authority same) && same == authority));
    }

    public static class Patterns
    {
        public static Arbitrary<Written> AnyWritten() => (
            from star in Gen.Elements("", "*.")
            from depth in Gen.Choose(1, 3)
            from labels in Gen.ArrayOf(Gen.Elements(Labels), depth)
            from port in Gen.Elements("", "", ":443", ":8443")
            select new Written($"{star}{string.Join('.', labels)}.test{port}")).ToArbitrary();
    }
}
