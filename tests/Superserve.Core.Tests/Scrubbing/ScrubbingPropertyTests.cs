using System.Text;
using FsCheck.Xunit;
using Superserve.Core.Scrubbing;
using static Superserve.Core.Tests.Scrubbing.ScrubText;

namespace Superserve.Core.Tests.Scrubbing;

/// <summary>Bodies of pieces that are or nearly are forms, in random chunks, against a slow reading of the rules.</summary>
public sealed class ScrubbingPropertyTests
{
    private static readonly Case[] Cases =
    [
        new("sk-0123456789abcdef", "sk-STANDIN-01234567", "user"),
        new("abaababaabaababaababa", "STANDIN-STANDIN-STAND", ""),
        new("aaaaaaaaaaaaaaaaaaaaaaa", "STANDIN-STANDIN-STANDIN"),
        new("?>~/+= ?'<&u0061;x2e-\\\"", "STANDIN-STANDIN-STANDIN", "a>b?"),
        new("\u00e9\u00c3\u00a9\u00e6\u0097\u00a5\u00f0\u009d\u0084\u009e-01234", "STANDIN-STANDIN-", "\u00e9"),
    ];

    [Property(MaxTest = 400)]
    public void Chunks_give_what_the_whole_body_gives_by_the_plain_rules(byte which, byte[] pieces, byte[] cuts)
    {
        Case tried = Cases[which % Cases.Length];
        string body = string.Concat(pieces.Take(40).Select(tried.Piece));
        string expected = tried.Oracle.Scrub(body);
        Assert.Equal(expected, Body(tried.Patterns, body));
        Assert.Equal(expected, Body(tried.Patterns, Cut(body, cuts)));
        Assert.Equal(expected, tried.Patterns.ScrubHeader(body));
    }

    [Property(MaxTest = 200)]
    public void Random_bytes_pass_in_random_chunks(byte which, byte[] bytes, byte[] cuts)
    {
        Case tried = Cases[which % Cases.Length];
        string body = Encoding.Latin1.GetString(bytes);
        Assert.Equal(tried.Oracle.Scrub(body), Body(tried.Patterns, Cut(body, cuts)));
    }

    [Property(MaxTest = 200)]
    public void Any_credential_is_replaced_in_any_mixture_of_escapes(byte[] credential, byte[] escapes, byte cut)
    {
        string secret = new([.. credential.Select(b => (char)(0x20 + (b % 0x5f))).Append('!')]);
        if (secret.Length < 16) secret = secret.PadRight(16, '0');
        bool escapesItself = secret.AsSpan().ContainsAny("%\\&");
        if (escapes.Length == 0) escapes = [0];
        string form = string.Concat(secret.Select((c, i) => Escape(c, escapes[i % escapes.Length], escapesItself)));
        string body = "\n" + form + "\n";
        string expected = "\nstand-in\n";
        int at = cut % body.Length;
        Assert.Equal(expected, Body(Patterns(secret, "stand-in"), body[..at], body[at..]));
    }

    private static IEnumerable<string> Cut(string body, byte[] cuts)
    {
        for (int at = 0, i = 0; at < body.Length; i++)
        {
            // Empty chunks too, but not for ever.
            int length = i < cuts.Length ? cuts[i] % 48 : cuts.Length == 0 ? 1 : Math.Max(1, cuts[i % cuts.Length] % 48);
            length = Math.Min(length, body.Length - at);
            yield return body.Substring(at, length);
            at += length;
        }
    }

    private static string Escape(char c, byte how, bool always) => (how % 6) switch
    {
        0 => $"%{(int)c:x2}",
        1 => $"%{(int)c:X2}",
        2 => $"\\u{(int)c:X4}",
        3 => $"&#{(int)c};",
        4 => $"\\x{(int)c:x2}",
        _ => always ? $"&#x{(int)c:X};" : c.ToString(),
    };

    private sealed class Case
    {
        private readonly string[] _pieces;

        public Case(string credential, string standIn, params string[] users)
        {
            byte[] bytes = Bytes(credential);
            Patterns = ScrubPatterns.Create([new ScrubPair(bytes, Bytes(standIn), users)]);
            Oracle = new ScrubOracle(credential, standIn, users);

            List<string> forms = [credential, Percent(credential), Percent(credential, upper: false)];
            forms.Add(string.Concat(credential.Select(c => $"\\u{(int)c:X4}")));
            forms.Add(string.Concat(credential.Select((c, i) => i % 2 == 0 ? c.ToString() : $"%{(int)c:x2}")));
            forms.Add(System.Text.Json.JsonSerializer.Serialize(Encoding.UTF8.GetString(bytes)));
            forms.Add(credential.Replace("&", "&amp;", StringComparison.Ordinal).Replace("<", "&lt;", StringComparison.Ordinal));
            IEnumerable<string> basic = users.Select(u => Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(u)) + ":");
            foreach (string prefix in (string[])["", "x", "xy", .. basic])
            {
                foreach (string suffix in (string[])["", ":", "zz"])
                {
                    string text = Base64(prefix + credential + suffix);
                    forms.AddRange([text, text.TrimEnd('='), UrlSafe(text), Uri.EscapeDataString(text)]);
                }
            }

            // Each form whole, without its end, without its beginning, and its beginnings.
            _pieces =
            [
                .. forms, .. forms, .. forms.Select(f => f[..^1]), .. forms.Select(f => f[1..]),
                .. forms.Select(f => f[..4]), .. forms.Select(f => f[(f.Length / 2)..]),
                "%", "\\", "&", "\\u00", "&#", "=", "a", " ", "\n", "%7",
            ];
        }

        public ScrubPatterns Patterns { get; }

        public ScrubOracle Oracle { get; }

        public string Piece(byte choice) => _pieces[choice * 31 % _pieces.Length];
    }
}
