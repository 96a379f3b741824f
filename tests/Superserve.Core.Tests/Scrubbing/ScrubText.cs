using System.Buffers;
using System.Text;
using Superserve.Core.Scrubbing;

namespace Superserve.Core.Tests.Scrubbing;

/// <summary>Short ways to set up what these tests share. Text is Latin-1: one character for each byte.</summary>
internal static class ScrubText
{
    public static byte[] Bytes(string text) => Encoding.Latin1.GetBytes(text);

    public static ScrubPair Pair(string credential, string standIn, params string[] users) =>
        new(Bytes(credential), Bytes(standIn), users);

    public static ScrubPatterns Patterns(string credential, string standIn, params string[] users) =>
        ScrubPatterns.Create([Pair(credential, standIn, users)]);

    public static string Body(ScrubPatterns patterns, params IEnumerable<string> chunks) => Body(patterns, out _, chunks);

    public static string Body(ScrubPatterns patterns, out BodyScrubber scrubber, params IEnumerable<string> chunks)
    {
        ArrayBufferWriter<byte> output = new();
        scrubber = new BodyScrubber(patterns);
        foreach (string chunk in chunks)
        {
            scrubber.Write(Bytes(chunk), output);
            Assert.True(scrubber.PendingLength < Math.Max(1, patterns.LongestForm), "more is held back than a form's beginning");
            Assert.Equal(scrubber.PendingLength > 0, scrubber.HasPending);
        }

        scrubber.Complete(output);
        Assert.False(scrubber.HasPending);
        return Encoding.Latin1.GetString(output.WrittenSpan);
    }

    /// <summary>The body whole, cut in two at every place, and byte by byte, always comes out the same.</summary>
    public static void AssertBody(ScrubPatterns patterns, string body, string expected)
    {
        Assert.Equal(expected, Body(patterns, body));
        for (int cut = 0; cut <= body.Length; cut++) Assert.Equal(expected, Body(patterns, body[..cut], body[cut..]));
        Assert.Equal(expected, Body(patterns, body.Select(static c => c.ToString())));
    }

    public static string Base64(string latin1) => Convert.ToBase64String(Bytes(latin1));

    public static string FromBase64(string text) => Encoding.Latin1.GetString(Convert.FromBase64String(text));

    public static string UrlSafe(string base64) => base64.Replace('+', '-').Replace('/', '_');

    public static string Percent(string latin1, bool upper = true) =>
        string.Concat(Bytes(latin1).Select(b => "%" + b.ToString(upper ? "X2" : "x2")));
}
