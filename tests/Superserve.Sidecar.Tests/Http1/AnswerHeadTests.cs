using Superserve.Sidecar.Http1;

namespace Superserve.Sidecar.Tests.Http1;

/// <summary>RFC 9112 section 6.3: how long an answer's body is, and whether another answer can follow.</summary>
public sealed class AnswerHeadTests
{
    [Theory]
    [InlineData("HTTP/1.1 200 OK", "", "UntilClose", true)]
    [InlineData("HTTP/1.1 200 OK", "Content-Length: 0", "Length 0", false)]
    [InlineData("HTTP/1.1 200 OK", "Content-Length: 5", "Length 5", false)]
    [InlineData("HTTP/1.1 200 OK", "content-length: 5|CONTENT-LENGTH: 5", "Length 5", false)]
    [InlineData("HTTP/1.1 200 OK", "Content-Length: 5|Connection: close", "Length 5", true)]
    [InlineData("HTTP/1.1 200 OK", "Content-Length: 5|Connection: keep-alive|Connection: x, Close", "Length 5", true)]
    [InlineData("HTTP/1.0 200 OK", "Content-Length: 5", "Length 5", true)]
    [InlineData("HTTP/1.0 200 OK", "Content-Length: 5|Connection: keep-alive", "Length 5", true)]
    [InlineData("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Chunked", false)]
    [InlineData("HTTP/1.1 200 OK", "transfer-encoding: CHUNKED", "Chunked", false)]
    [InlineData("HTTP/1.0 200 OK", "Transfer-Encoding: chunked", "Chunked", true)]
    [InlineData("HTTP/1.1 200 OK", "Transfer-Encoding: chunked|Content-Length: 5", "Chunked", true)]
    [InlineData("HTTP/1.1 200 OK", "Content-Length: 5|Transfer-Encoding: chunked", "Chunked", true)]
    [InlineData("HTTP/1.1 200 OK", "Transfer-Encoding: gzip", "UntilClose", true)]
    [InlineData("HTTP/1.1 200 OK", "Transfer-Encoding: gzip|Content-Length: 5", "UntilClose", true)]
    [InlineData("HTTP/1.1 204 No Content", "Content-Length: 5", "None", false)]
    [InlineData("HTTP/1.1 204 No Content", "Transfer-Encoding: chunked", "None", false)]
    [InlineData("HTTP/1.1 304 Not Modified", "Content-Length: 5", "None", false)]
    [InlineData("HTTP/1.1 304 Not Modified", "", "None", false)]
    [InlineData("HTTP/1.1 103 Early Hints", "Content-Length: 5", "None", false)]
    [InlineData("HTTP/1.1 205 Reset Content", "Content-Length: 0", "Length 0", false)]
    [InlineData("HTTP/1.1 999 Odd", "Content-Length: 1", "Length 1", false)]
    public void The_framing_follows_from_status_and_fields(string line, string fields, string framing, bool closes)
    {
        AnswerHead head = Read(line, fields, isHead: false);
        Assert.Equal((framing, closes), (head.Framing == BodyFraming.Length ? $"Length {head.Length}" : head.Framing.ToString(), head.Closes));
        head = Read(line, fields, isHead: true);
        Assert.Equal(BodyFraming.None, head.Framing);
    }

    [Theory]
    [InlineData("Transfer-Encoding: gzip, chunked")]
    [InlineData("Transfer-Encoding: chunked, gzip")]
    [InlineData("Transfer-Encoding: chunked|Transfer-Encoding: chunked")]
    [InlineData("Transfer-Encoding: gzip|Transfer-Encoding: chunked")]
    [InlineData("Transfer-Encoding: identity")]
    [InlineData("Transfer-Encoding:")]
    [InlineData("Transfer-Encoding: \vchunked")]
    [InlineData("Transfer-Encoding: chunked;x=y")]
    public void A_coding_beside_chunked_shows_where_encodings_are_judged(string fields)
    {
        AnswerHead head = Read("HTTP/1.1 200 OK", fields, isHead: false);
        Assert.Contains("transfer-encoding", head.Encoding, StringComparison.Ordinal);
        Assert.False(Superserve.Sidecar.Forwarding.AnswerBody.IsReadable(Superserve.Sidecar.Forwarding.AnswerBody.Encoding(head.Encoding)));
    }

    [Theory]
    [InlineData("Content-Length: 5|Content-Length: 6")]
    [InlineData("Content-Length: 5, 5")]
    [InlineData("Content-Length:")]
    [InlineData("Content-Length: -1")]
    [InlineData("Content-Length: 5|Content-Length: x")]
    public void Lengths_that_are_not_one_are_refused(string fields) => Assert.Throws<Http1FormatException>(() => Read("HTTP/1.1 200 OK", fields, isHead: false));

    [Fact]
    public void Lists_in_several_fields_are_one_list()
    {
        AnswerHead head = Read("HTTP/1.1 200 OK", "Connection: a|Content-Encoding: gzip|Connection: b|Content-Encoding: br|Upgrade: websocket", isHead: false);
        Assert.Equal(("a, b", "gzip, br", "websocket"), (head.Nominated, head.Encoding, head.Upgrade));
    }

    [Fact]
    public void Too_many_fields_are_refused()
    {
        Assert.Equal(200, Read("HTTP/1.1 200 OK", string.Join('|', Enumerable.Repeat("X: y", 200)), isHead: false).Status);
        Assert.Throws<Http1FormatException>(() => Read("HTTP/1.1 200 OK", string.Join('|', Enumerable.Repeat("X: y", 201)), isHead: false));
    }

    private static AnswerHead Read(string line, string fields, bool isHead) =>
        ServiceConnection.Read(Wire.Bytes($"{line}\r\n{string.Concat(fields.Split('|', StringSplitOptions.RemoveEmptyEntries).Select(field => field + "\r\n"))}\r\n"), isHead);
}
