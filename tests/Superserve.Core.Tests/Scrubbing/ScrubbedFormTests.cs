using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Superserve.Core.Scrubbing;
using static Superserve.Core.Tests.Scrubbing.ScrubText;

namespace Superserve.Core.Tests.Scrubbing;

public sealed class ScrubbedFormTests
{
    // Of one length, and with characters that escapes and base64's last two characters are about.
    private const string Credential = "sk-Te/t~\"q\\A?=&'<9>x+ z%5";
    private const string StandIn = "sk-Te-standIn_0123456.789";

    private static readonly ScrubPatterns Both = Patterns(Credential, StandIn, "x-access-token", "");

    public static TheoryData<string> EscapedForms => new(
        Credential,
        Uri.EscapeDataString(Credential),
        LowerHex(Uri.EscapeDataString(Credential)),
        Uri.EscapeDataString(Credential).Replace("%20", "+", StringComparison.Ordinal),
        Percent(Credential),
        Percent(Credential, upper: false),
        "%73" + Credential[1..],
        JavaScriptEncoder.UnsafeRelaxedJsonEscaping.Encode(Credential),
        JavaScriptEncoder.UnsafeRelaxedJsonEscaping.Encode(Credential).Replace("/", "\\/", StringComparison.Ordinal),
        JavaScriptEncoder.Default.Encode(Credential),
        Unicode(Credential, "x4"),
        Unicode(Credential, "X4"),
        string.Concat(Credential.Select(c => "\\x" + ((int)c).ToString("x2"))),
        HtmlEncoder.Default.Encode(Credential),
        System.Net.WebUtility.HtmlEncode(Credential),
        Credential.Replace("&", "&amp;", StringComparison.Ordinal).Replace("'", "&#039;", StringComparison.Ordinal),
        Credential.Replace("&", "&amp;", StringComparison.Ordinal).Replace("'", "&apos;", StringComparison.Ordinal),
        string.Concat(Credential.Select(c => $"&#{(int)c};")),
        string.Concat(Credential.Select(c => $"&#{(int)c:D3};")),
        string.Concat(Credential.Select(c => $"&#x{(int)c:x};")),
        string.Concat(Credential.Select((c, i) => (i % 3) switch
        {
            0 => Percent(c.ToString()),
            1 => Unicode(c.ToString(), "X4"),
            _ => $"&#X{(int)c:X};",
        })));

    [Theory]
    [MemberData(nameof(EscapedForms))]
    public void A_credential_escaped_in_any_way_is_replaced_wherever_the_chunks_are_cut(string form) =>
        AssertBody(Both, "{\"echo\":\"s" + form + "\"}", "{\"echo\":\"s" + StandIn + "\"}");

    [Theory]
    [MemberData(nameof(EscapedForms))]
    public void A_header_with_a_credential_escaped_in_any_way_shows_the_stand_in(string form) =>
        Assert.Equal("v=" + StandIn + "; ok", Both.ScrubHeader("v=" + form + "; ok"));

    [Theory]
    [InlineData("&#039;")]
    [InlineData("&#39;")]
    [InlineData("&#x27;")]
    [InlineData("&apos;")]
    [InlineData("%27")]
    [InlineData("\\'")]
    [InlineData("\\x27")]
    [InlineData("\\u0027")]
    public void A_credential_is_found_by_an_escape_that_it_begins_with(string first) =>
        AssertBody(Patterns("'123456789abcdef", "stand-in"), "x" + first + "123456789abcdef", "xstand-in");

    [Fact]
    public void A_credential_is_found_by_a_padded_number_that_it_begins_with() =>
        AssertBody(Patterns("5123456789abcdef", "stand-in"), "x&#053;123456789abcdef", "xstand-in");

    [Theory]
    [InlineData("&#xfffffff0;")]
    [InlineData("&#x80000000;")]
    [InlineData("&#4294967280;")]
    [InlineData("&#99999999999999999999;")]
    [InlineData("&#x110000;")]
    [InlineData("&#;")]
    [InlineData("&#x;")]
    [InlineData("&#xd800;&#xdfff;")]
    [InlineData("\\ud800\\ud800\\udc00")]
    [InlineData("%")]
    [InlineData("%u0073%zz%7")]
    public void Escapes_that_mean_nothing_pass_unchanged(string text)
    {
        // Such that every first byte is that of some form.
        IEnumerable<int> bytes = Enumerable.Range(32, 256 - 32).Where(b => b != 127);
        ScrubPatterns patterns = ScrubPatterns.Create([.. bytes.Select(b => Pair((char)b + "123456789abcdef", "stand-in"))]);
        AssertBody(patterns, text, text);
        Assert.Same(text, patterns.ScrubHeader(text));
    }

