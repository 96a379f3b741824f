using System.Buffers;
using System.Text;
using Superserve.Sidecar.Proxy;

namespace Superserve.Sidecar.Tests;

/// <summary>What first bytes are taken for. What a service could take for a request must not pass as something else.</summary>
public sealed class FirstBytesTests
{
    private static readonly string Long = new('a', 20_000);

    public static TheoryData<string> OddRequests =>
    [
        "GET / HTTP/1.1\r\n", "get / HTTP/1.1\r\n", "PROPFIND / HTTP/1.1\n",
        // nginx takes spaces behind the version, Python's server any white space between the words and ahead of them.
        "PROPFIND / HTTP/1.1 \r\n", "PROPFIND / HTTP/1.1\t\r\n", "GET\t/\tHTTP/1.1\r\n", "FOO\t/\tHTTP/1.1\r\n", " GET / HTTP/1.1\r\n", "\r\n\t FOO / HTTP/1.1\r\n", "GET\t/\n",
        // Go's server takes any method, and lines of a megabyte.
        $"FOO /{Long}", $"FOO http://free.example.net/{Long}", $"GET {Long}",
    ];

    [Theory]
    [MemberData(nameof(OddRequests))]
    public void A_request_is_one_however_it_is_written(string text) => Assert.Equal(FirstBytesKind.Http1, Judge(Encoding.ASCII.GetBytes(text)).Kind);

    [Theory]
    [InlineData("*1\r\n$4\r\nPING\r\n")]
    [InlineData("EHLO here\r\n")]
    [InlineData("SSH-2.0-client\r\n")]
    [InlineData("SET key value\r\n")]
    [InlineData(" x\r\n")]
    public void Other_protocols_are_none(string text) => Assert.Equal(FirstBytesKind.Opaque, Judge(Encoding.ASCII.GetBytes(text)).Kind);

    [Fact]
    public void A_hello_has_one_server_name()
    {
        byte[] one = ServerName("free.example.net"), two = ServerName("evil.example.org");
        Assert.Equal(new FirstBytes(FirstBytesKind.Tls, "free.example.net"), Judge(Hello([.. Extension(one)])));
        // Which of several counts depends on who reads them.
        Assert.Equal(FirstBytesKind.Malformed, Judge(Hello([.. Extension(one), .. Extension(two)])).Kind);
        Assert.Equal(FirstBytesKind.Malformed, Judge(Hello([.. Extension([.. one, .. two])])).Kind);
    }

    private static FirstBytes Judge(byte[] bytes) => FirstBytes.Judge(new ReadOnlySequence<byte>(bytes));

    private static byte[] Extension(byte[] names) => [0, 0, .. Vector([.. Vector(names)])];

    private static byte[] ServerName(string name) => [0, .. Vector(Encoding.ASCII.GetBytes(name))];

    private static byte[] Vector(byte[] body) => [(byte)(body.Length >> 8), (byte)body.Length, .. body];

    private static byte[] Hello(byte[] extensions)
    {
        byte[] body = [3, 3, .. new byte[32], 0, .. Vector([0x13, 1]), 1, 0, .. Vector(extensions)];
        return [0x16, 3, 1, .. Vector([1, 0, .. Vector(body)])];
    }
}
