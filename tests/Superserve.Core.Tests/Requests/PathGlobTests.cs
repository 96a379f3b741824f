using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using Superserve.Core.Requests;

namespace Superserve.Core.Tests.Requests;

[Properties(MaxTest = 3000, Arbitrary = [typeof(Globs)])]
public sealed class PathGlobTests
{
    /// <summary>A glob and a path of a small alphabet.</summary>
    public sealed record Pair(string Glob, string Path);

    private static PathGlob Glob(string text)
    {
        Assert.True(PathGlob.TryParse(text, out PathGlob? glob, out string? error), error);
        return glob;
    }

    [Theory]
    [InlineData("/", "/", true)]
    [InlineData("/", "/a", false)]
    [InlineData("/**", "/", true)]
    [InlineData("/**", "/a/b/c", true)]
    [InlineData("/repos/acme/**", "/repos/acme", true)]
    [InlineData("/repos/acme/**", "/repos/acme/", true)]
    [InlineData("/repos/acme/**", "/repos/acme/a/b", true)]
    [InlineData("/repos/acme/**", "/repos/acme2/a", false)]
    [InlineData("/repos/acme/**", "/repos", false)]
    [InlineData("/repos/acme/**", "/x/repos/acme/a", false)]
    [InlineData("/repos/*/issues", "/repos/a/issues", true)]
    [InlineData("/repos/*/issues", "/repos/a/b/issues", false)]
    [InlineData("/repos/*/issues", "/repos//issues", true)]
    [InlineData("/repos/*/issues", "/repos/issues", false)]
    [InlineData("/a*c", "/abc", true)]
    [InlineData("/a*c", "/ac", true)]
    [InlineData("/a*c", "/a/c", false)]
    [InlineData("/a*b*c", "/axbxbxc", true)]
    [InlineData("/a*b*c", "/axcxb", false)]
    [InlineData("/*", "/a", true)]
    [InlineData("/*", "/a/", false)]
    [InlineData("/**/x", "/x", true)]
    [InlineData("/**/x/**/y", "/a/x/b/x/y", true)]
    [InlineData("/**/x/**/y", "/a/x/b", false)]
    [InlineData("/A", "/a", false)]
    [InlineData("/a", "a", false)]
    [InlineData("/a", "", false)]
    [InlineData("/v1/models:list", "/v1/models:list", true)]
    public void A_glob_matches_whole_paths(string glob, string path, bool matches) => Assert.Equal(matches, Glob(glob).Matches(path));

    [Property]
    public bool A_glob_matches_what_it_naively_does(Pair pair)
    {
        string[] glob = pair.Glob[1..].Split('/');
        string[] path = pair.Path[1..].Split('/');
        PathGlob parsed = Glob(pair.Glob);
        return parsed.Matches(pair.Path) == Naive(glob, path, StringComparison.Ordinal)
            && parsed.MatchesReading(path) == Naive(glob, path, StringComparison.OrdinalIgnoreCase)
            && parsed.ToString() == pair.Glob;
    }

    private static bool Naive(string[] glob, string[] path, StringComparison comparison)
    {
        if (glob.Length == 0) return path.Length == 0;
        if (glob[0] == "**") return Enumerable.Range(0, path.Length + 1).Any(n => Naive(glob[1..], path[n..], comparison));
        return path.Length > 0 && NaiveText(glob[0], path[0], comparison) && Naive(glob[1..], path[1..], comparison);
    }

    private static bool NaiveText(string glob, string text, StringComparison comparison)
    {
        if (glob.Length == 0) return text.Length == 0;
        if (glob[0] == '*') return Enumerable.Range(0, text.Length + 1).Any(n => NaiveText(glob[1..], text[n..], comparison));
        return text.Length > 0 && string.Equals(glob[..1], text[..1], comparison) && NaiveText(glob[1..], text[1..], comparison);
    }

    [Fact]
    public void A_glob_made_to_be_slow_is_not()
    {
        PathGlob slow = Glob("/" + string.Concat(Enumerable.Repeat("**/a*a*/", 60)) + "b");
        Assert.False(slow.Matches("/" + string.Concat(Enumerable.Repeat("aaaaaaaa/", 400)) + "c"));
    }

