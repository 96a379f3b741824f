using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using Superserve.Core.Requests;

namespace Superserve.Core.Tests.Requests;

public sealed class RequestPathTests
{
    [Theory]
    [InlineData("/", "/")]
    [InlineData("/a/b", "/a/b")]
    [InlineData("/a/", "/a/")]
    [InlineData("/%41%7a%30%2d%5F%7e", "/Az0-_~")]
    [InlineData("/a%2eb", "/a.b")]
    [InlineData("/a%20b%c3%a9", "/a%20b%C3%A9")]
    [InlineData("/a%3ab:c", "/a%3Ab:c")]
    [InlineData("/a;x=1/b;y", "/a;x=1/b;y")]
    [InlineData("/a%3bx", "/a%3Bx")]
    [InlineData("/.../..a/a../.a/a.", "/.../..a/a../.a/a.")]
    [InlineData("/%2e%2e%2e", "/...")]
    [InlineData("/a%2541", "/a%2541")]
    [InlineData("/100%25", "/100%25")]
    [InlineData("/100%25/x", "/100%25/x")]
    [InlineData("/a%252", "/a%252")]
    [InlineData("/*/**", "/*/**")]
    [InlineData("/caf\u00e9", "/caf\u00e9")]
    public void A_path_that_all_servers_read_alike_has_a_normal_form(string path, string expected)
    {
        Assert.True(RequestPath.TryNormalize(path, out string normalized));
        Assert.Equal(expected, normalized);
        Assert.True(RequestPath.TryNormalize(normalized, out string again));
        Assert.Equal(expected, again);
    }

    [Theory]
    [InlineData("")]
    [InlineData("a")]
    [InlineData("*")]
    [InlineData("%2fa")]
    [InlineData("https://api.example.com/a")]
    // Dot segments.
    [InlineData("/.")]
    [InlineData("/..")]
    [InlineData("/a/.")]
    [InlineData("/a/..")]
    [InlineData("/a/./b")]
    [InlineData("/a/../b")]
    [InlineData("/../a")]
    [InlineData("/a/%2e/b")]
    [InlineData("/a/%2E%2e/b")]
    [InlineData("/a/.%2e/b")]
    [InlineData("/a/%2e./b")]
    [InlineData("/a/%2e%2e")]
    // Path parameters.
    [InlineData("/a/..;/b")]
    [InlineData("/a/..;x=1/b")]
    [InlineData("/a/.;x/b")]
    [InlineData("/a/;x/b")]
    [InlineData("/a/;")]
    [InlineData("/a/;x%3by")]
    [InlineData("/;x")]
    [InlineData("/a/%2e%2e;x/b")]
    [InlineData("/a/..%3bx/b")]
    [InlineData("/a/..%20/b")]
    [InlineData("/a/%c0%ae%c0%ae/b")]
    [InlineData("/a/..%3Bx")]
    [InlineData("/a/..%3Bx;y")]
    [InlineData("/a/..;y%3Bx")]
    [InlineData("/a/%3Bx/b")]
    [InlineData("/a/..%253bx/b")]
    [InlineData("/a/..%253Bx/b")]
    // Slashes.
    [InlineData("//a")]
    [InlineData("/a//b")]
    [InlineData("/a//")]
    [InlineData("//")]
    [InlineData("/a%2fb")]
    [InlineData("/a%2Fb")]
    [InlineData("/a\\b")]
    [InlineData("/a%5cb")]
    [InlineData("/a%5Cb")]
    [InlineData("/a/..%2fb")]
    // Nested escapes.
    [InlineData("/a/%252e%252e/b")]
    [InlineData("/a/%252E")]
    [InlineData("/a%252fb")]
    [InlineData("/a%252Fb")]
    [InlineData("/a%255cb")]
    [InlineData("/a%255Cb")]
    [InlineData("/a%25252eb")]
    [InlineData("/a/%25%32%65%25%32%65/b")]
    [InlineData("/a/%252%65/b")]
    [InlineData("/a/%25%32e/b")]
    [InlineData("/a%25%32%66b")]
    [InlineData("/a%25%35%43b")]
    [InlineData("/a%25%32%35%32%65b")]
    [InlineData("/a%2500")]
    [InlineData("/a%253fb")]
    [InlineData("/a%2523b")]
    // Broken escapes and control characters.
    [InlineData("/a%")]
    [InlineData("/a%4")]
    [InlineData("/a%zz")]
    [InlineData("/a%u002e")]
    [InlineData("/a%%32%65")]
    [InlineData("/a%00")]
    [InlineData("/a\0b")]
    [InlineData("/a%0ab")]
    [InlineData("/a%0d%0ab")]
    [InlineData("/a\tb")]
    [InlineData("/a%1f")]
    [InlineData("/a%7f")]
    [InlineData("/a\u007f")]
    [InlineData("/a#b")]
    public void A_path_that_two_servers_could_read_differently_has_none(string path)
    {
        Assert.False(RequestPath.TryNormalize(path, out string normalized));
        Assert.Equal("", normalized);
    }

    [Theory]
    [InlineData("/a%23b", "/a%23b")]
    [InlineData("/a%3fb", "/a%3Fb")]
    public void An_escaped_question_mark_or_hash_stays_escaped(string path, string expected)
    {
        Assert.True(RequestPath.TryNormalize(path, out string normalized));
        Assert.Equal(expected, normalized);
    }

    [Theory]
    [InlineData("/a?b", "/a")]
    [InlineData("/a?b?c/d", "/a")]
    [InlineData("/a", "/a")]
    [InlineData("?b", "")]
    [InlineData("/a%3fb?c", "/a%3fb")]
    public void The_query_begins_at_the_first_question_mark(string target, string path) => Assert.Equal(path, RequestPath.OfTarget(target).ToString());

    [Property(MaxTest = 3000, Arbitrary = [typeof(Paths)])]
    public bool A_normal_form_is_its_own_and_no_server_resolves_it_elsewhere(Path path)
    {
        if (!RequestPath.TryNormalize(path.Text, out string normalized)) return true;
        string twice = NaiveDecode(NaiveDecode(normalized));
        return RequestPath.TryNormalize(normalized, out string again) && again == normalized
            && NaiveDecode(path.Text) == NaiveDecode(normalized)
            && new Uri("http://h" + normalized).AbsolutePath.Count(c => c == '/') == normalized.Count(c => c == '/')
            && twice.Count(c => c is '/' or '\\') == normalized.Count(c => c == '/')
            && !twice.Split('/').Any(segment => segment.Split(';')[0] is "." or "..");
    }

    private static string NaiveDecode(string text) => System.Text.RegularExpressions.Regex.Replace(
        text, "%([0-9a-fA-F]{2})", match => ((char)Convert.ToInt32(match.Groups[1].Value, 16)).ToString());

    public sealed record Path(string Text);

    public static class Paths
    {
        public static Arbitrary<Path> AnyPath() => Gen.Elements("a", "b", ".", "..", "/", "/", "/", "%2e", "%2F", "%25", "%32", "%65", "2e", "2f", "3b", "5c", ";", "%3b", "\\", "%")
            .ListOf().Select(parts => new Path("/" + string.Concat(parts))).ToArbitrary();
    }
}
