using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Time.Testing;
using Superserve.Operator.Certificates;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Certificates;

/// <summary>The Secret with the audit service's certificate, which the leader keeps.</summary>
public sealed class AuditCertificateTests : CertificatesTest
{
    private const string Name = AuditCertificate.SecretName;

    private readonly FakeTimeProvider _time = new(TimeProvider.System.GetUtcNow());

    [Fact]
    public async Task It_is_made_for_the_Service_and_verifies_by_the_CA_beside_it()
    {
        await using Replica replica = await LeadAsync();
        using X509Certificate2 leaf = Leaf();
        Assert.Equal(replica.Serving.TrustBundle, Entry(Name, "ca.crt"));
        Assert.Equal("", Chains.Problem(leaf, Entry(Name, "ca.crt")!, _time.GetUtcNow()));
        foreach (string name in (string[])["superserve-audit", "superserve-audit.superserve-system.svc", "superserve-audit.superserve-system.svc.cluster.local", "localhost"])
            Assert.True(leaf.MatchesHostname(name), name);
        Assert.False(leaf.MatchesHostname("superserve-operator.superserve-system.svc"));
        Assert.Equal("kubernetes.io/tls", (string?)Secret(Name)!["type"]);
        Assert.DoesNotContain("PRIVATE", replica.Log.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task It_is_left_alone_while_it_is_good_and_made_anew_at_two_thirds_of_its_life()
    {
        await using (await LeadAsync())
        {
        }

        string? first = Entry(Name, "tls.crt");
        Server.Requests.Clear();
        await using Replica replica = await LeadAsync();
        _time.Advance(SigningAuthority.LeafLifetime / 2);
        await Eventually.Settle();
        Assert.Equal(first, Entry(Name, "tls.crt"));
        Assert.DoesNotContain(Server.Requests.All, request => request is { Resource: "secrets", Name: Name, Verb: "update" or "create" });
        await Eventually.True(() => Entry(Name, "tls.crt") != first, "it is made anew", _time, TimeSpan.FromHours(1));
        using X509Certificate2 leaf = Leaf();
        Assert.Equal("", Chains.Problem(leaf, Entry(Name, "ca.crt")!, _time.GetUtcNow()));
    }

    [Theory]
    [InlineData("""{"tls.key": null}""")]
    [InlineData("""{"tls.crt": "bm9uZQ=="}""")]
    [InlineData("""{"ca.crt": "bm9uZQ=="}""")]
    public async Task What_somebody_spoils_or_deletes_is_made_anew(string data)
    {
        await using Replica replica = await LeadAsync();
        string? first = Entry(Name, "tls.crt");
        await PatchSecretAsync(Name, data);
        await Eventually.True(() => Whole() && Entry(Name, "tls.crt") != first, "it is whole again");
        await DeleteSecretAsync(Name);
        await Eventually.True(() => Secret(Name) is not null && Whole(), "it is back");
        using X509Certificate2 leaf = Leaf();
        Assert.Equal("", Chains.Problem(leaf, replica.Serving.TrustBundle!, _time.GetUtcNow()));

        bool Whole() => Entry(Name, "tls.key") is not null && Entry(Name, "ca.crt") == replica.Serving.TrustBundle;
    }

    [Fact]
    public async Task It_follows_the_rotation_of_the_CA()
    {
        await using Replica replica = await LeadAsync();
        string? first = replica.Serving.TrustBundle;
        await Eventually.True(() => replica.Serving.TrustBundle != first && Entry(Name, "ca.crt") == replica.Serving.TrustBundle, "the CA has rotated", _time, TimeSpan.FromDays(2));
        await Eventually.True(() => Entry(Name, "tls.crt") is not null && Problem() == "", $"the certificate is of the new one");
        using X509Certificate2 leaf = Leaf();
        Assert.Equal(Chains.Parse(replica.Serving.TrustBundle!)[0].Subject, leaf.Issuer);

        string Problem()
        {
            using X509Certificate2 certificate = Leaf();
            return Chains.Problem(certificate, replica.Serving.TrustBundle!, _time.GetUtcNow());
        }
    }

    [Fact]
    public async Task The_APIService_gets_the_bundle_that_the_operators_certificate_verifies_by()
    {
        await Server.ApplyAsync(
            """
            apiVersion: apiregistration.k8s.io/v1
            kind: APIService
            metadata: {name: v1alpha1.audit.superserve.ai}
            spec: {group: audit.superserve.ai, version: v1alpha1, groupPriorityMinimum: 1000, versionPriority: 15, service: {name: superserve-operator, namespace: superserve-system, port: 16445}}
            """, "helm");
        await using Replica replica = await LeadAsync();
        await Eventually.True(() => Bundle() == Convert.ToBase64String(System.Text.Encoding.ASCII.GetBytes(replica.Serving.TrustBundle!)), "it has the bundle");
        JsonNode spec = ApiService()!["spec"]!;
        Assert.Equal(16445, (int)spec["service"]!["port"]!);

        JsonNode? ApiService() => Get("apiregistration.k8s.io/v1", "APIService", "v1alpha1.audit.superserve.ai");

        string? Bundle() => (string?)ApiService()!["spec"]!["caBundle"];
    }

    private async Task<Replica> LeadAsync()
    {
        Replica replica = await Replica.ServingAsync(Server, _time);
        replica.Lead();
        await Eventually.True(() => Entry(Name, "ca.crt") == replica.Serving.TrustBundle, "the certificate is there");
        return replica;
    }

    private X509Certificate2 Leaf() => X509Certificate2.CreateFromPem(Entry(Name, "tls.crt")!, Entry(Name, "tls.key")!);
}
