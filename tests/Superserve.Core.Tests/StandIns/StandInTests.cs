using System.Text;
using System.Text.RegularExpressions;
using FsCheck;
using FsCheck.Xunit;
using Superserve.Core.Providers;
using Superserve.Core.StandIns;
using static Superserve.Core.Tests.TestSecrets;
using Stand = Superserve.Core.StandIns.StandIn;

namespace Superserve.Core.Tests.StandIns;

public sealed class StandInTests
{
    private static readonly byte[] Key = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];

    private static readonly string[] Fields = ["agents", "5c1f", "GITHUB_TOKEN", "github", "uid-1", "uid-2"];

    private static string Derive(string shape, params string[] fields) => Stand.Derive(Key, Shape(shape), fields).Value;

    private static TokenShape Shape(string text)
    {
        Assert.True(TokenShape.TryParse(text, out TokenShape? shape, out string? error), error);
        return shape;
    }

    [Fact]
    public void The_same_key_and_fields_give_the_same_token_for_ever()
    {
        Assert.Equal(Derive("{base62:40}", Fields), Derive("{base62:40}", [.. Fields]));
        // Worked out by another program: a change would change the stand-ins of every running sandbox.
        Assert.Equal("superserve_qRFAuibH909aiMb7LcZNwzQTcmp23lCuyqr4PjCB", Stand.Derive(Key, TokenShape.Default, Fields).Value);
    }

    [Fact]
    public void Every_field_the_key_and_the_shape_make_another_token()
    {
        List<string> tokens = [Derive("{base62:40}", Fields), Derive("{base62:41}", Fields)[..40], Derive("{base62:40}", Fields[..5]), Derive("{base62:40}")];
        for (int i = 0; i < Fields.Length; i++)
        {
            string[] changed = [.. Fields];
            changed[i] += "x";
            tokens.Add(Derive("{base62:40}", changed));
        }

        byte[] other = [.. Key];
        other[^1]++;
        tokens.Add(Stand.Derive(other, Shape("{base62:40}"), Fields).Value);
        tokens.Add(Derive("{base62:40}", [.. Fields.Reverse()]));
        Assert.Equal(tokens.Count, tokens.Distinct().Count());
    }

    [Theory]
    [InlineData("ab", "c", "a", "bc")]
    [InlineData("abc", "", "", "abc")]
    [InlineData("a", "b", "a\0b", "")]
    public void Fields_do_not_run_into_each_other(string a, string b, string c, string d)
    {
        Assert.NotEqual(Derive("{hex:64}", a, b), Derive("{hex:64}", c, d));
        Assert.NotEqual(Derive("{hex:64}", a, b), Derive("{hex:64}", a + b));
    }

    [Fact]
    public void Fields_that_differ_in_one_non_ASCII_character_differ() => Assert.NotEqual(Derive("{hex:64}", "ü"), Derive("{hex:64}", "û"));

    [Fact]
    public void A_key_of_less_than_32_bytes_is_refused()
    {
        Assert.Equal("key", Assert.Throws<ArgumentException>(() => Stand.Derive([.. Key.Take(31)], TokenShape.Default, "x")).ParamName);
        Stand.Derive([.. Key, 0], TokenShape.Default, "x");
    }

    [Property]
    public bool A_token_has_its_providers_shape(NonNegativeInt which, NonNull<string> field)
    {
        Provider[] all = [.. ProviderCatalog.BuiltIn.Providers];
        TokenShape shape = all[which.Get % all.Length].Shape;
        string token = Stand.Derive(Key, shape, field.Get).Value;
        return Regex.IsMatch(token, Regular(shape.Text)) && Stand.TryCreate(token, out Stand? standIn, out _) && standIn.Matches(token);
    }

    private static string Regular(string shape) => "^" + string.Concat(Regex.Matches(shape, @"[^{]+|\{([a-z0-9-]+):?([0-9]*)\}").Select(part => part.Groups[1].Value switch
    {
        "" => Regex.Escape(part.Value),
        "digits" => $"[0-9]{{{part.Groups[2]}}}",
        "hex" => $"[0-9a-f]{{{part.Groups[2]}}}",
        "upper-hex" => $"[0-9A-F]{{{part.Groups[2]}}}",
        "base32" => $"[a-z2-7]{{{part.Groups[2]}}}",
        "base36" => $"[0-9a-z]{{{part.Groups[2]}}}",
        "upper36" => $"[0-9A-Z]{{{part.Groups[2]}}}",
        "lower" => $"[a-z]{{{part.Groups[2]}}}",
        "letters" => $"[A-Za-z]{{{part.Groups[2]}}}",
        "base62" => $"[0-9A-Za-z]{{{part.Groups[2]}}}",
        "base64url" => $"[0-9A-Za-z_-]{{{part.Groups[2]}}}",
        "crc32" => "[0-9A-Za-z]{6}",
        _ => throw new FormatException(part.Value),
    })) + "$";

    [Theory]
    [InlineData("{digits:40}", 10)]
    [InlineData("{hex:32}", 16)]
    [InlineData("{upper-hex:32}", 16)]
    [InlineData("{base32:30}", 32)]
    [InlineData("{base36:30}", 36)]
    [InlineData("{upper36:30}", 36)]
    [InlineData("{lower:30}", 26)]
    [InlineData("{letters:30}", 52)]
    [InlineData("{base62:30}", 62)]
    [InlineData("{base64url:30}", 64)]
    public void Every_character_of_an_alphabet_is_about_equally_likely(string shape, int size)
    {
        Dictionary<char, int> counts = [];
        int total = 0;
        for (int i = 0; i < 500; i++)
        {
            string token = Derive(shape, i.ToString());
            Assert.Matches(Regular(shape), token);
            foreach (char c in token) counts[c] = counts.GetValueOrDefault(c) + 1;
            total += token.Length;
        }

        double expected = (double)total / size;
        Assert.Equal(size, counts.Count);
        // Seven standard deviations: a fixed input, so this holds for ever or never.
        Assert.All(counts.Values, count => Assert.InRange(count, expected - 7 * Math.Sqrt(expected), expected + 7 * Math.Sqrt(expected)));
        Assert.Equal(total / 500 * Math.Log2(size), Shape(shape).EntropyBits, 6);
    }

    [Fact]
    public void A_long_token_does_not_repeat_itself()
    {
        string token = Derive("{hex:512}", "x");
        Assert.Equal(512, token.Length);
        Assert.Equal(16, token.Chunk(32).Select(c => new string(c)).Distinct().Count());
    }

    [Theory]
    [InlineData("github", "ghp_")]
    [InlineData("npm", "npm_")]
    public void A_token_of_GitHub_or_npm_ends_with_its_checksum(string provider, string prefix)
    {
        Assert.True(ProviderCatalog.BuiltIn.TryGet(provider, out Provider? known));
        for (int i = 0; i < 200; i++)
        {
            string token = Stand.Derive(Key, known.Shape, i.ToString()).Value;
            Assert.Equal(prefix, token[..4]);
            Assert.Equal(40, token.Length);
            Assert.Equal(Base62(Crc32(token[4..34])), token[34..]);
        }
    }

    [Fact]
    public void The_independent_checksum_is_the_standard_one()
    {
        Assert.Equal(0xCBF43926u, Crc32("123456789"));
        Assert.Equal("00000z", Base62(61));
    }

    private static uint Crc32(string text)
    {
        // Long division of the reversed bits, table-driven: not the product's loop.
        uint[] table = [.. Enumerable.Range(0, 256).Select(n => Enumerable.Range(0, 8).Aggregate((uint)n, (c, _) => (c & 1) == 1 ? 0xEDB88320 ^ (c >> 1) : c >> 1))];
        return Encoding.ASCII.GetBytes(text).Aggregate(0xFFFFFFFF, (crc, b) => table[(crc ^ b) & 0xFF] ^ (crc >> 8)) ^ 0xFFFFFFFF;
    }

    private static string Base62(uint number)
    {
        const string Digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        string text = "";
        for (; number > 0; number /= 62) text = Digits[(int)(number % 62)] + text;
        return text.PadLeft(6, '0');
    }

    [Fact]
    public void Comparison_is_exact_and_with_case()
    {
        Stand standIn = StandIn(A);
        Assert.True(standIn.Matches(A));
        Assert.True(standIn.Matches(new string(A.ToCharArray())));
        Assert.False(standIn.Matches(A.ToUpperInvariant()));
        Assert.False(standIn.Matches(A.AsSpan(0, A.Length - 1)));
        Assert.False(standIn.Matches(A + "x"));
        Assert.False(standIn.Matches(""));
        for (int i = 0; i < A.Length; i++)
        {
            foreach (int bit in (int[])[1, 0x20, 0x80, 0x100])
            {
                char[] other = A.ToCharArray();
                other[i] ^= (char)bit;
                Assert.False(standIn.Matches(other));
            }
        }
    }

    [Fact]
    public void A_stand_in_never_shows_itself()
    {
        Assert.Equal("[stand-in]", StandIn(A).ToString());
        Assert.DoesNotContain(A, $"{SecretA(BearerAuth)}");
    }

    [Theory]
    [InlineData("0123456789abcdef", null)]
    [InlineData("AZaz09-_.:~AZaz09", null)]
    [InlineData("0123456789abcde", "a stand-in has 16 to 512 characters")]
    [InlineData("", "a stand-in has 16 to 512 characters")]
    [InlineData("0123456789abcde ", "a stand-in holds letters, digits and - _ . : ~ only, so that it is safe in URLs and headers")]
    [InlineData("0123456789abcde%", "a stand-in holds letters")]
    [InlineData("0123456789abcde/", "a stand-in holds letters")]
    [InlineData("0123456789abcde+", "a stand-in holds letters")]
    [InlineData("0123456789abcdeé", "a stand-in holds letters")]
    [InlineData("0123456789abcde\n", "a stand-in holds letters")]
    public void A_stand_in_of_the_owners_is_checked(string text, string? expected)
    {
        Assert.Equal(expected is null, Stand.TryCreate(text, out Stand? standIn, out string? error));
        if (expected is null) Assert.Equal(text, standIn!.Value);
        else Assert.StartsWith(expected, error);
        Assert.Equal(expected is null, error is null);
        Assert.Equal(expected is null, standIn is not null);
    }

    [Fact]
    public void A_stand_in_has_at_most_512_characters()
    {
        Assert.True(Stand.TryCreate(new string('a', 512), out _, out _));
        Assert.False(Stand.TryCreate(new string('a', 513), out _, out string? error));
        Assert.Equal("a stand-in has 16 to 512 characters", error);
    }

    [Theory]
    [InlineData("", "a token of the shape '' holds 0 random bits; at least 128 are needed")]
    [InlineData("ghp_", "holds 0 random bits")]
    [InlineData("{hex:31}", "holds 124 random bits")]
    [InlineData("{base62:21}", "holds 125 random bits")]
    [InlineData("{hex:0}", "'{hex:0}' is no run of characters; write one as {base62:40}")]
    [InlineData("{hex:513}", "'{hex:513}' is no run")]
    [InlineData("{hex:-1}", "'{hex:-1}' is no run")]
    [InlineData("{hex: 32}", "'{hex: 32}' is no run")]
    [InlineData("{hex:32:1}", "'{hex:32:1}' is no run")]
    [InlineData("{hex}", "'{hex}' is no run")]
    [InlineData("{HEX:32}", "'{HEX:32}' is no run")]
    [InlineData("{octal:64}", "'{octal:64}' is no run")]
    [InlineData("{}", "'{}' is no run")]
    [InlineData("{hex:32", "'{}' is no run")]
    [InlineData("{crc32}{hex:64}", "'{crc32}' is no run")]
    [InlineData("ghp_{crc32}{hex:64}", "'{crc32}' is no run")]
    [InlineData("{hex:64}x{crc32}", "'{crc32}' is no run")]
    [InlineData("{hex:64}{crc32}{crc32}", "'{crc32}' is no run")]
    [InlineData("a b{hex:64}", "' ' in a token is not safe in URLs and headers")]
    [InlineData("a}{hex:64}", "'}' in a token is not safe")]
    [InlineData("a/{hex:64}", "'/' in a token is not safe")]
    [InlineData("{hex:512}x", "a token is longer than 512 characters")]
    [InlineData("{hex:507}{crc32}", "a token is longer than 512 characters")]
    public void A_shape_that_is_none_is_refused(string text, string expected)
    {
        Assert.False(TokenShape.TryParse(text, out TokenShape? shape, out string? error));
        Assert.Null(shape);
        Assert.Contains(expected, error);
    }

    [Theory]
    [InlineData("{hex:32}", 128, 32)]
    [InlineData("a-_.:~Z9{hex:32}", 128, 40)]
    [InlineData("{hex:512}", 2048, 512)]
    [InlineData("{hex:506}{crc32}", 2024, 512)]
    [InlineData("x_{hex:16}-{digits:30}.y", 163.658, 51)]
    public void A_shape_counts_its_random_bits_and_its_length(string text, double bits, int length)
    {
        Assert.Equal(bits, Shape(text).EntropyBits, 3);
        Assert.Equal(length, Derive(text, "x").Length);
        Assert.Equal(text, Shape(text).ToString());
        Assert.Equal(text, Shape(text).Text);
    }

    [Fact]
    public void A_secret_without_a_provider_has_a_shape_of_the_products() => Assert.Equal("superserve_{base62:40}", TokenShape.Default.Text);
}
