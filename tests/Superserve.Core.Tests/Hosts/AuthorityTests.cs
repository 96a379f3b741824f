using System.Net;
using Superserve.Core.Hosts;

namespace Superserve.Core.Tests.Hosts;

public sealed class AuthorityTests
{
    [Theory]
    [InlineData("api.example.com", "api.example.com", 443)]
    [InlineData("API.Example.COM", "api.example.com", 443)]
    [InlineData("api.example.com.", "api.example.com", 443)]
    [InlineData("api.example.com.:8443", "api.example.com", 8443)]
    [InlineData("api.example.com:1", "api.example.com", 1)]
    [InlineData("api.example.com:65535", "api.example.com", 65535)]
    [InlineData("api.example.com:0080", "api.example.com", 80)]
    [InlineData("localhost:80", "localhost", 80)]
    [InlineData("my_service.example", "my_service.example", 443)]
    [InlineData("xn--bcher-kva.example", "xn--bcher-kva.example", 443)]
    [InlineData("1.example.com", "1.example.com", 443)]
    [InlineData("0x7g", "0x7g", 443)]
    [InlineData("-1", "-1", 443)]
    [InlineData("a.0xg", "a.0xg", 443)]
    [InlineData("a.1x", "a.1x", 443)]
    [InlineData("a.x1", "a.x1", 443)]
    public void A_name_is_read_in_canonical_form(string text, string host, int port)
    {
        Assert.True(Authority.TryParse(text, 443, out Authority authority));
        Assert.Equal(new Authority(host, null, port), authority);
        Assert.True(authority.IsName);
        Assert.Equal($"{host}:{port}", authority.ToString());
    }

    [Theory]
    [InlineData("127.0.0.1", "127.0.0.1")]
    [InlineData("2130706433", "127.0.0.1")]
    [InlineData("0x7f000001", "127.0.0.1")]
    [InlineData("0X7F000001", "127.0.0.1")]
    [InlineData("0x7f.1", "127.0.0.1")]
    [InlineData("127.1", "127.0.0.1")]
    [InlineData("127.0.1", "127.0.0.1")]
    [InlineData("0177.0.0.1", "127.0.0.1")]
    [InlineData("017700000001", "127.0.0.1")]
    [InlineData("0xa9.0xfe.0xa9.0xfe", "169.254.169.254")]
    [InlineData("2852039166", "169.254.169.254")]
    public void An_address_is_read_in_every_spelling_that_a_resolver_takes(string text, string address)
    {
        Assert.True(Authority.TryParse(text + ":8080", 443, out Authority authority));
        Assert.Equal(new Authority(address, IPAddress.Parse(address), 8080), authority);
        Assert.False(authority.IsName);
        Assert.False(HostName.TryCanonicalize(text, out _));
        Assert.False(HostName.TryCanonicalize(text + ".", out _));
    }

    [Theory]
    [InlineData("[::1]", "::1", 443)]
    [InlineData("[::1]:8443", "::1", 8443)]
    [InlineData("[2001:DB8:0:0::1]:1", "2001:db8::1", 1)]
    [InlineData("[::ffff:1.2.3.4]", "::ffff:1.2.3.4", 443)]
    [InlineData("[1111:2222:3333:4444:5555:6666:123.123.123.123]", "1111:2222:3333:4444:5555:6666:7b7b:7b7b", 443)]
    public void An_IPv6_address_stands_in_brackets(string text, string host, int port)
    {
        Assert.True(Authority.TryParse(text, 443, out Authority authority));
        Assert.Equal(new Authority(host, IPAddress.Parse(host), port), authority);
        Assert.Equal($"[{host}]:{port}", authority.ToString());
    }

    [Theory]
    [InlineData("")]
    [InlineData(":443")]
    [InlineData(".")]
    [InlineData("..")]
    [InlineData("a..")]
    [InlineData("a..b")]
    [InlineData(".a")]
    [InlineData("user@api.example.com")]
    [InlineData("user:password@api.example.com")]
    [InlineData("user@api.example.com:443")]
    [InlineData("api.example.com:")]
    [InlineData("api.example.com:0")]
    [InlineData("api.example.com:65536")]
    [InlineData("api.example.com:4294967739")]
    [InlineData("api.example.com:-443")]
    [InlineData("api.example.com:+443")]
    [InlineData("api.example.com:443 ")]
    [InlineData("api.example.com: 443")]
    [InlineData("api.example.com:443:443")]
    [InlineData("api.example.com/")]
    [InlineData("api.example.com?x")]
    [InlineData("api.example.com#x")]
    [InlineData("api example.com")]
    [InlineData(" api.example.com")]
    [InlineData("api.example.com\t")]
    [InlineData("api.example.com\0")]
    [InlineData("api%2eexample.com")]
    [InlineData("bücher.example")]
    [InlineData("a,b")]
    [InlineData("*.example.com")]
    [InlineData("::1")]
    [InlineData("::1:443")]
    [InlineData("[::1")]
    [InlineData("[::1]x")]
    [InlineData("[::1]443")]
    [InlineData("[::1]:")]
    [InlineData("[::1]:0")]
    [InlineData("[::1]:65536")]
    [InlineData("[]")]
    [InlineData("[127.0.0.1]")]
    [InlineData("[api.example.com]")]
    [InlineData("[fe80::1%eth0]")]
    [InlineData("[fe80::1%25eth0]")]
    [InlineData("[fe80::1%1]:443")]
    [InlineData("[[::1]]")]
    [InlineData("[::1/64]")]
    [InlineData("127.0.0.1.")]
    [InlineData("256.0.0.1")]
    [InlineData("1.2.3.4.5")]
    [InlineData("127.0.0.08")]
    [InlineData("0x")]
    [InlineData("a.0x")]
    [InlineData("a.0X")]
    [InlineData("a.b.0x7f")]
    [InlineData("a.b.0")]
    [InlineData("4294967296")]
    public void What_is_neither_is_refused(string text)
    {
        Assert.False(Authority.TryParse(text, 443, out Authority authority));
        Assert.Equal(default, authority);
    }

    [Fact]
    public void A_name_has_at_most_253_characters_and_labels_of_63()
    {
        string label = new('a', 63);
        string longest = $"{label}.{label}.{label}.{new string('B', 61)}";
        Assert.True(HostName.TryCanonicalize(longest, out string? name));
        Assert.Equal(longest.ToLowerInvariant(), name);
        Assert.True(HostName.TryCanonicalize(longest + ".", out _));
        Assert.False(HostName.TryCanonicalize(longest + "b", out _));
        Assert.False(HostName.TryCanonicalize(label + "a.test", out _));
        Assert.False(HostName.TryCanonicalize("test." + label + "a", out _));
    }

    [Fact]
    public void A_name_without_upper_case_keeps_its_text_and_one_with_it_all_its_characters()
    {
        Assert.True(HostName.TryCanonicalize("a-1_b.Z9", out string? name));
        Assert.Equal("a-1_b.z9", name);
    }

    [Theory]
    [InlineData("::1", true)]
    [InlineData("fe80::1", true)]
    [InlineData("fe80::1%eth0", false)]
    [InlineData("[::1]", false)]
    [InlineData("", false)]
    [InlineData("api.example.com", false)]
    [InlineData("00000000000000000000000000000000000000000000001", false)]
    public void A_bare_address_is_read_without_zone_and_brackets(string text, bool isAddress)
    {
        Assert.Equal(isAddress, HostName.TryParseAddress(text, out _));
        Assert.Equal(isAddress, Authority.TryCreate(text, 80, out Authority authority) && !authority.IsName);
    }
}
