using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Superserve.Operator.Admission;
using Superserve.Operator.AuditApi;
using Superserve.Operator.Tests.Support;
using Superserve.Testing;
using Microsoft.AspNetCore.Http;

namespace Superserve.Operator.Tests.AuditApi;

/// <summary>Whom the audit log's API believes about who asks: the API server, and nobody else.</summary>
public sealed class FrontProxyTests
{
    private static readonly DateTimeOffset Now = TimeProvider.System.GetUtcNow();

    public static TheoryData<string> Strangers => ["other CA", "own CA by name", "expired", "not yet valid", "server's", "other name", "two names", "no name", "self-signed", "the CA itself", "none"];

    [Theory]
    [InlineData("""["front-proxy-client"]""", true)]
    [InlineData("""["aggregator", "front-proxy-client"]""", true)]
    [InlineData("[]", true)]
    [InlineData(null, true)]
    [InlineData("""["aggregator"]""", false)]
    [InlineData("""["front-proxy"]""", false)]
    public void A_certificate_of_its_CA_is_accepted_by_its_name(string? allowed, bool accepted)
    {
        using ClientAuthority authority = new("front-proxy-ca");
        Assert.Equal(accepted, Trust(authority, allowed).Accepts(authority.Issue("front-proxy-client"), Now));
    }

    [Theory]
    [MemberData(nameof(Strangers))]
    public void No_other_certificate_is(string kind)
    {
        using ClientAuthority authority = new("front-proxy-ca"), other = new("front-proxy-ca");
        Assert.False(Trust(authority, """["front-proxy-client", "front-proxy-ca"]""").Accepts(Certificate(kind, authority, other), kind == "not yet valid" ? Now.AddDays(-25) : Now));
    }

    [Fact]
    public void An_empty_list_of_names_lets_nothing_in_but_the_CAs_own_certificates()
    {
        using ClientAuthority authority = new("front-proxy-ca"), other = new("front-proxy-ca");
        FrontProxyTrust trust = Trust(authority, "[]");
        foreach (string kind in Strangers.Select(row => row.Data).Except(["other name", "two names", "no name"]))
            Assert.False(trust.Accepts(Certificate(kind, authority, other), kind == "not yet valid" ? Now.AddDays(-25) : Now), kind);
    }