    [Theory]
    [InlineData(null, "a path starts with '/', as /repos/acme/**")]
    [InlineData("", "a path starts with '/'")]
    [InlineData("repos/**", "a path starts with '/'")]
    [InlineData("**", "a path starts with '/'")]
    [InlineData("/a?b=c", "a path holds no '?' or '#': rules see the path without the query")]
    [InlineData("/a#b", "a path holds no '?' or '#'")]
    [InlineData("/a/../b", "the path has dot segments")]
    [InlineData("/a/./b", "the path has dot segments")]
    [InlineData("//a", "the path has dot segments, empty segments, a backslash or escapes that are not in normal form; write it as the service's documentation does")]
    [InlineData("/a\\b", "the path has dot segments")]
    [InlineData("/%41", "the path has dot segments")]
    [InlineData("/a%2fb", "the path has dot segments")]
    [InlineData("/a%e9", "the path has dot segments")]
    [InlineData("/a\n", "the path has dot segments")]
    [InlineData("/a/**b", "'**' stands alone between slashes, as /repos/**; within a segment write '*'")]
    [InlineData("/a/b**/c", "'**' stands alone between slashes")]
    [InlineData("/***", "'**' stands alone between slashes")]
    public void What_is_no_glob_is_refused(string? text, string expected)
    {
        Assert.False(PathGlob.TryParse(text, out PathGlob? glob, out string? error));
        Assert.Null(glob);
        Assert.StartsWith(expected, error);
    }

    [Fact]
    public void A_glob_has_at_most_1024_characters()
    {
        Assert.Equal(1024, Glob("/" + new string('a', 1023)).Text.Length);
        Assert.False(PathGlob.TryParse("/" + new string('a', 1024), out _, out string? error));
        Assert.Equal("a path is longer than 1024 characters", error);
    }

    [Theory]
    [InlineData("/user/keys", "/user/keys", true)]
    [InlineData("/User/KEYS", "/user/keys", true)]
    [InlineData("/user/keys/**", "/user/keys", true)]
    [InlineData("/user/keys/", "/user/keys", true)]
    [InlineData("/user/keys/1", "/user/keys", false)]
    [InlineData("/user/*", "/user/keys", false)]
    [InlineData("/user/**", "/user/keys", false)]
    [InlineData("/**", "/user/keys", false)]
    [InlineData("/**/keys", "/user/keys", false)]
    [InlineData("/user", "/user/keys", false)]
    [InlineData("/user/key*", "/user/keys", false)]
    [InlineData("/repos/acme/*/keys", "/repos/*/*/keys", true)]
    [InlineData("/repos/*/*/keys", "/repos/*/*/keys", true)]
    [InlineData("/repos/acme/**", "/repos/*/*/keys", false)]
    [InlineData("/repos/acme/app/**", "/repos/*/*/keys", false)]
    [InlineData("/repos/**/keys", "/repos/*/*/keys", true)]
    [InlineData("/accounts/**", "/accounts/*", true)]
    [InlineData("/accounts/*", "/accounts/*.json", false)]
    [InlineData("/accounts/*.json", "/accounts/*.json", true)]
    [InlineData("/accounts.json", "/accounts", true)]
    [InlineData("/accounts/1.json", "/accounts/1", true)]
    [InlineData("/accounts.json/1", "/accounts/1", false)]
    [InlineData("/accounts/*.json", "/accounts/1", false)]
    [InlineData("/.accounts", "/", false)]
    [InlineData("/v1/organizations/**", "/v1/organizations/**", true)]
    [InlineData("/v1/organizations/api_keys", "/v1/organizations/**", true)]
    [InlineData("/v1/organizations", "/v1/organizations/**", true)]
    [InlineData("/v1/**", "/v1/organizations/**", false)]
    [InlineData("/v1/*/x", "/v1/organizations/**", false)]
    [InlineData("/projects/1/tokens", "/projects/**/tokens", true)]
    [InlineData("/projects/**/tokens", "/projects/**/tokens", true)]
    [InlineData("/projects/tokens", "/projects/**/tokens", true)]
    [InlineData("/projects/1/**", "/projects/**/tokens", false)]
    [InlineData("/projects/*/*", "/projects/**/tokens", false)]
    [InlineData("/projects/1/issues", "/projects/**/tokens", false)]
    [InlineData("/projects/**", "/projects/**/tokens", false)]
    [InlineData("/groups/a/accounts/1", "/groups/**/accounts/**", true)]
    [InlineData("/groups/**/accounts/**", "/groups/**/accounts/**", true)]
    [InlineData("/groups/**", "/groups/**/accounts/**", false)]
    public void A_glob_names_another_one_where_it_spells_out_its_literal_segments(string glob, string other, bool names) =>
        Assert.Equal(names, Glob(glob).Names(Glob(other)));

    public static class Globs
    {
        public static Arbitrary<Pair> AnyPair() => (
            from globSegments in Segments(Gen.Elements("**", "**", "*", "a", "b", "a*", "*b", "a*b*", "A", "ab"))
            from pathSegments in Segments(Gen.Elements("a", "b", "ab", "aab", "abb", "A", "aB"))
            select new Pair(globSegments, pathSegments)).ToArbitrary();

        private static Gen<string> Segments(Gen<string> segment) =>
            Gen.Choose(1, 5).SelectMany(n => Gen.ArrayOf(segment, n)).Select(segments => "/" + string.Join('/', segments));
    }
}