    [Theory]
    [InlineData("https://e/?q=%E4%F6%4", "sk-live-0123456789abcdef")]
    [InlineData("100%", "deadbeefdeadbeefdeadbeef")]
    [InlineData("\\u007", "3deadbeefdeadbeefdeadbeef")]
    [InlineData("&#x7", "3;deadbeefdeadbeefdeadbeef")]
    public void A_credential_whose_beginning_looks_like_the_end_of_an_escape_is_found(string before, string credential) =>
        AssertBody(Patterns(credential, "stand-in"), before + credential + "!", before + "stand-in!");

    [Theory]
    [InlineData("%25 off, %41\\u0041\\\\ &amp; twice")]
    [InlineData("\\\\\\\\\\\\\\\\%25%25%2525&amp;amp;&")]
    public void A_credential_that_holds_escapes_itself_is_found_as_it_is_and_escaped(string credential)
    {
        ScrubPatterns patterns = Patterns(credential, "stand-in");
        AssertBody(patterns, "a " + credential + " b", "a stand-in b");
        AssertBody(patterns, "a " + Percent(credential) + " b", "a stand-in b");
        AssertBody(patterns, JsonSerializer.Serialize(credential), "\"stand-in\"");
        AssertBody(patterns, "\"" + JavaScriptEncoder.UnsafeRelaxedJsonEscaping.Encode(credential) + "\"", "\"stand-in\"");
        AssertBody(patterns, System.Net.WebUtility.HtmlEncode(credential) + ";", "stand-in;");
        AssertBody(patterns, Uri.EscapeDataString(credential), "stand-in");
    }