    [Theory]
    [InlineData("requestheader-client-ca-file", null)]
    [InlineData("requestheader-client-ca-file", "")]
    [InlineData("requestheader-client-ca-file", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----")]
    [InlineData("requestheader-allowed-names", "front-proxy-client")]
    [InlineData("requestheader-allowed-names", "{}")]
    [InlineData("requestheader-username-headers", "[]")]
    [InlineData("requestheader-username-headers", null)]
    public void What_does_not_say_whom_to_believe_is_not_used(string entry, string? value)
    {
        using ClientAuthority authority = new("front-proxy-ca");
        Dictionary<string, string> data = Data(authority, "[]");
        data.Remove(entry);
        if (value is not null) data[entry] = value;
        Assert.False(FrontProxyTrust.TryRead(data, out _, out string? problem));
        Assert.NotEmpty(problem);
    }

    [Fact]
    public void The_user_is_read_from_the_headers_that_the_API_server_names()
    {
        using ClientAuthority authority = new("front-proxy-ca");
        Dictionary<string, string> data = Data(authority, "[]");
        data["requestheader-username-headers"] = """["X-Who", "X-Remote-User"]""";
        data["requestheader-uid-headers"] = """["X-Remote-Uid"]""";
        Assert.True(FrontProxyTrust.TryRead(data, out FrontProxyTrust? trust, out _));
        HeaderDictionary headers = new()
        {
            ["x-remote-user"] = "ann",
            ["X-Remote-Uid"] = "u1",
            ["X-Remote-Group"] = new(["team:a,b", "", "system:authenticated"]),
            ["X-Remote-Extra-Scopes"] = new(["one", "two"]),
            ["X-Remote-Extra-Example.org%2fKey"] = "v",
            ["X-Other"] = "no",
        };
        Requester user = trust.ReadUser(headers)!;
        Assert.Equal(("ann", "u1"), (user.Name, user.Uid));
        Assert.Equal(["team:a,b", "system:authenticated"], user.Groups);
        Assert.Equal(["one", "two"], user.Extra["scopes"]);
        Assert.Equal(["v"], user.Extra["example.org/key"]);
        Assert.Equal(2, user.Extra.Count);
        headers["X-Who"] = "ben";
        Assert.Equal("ben", trust.ReadUser(headers)!.Name);
        Assert.Null(trust.ReadUser(new HeaderDictionary { ["X-Remote-Group"] = "system:masters" }));
    }

    [Theory]
    [MemberData(nameof(Strangers))]
    public async Task Nobody_else_is_answered_whoever_they_say_they_are(string kind)
    {
        await using AuditApiServer server = new();
        await server.InitializeAsync();
        await server.StartReadingAsync();
        using ClientAuthority other = new("front-proxy-ca");
        // TLS itself refuses none, so that the answer says why.
        X509Certificate2? certificate = kind == "not yet valid" ? null : Certificate(kind, server.Authority, other);
        foreach (string path in (string[])[AuditApiServer.Root, $"{AuditApiServer.Root}/secretrequests", "/openapi/v3", "/"])
        {
            (HttpStatusCode code, JsonObject body, string[] _) = await server.SendAsync(path, certificate, "ann", headers: [("X-Remote-Group", "system:masters")]);
            Assert.Equal((HttpStatusCode.Unauthorized, "Unauthorized", "Status"), (code, (string?)body["reason"], (string?)body["kind"]));
        }

        Assert.Empty(server.Service.Asked);
    }

    [Fact]
    public async Task Before_it_is_known_whom_to_believe_nobody_is()
    {
        await using AuditApiServer server = new();
        await server.InitializeAsync();
        (HttpStatusCode code, JsonObject body, string[] _) = await server.SendAsync(AuditApiServer.Root);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, code);
        Assert.Contains("extension-apiserver-authentication", (string)body["message"]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Another_CA_counts_as_soon_as_the_API_server_says_so_and_what_cannot_be_read_lets_nobody_in()
    {
        await using AuditApiServer server = new();
        await server.InitializeAsync();
        await server.StartReadingAsync();
        using ClientAuthority next = new("front-proxy-ca");
        await server.TrustAsync(next);
        await Eventually.True(() => Code(server, next) == HttpStatusCode.OK, "the new CA is believed");
        Assert.Equal(HttpStatusCode.Unauthorized, Code(server, server.Authority));

        await server.TrustAsync(next, "not a list");
        await Eventually.True(() => Code(server, next) == HttpStatusCode.ServiceUnavailable, "nobody is believed");
        Assert.Contains("extension-apiserver-authentication", server.Log.Text, StringComparison.Ordinal);

        static HttpStatusCode Code(AuditApiServer server, ClientAuthority authority) =>
            server.SendAsync(AuditApiServer.Root, authority.Issue("front-proxy-client"), "ann").GetAwaiter().GetResult().Code;
    }

    [Fact]
    public async Task The_API_server_has_to_say_who_asks()
    {
        await using AuditApiServer server = new();
        await server.InitializeAsync();
        await server.StartReadingAsync();
        Assert.Equal(HttpStatusCode.Unauthorized, (await server.SendAsync($"{AuditApiServer.Root}/namespaces/{Some.Namespace}/secretrequests", user: "")).Code);
    }

    private static X509Certificate2? Certificate(string kind, ClientAuthority authority, ClientAuthority other)
    {
        const string Name = "front-proxy-client", ServerAuthentication = "1.3.6.1.5.5.7.3.1";
        return kind switch
        {
            "other CA" or "own CA by name" => other.Issue(Name),
            "expired" => authority.Issue(Name, days: -1),
            "not yet valid" => authority.Issue(Name),
            "server's" => authority.Issue(Name, ServerAuthentication),
            "other name" => authority.Issue("somebody"),
            "two names" => authority.Issue("", subject: $"CN=somebody, CN={Name}"),
            "no name" => authority.Issue("", subject: $"O={Name}"),
            "self-signed" => other.Certificate,
            "the CA itself" => authority.Certificate,
            _ => null,
        };
    }

    private static FrontProxyTrust Trust(ClientAuthority authority, string? allowed)
    {
        Assert.True(FrontProxyTrust.TryRead(Data(authority, allowed), out FrontProxyTrust? trust, out string? problem), problem);
        return trust;
    }

    private static Dictionary<string, string> Data(ClientAuthority authority, string? allowed)
    {
        Dictionary<string, string> data = new()
        {
            ["requestheader-client-ca-file"] = authority.Pem,
            ["requestheader-username-headers"] = """["X-Remote-User"]""",
            ["requestheader-group-headers"] = """["X-Remote-Group"]""",
            ["requestheader-extra-headers-prefix"] = """["X-Remote-Extra-"]""",
        };
        if (allowed is not null) data["requestheader-allowed-names"] = allowed;
        return data;
    }
}