    [Theory]
    [InlineData("pässwörd-日本-𝄞-0123")]
    [InlineData("ä日𝄞-begins-with-them")]
    [InlineData("日本-begins-with-them")]
    [InlineData("𝄞𝄞-begins-with-them")]
    [InlineData("😀😀-begins-with-them")]
    public void A_credential_in_UTF_8_is_found_by_bytes_and_by_characters(string credential)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(credential);
        string text = Encoding.Latin1.GetString(bytes);
        ScrubPatterns patterns = ScrubPatterns.Create([new ScrubPair(bytes, Bytes("stand-in"), [])]);
        AssertBody(patterns, "[" + text + "]", "[stand-in]");
        AssertBody(patterns, Uri.EscapeDataString(credential), "stand-in");
        AssertBody(patterns, Percent(text, upper: false), "stand-in");
        AssertBody(patterns, JsonSerializer.Serialize(credential), "\"stand-in\"");
        AssertBody(patterns, string.Concat(bytes.Select(b => $"\\x{b:X2}")), "stand-in");
        AssertBody(patterns, string.Concat(credential.EnumerateRunes().Select(r => $"&#{r.Value};")), "stand-in");
        AssertBody(patterns, string.Concat(credential.EnumerateRunes().Select(r => $"&#x{r.Value:X};")), "stand-in");
        // Read as Latin-1 and written as UTF-8, as services do with header values.
        AssertBody(patterns, Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(text)), "stand-in");
        AssertBody(patterns, JsonSerializer.Serialize(text), "\"stand-in\"");
        Assert.Equal("stand-in", patterns.ScrubHeader(text));
    }

    [Fact]
    public void A_credential_that_is_no_UTF_8_is_found_by_bytes()
    {
        const string Bytewise = "\xff\xfe\x80-0123456789abcdef";
        AssertBody(Patterns(Bytewise, "stand-in"), "-" + Bytewise + "\xff", "-stand-in\xff");
        AssertBody(Patterns(Bytewise, "stand-in"), Percent(Bytewise), "stand-in");
    }

    [Theory]
    [InlineData(0, 0), InlineData(1, 0), InlineData(2, 0), InlineData(3, 0)]
    [InlineData(0, 1), InlineData(1, 1), InlineData(2, 1), InlineData(0, 2), InlineData(1, 2), InlineData(2, 2), InlineData(2, 3)]
    public void Base64_around_a_credential_decodes_to_the_stand_in_at_every_alignment(int before, int after)
    {
        // 24, 25 and 26 bytes: each place within the last group of three.
        for (int length = 24; length <= 26; length++)
        {
            string credential = "sk-" + Credential[3..(length - 2)] + "Kz";
            string standIn = "sk-" + StandIn[3..(length - 2)] + "Kz";
            ScrubPatterns patterns = Patterns(credential, standIn);
            string prefix = "user:"[..before];
            string expected = prefix + standIn + "&after"[..after];
            string text = Base64(prefix + credential + "&after"[..after]);

            AssertBody(patterns, "t: " + text + "\n", "t: " + Base64(expected) + "\n");
            AssertBody(patterns, UrlSafe(text), UrlSafe(Base64(expected)));
            string bare = UrlSafe(text.TrimEnd('='));
            string scrubbed = Body(patterns, bare);
            Assert.Equal(UrlSafe(Base64(expected)).TrimEnd('='), UrlSafe(scrubbed).TrimEnd('='));
        }
    }

    [Fact]
    public void Base64_in_which_the_stand_in_has_another_length_still_decodes_around_it()
    {
        string[] standIns = ["stand-in-of-24-bytes-aaa", "stand-in-of-25-bytes-aaaa", "stand-in-of-26-bytes-aaaaa"];
        foreach (string standIn in standIns)
        {
            ScrubPatterns patterns = Patterns("token-of-24-bytes-012345", standIn);
            for (int before = 0; before < 3; before++)
            {
                string scrubbed = Body(patterns, Base64("user:"[..before] + "token-of-24-bytes-012345" + " and what follows"));
                string decoded = FromBase64(scrubbed);
                Assert.StartsWith("user:"[..before], decoded);
                // The first and the last character are shared with what is around.
                int filler = (48 - standIn.Length) % 3;
                Assert.Contains((standIn + new string('.', filler))[1..^1], decoded);
                Assert.EndsWith(" and what follows", decoded);
                Assert.Equal(before + standIn.Length + filler + " and what follows".Length, decoded.Length);
            }
        }
    }

    [Fact]
    public void Base64_that_ends_with_a_credential_decodes_to_the_stand_in_of_any_length()
    {
        string[] standIns = ["token-is-of-24-bytes-aaa", "token-is-of-25-bytes-aaaa", "token-is-of-26-bytes-aaaaa"];
        foreach (string standIn in standIns)
        {
            ScrubPatterns patterns = Patterns("token-of-25-bytes-0123456", standIn);
            foreach (string prefix in (string[])["", "abc", "k=", "ab=", "x-user:"])
            {
                string text = Base64(prefix + "token-of-25-bytes-0123456");
                if (!text.EndsWith('=')) continue;
                AssertBody(patterns, "<" + text + ">", "<" + Base64(prefix + standIn) + ">");
                // Without padding this may not be the end.
                string filler = new('.', (49 - standIn.Length) % 3);
                AssertBody(patterns, "<" + text.TrimEnd('=') + ">", "<" + Base64(prefix + standIn + filler).TrimEnd('=') + ">");
            }
        }
    }

    [Theory]
    [InlineData("x-access-token:", "")]
    [InlineData(":", "")]
    [InlineData("", ":")]
    public void Basic_credentials_become_exactly_those_of_the_stand_in(string before, string after)
    {
        foreach (string standIn in (string[])["0-stand-in", "1-stand-in-", "2-stand-in--"])
        {
            ScrubPatterns patterns = Patterns(Credential, standIn, "x-access-token", "");
            string sent = Base64(before + Credential + after);
            string expected = Base64(before + standIn + after);
            AssertBody(patterns, "\"Basic " + sent + "\"", "\"Basic " + expected + "\"");
            // Where nothing is escaped, nothing tells that it should be.
            string inQuery = sent.AsSpan().ContainsAny("+/=") ? Uri.EscapeDataString(expected) : expected;
            AssertBody(patterns, "q=" + Uri.EscapeDataString(sent) + "&", "q=" + inQuery + "&");
            Assert.Equal("Basic " + expected, patterns.ScrubHeader("Basic " + sent));
        }
    }

    [Fact]
    public void Base64_with_its_slashes_and_signs_escaped_is_replaced()
    {
        const string Key = "??>???>>?~~~~~~~~~";
        ScrubPatterns patterns = Patterns(Key, "aa?aa>aaaaaaaaaaaa");
        string text = Base64(Key);
        Assert.Contains('/', text);
        Assert.Contains('+', text);
        AssertBody(patterns, text.Replace("/", "\\/", StringComparison.Ordinal), Base64("aa?aa>aaaaaaaaaaaa"));
        AssertBody(patterns, text.Replace("+", "\\u002B", StringComparison.Ordinal), Base64("aa?aa>aaaaaaaaaaaa"));
        AssertBody(patterns, HtmlEncoder.Default.Encode(text), Base64("aa?aa>aaaaaaaaaaaa"));
        AssertBody(patterns, Uri.EscapeDataString(text), Uri.EscapeDataString(Base64("aa?aa>aaaaaaaaaaaa")));
        AssertBody(patterns, UrlSafe(text), UrlSafe(Base64("aa?aa>aaaaaaaaaaaa")));
        AssertBody(patterns, Percent(UrlSafe(text)), UrlSafe(Base64("aa?aa>aaaaaaaaaaaa")));
    }

    [Fact]
    public void Base64_that_begins_with_a_slash_or_sign_is_found_in_both_alphabets_and_escaped()
    {
        // 0xff in front: not a character of the API keys of today, but the form begins with '/'.
        const string Key = "\xff\xffx0123456789abcdef";
        ScrubPatterns patterns = Patterns(Key, "standIn-0123456789a");
        string text = Base64(Key);
        Assert.StartsWith("/", text);
        AssertBody(patterns, text, Base64("standIn-0123456789a"));
        AssertBody(patterns, UrlSafe(text), Base64("standIn-0123456789a"));
        AssertBody(patterns, Percent(UrlSafe(text)), Uri.EscapeDataString(Base64("standIn-0123456789a")));
        AssertBody(patterns, "\\" + text, Base64("standIn-0123456789a"));
        AssertBody(patterns, "&#x5F;" + UrlSafe(text)[1..], Base64("standIn-0123456789a"));
    }

    [Fact]
    public void A_credential_in_the_middle_of_URL_safe_base64_gets_URL_safe_characters()
    {
        ScrubPatterns patterns = Patterns("aa?bbbbbbbbbbbbbbb", "aa>ccccccccccccccc");
        Assert.Equal(UrlSafe(Base64("aa>ccccccccccccccc")), Body(patterns, UrlSafe(Base64("aa?bbbbbbbbbbbbbbb"))));
        Assert.Equal(Base64("aa>ccccccccccccccc"), Body(patterns, Base64("aa?bbbbbbbbbbbbbbb")));
    }

    [Fact]
    public void Basic_credentials_without_padding_are_taken_for_URL_safe_where_nothing_tells()
    {
        ScrubPatterns patterns = Patterns("0123456789abcdef", "aa?0123456789abc", "me");
        string text = Base64("me:0123456789abcdef");
        Assert.EndsWith("=", text);
        Assert.DoesNotContain('/', text);
        AssertBody(patterns, text, Base64("me:aa?0123456789abc"));
        AssertBody(patterns, text.TrimEnd('='), UrlSafe(Base64("me:aa?0123456789abc")).TrimEnd('='));
    }

    [Fact]
    public void A_stand_in_is_percent_encoded_where_the_credential_was()
    {
        ScrubPatterns patterns = Patterns("0123456789 abcdef", "123:AA/b");
        AssertBody(patterns, "0123456789 abcdef", "123:AA/b");
        AssertBody(patterns, "0123456789+abcdef", "123%3AAA%2Fb");
        AssertBody(patterns, "0123456789%20abcdef", "123%3AAA%2Fb");
        AssertBody(patterns, "0123456789\\u0020abcdef", "123:AA/b");
    }

    [Theory]
    [InlineData("SK-TE/T-0123456789AB")]
    [InlineData("sk-Te/t-0123456789A")]
    [InlineData("sk-Te/t-0123456789A%4")]
    [InlineData("sk-Te/t-0123456789A%43")]
    [InlineData("sk-Te/t-0123456789A\\u0142")]
    [InlineData("sk-Te/t-0123456789A\\B")]
    [InlineData("sk-Te%2Et-0123456789AB")]
    [InlineData("sk-Te&#47t-0123456789AB")]
    [InlineData("sk-Te&#0047;t-0123456789AB")]
    [InlineData("sk-Te&amp;t-0123456789AB")]
    [InlineData("sk-Te/t\n-0123456789AB")]
    public void What_is_no_form_of_the_credential_passes_unchanged(string text) =>
        AssertBody(Patterns("sk-Te/t-0123456789AB", StandIn), text, text);

    private static string Unicode(string text, string format) =>
        string.Concat(text.Select(c => "\\u" + ((int)c).ToString(format)));

    private static string LowerHex(string percent)
    {
        StringBuilder text = new(percent);
        for (int i = 0; i + 2 < text.Length; i++)
        {
            if (text[i] != '%') continue;
            text[i + 1] = char.ToLowerInvariant(text[i + 1]);
            text[i + 2] = char.ToLowerInvariant(text[i + 2]);
        }

        return text.ToString();
    }
}
