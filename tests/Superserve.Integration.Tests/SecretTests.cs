using System.Text.Json.Nodes;

namespace Superserve.Integration.Tests;

/// <summary>What the operator says of Superserve Secrets.</summary>
public sealed class SecretTests(TestCluster cluster)
{
    [Fact]
    public async Task A_secret_with_a_credential_is_ready_and_says_where_it_goes()
    {
        await using TestNamespace ns = await cluster.NewNamespaceAsync();
        await ns.CredentialAsync("credentials", "token", "the-first-credential");
        await ns.SecretAsync("service");
        JsonNode secret = await ns.ReasonAsync("ssec", "service", "Ready");
        Assert.Equal("True", (string?)TestNamespace.Ready(secret)!["status"]);
        Assert.Equal("bearer", (string?)secret["status"]!["authType"]);
        Assert.Equal("api.example.com", (string?)secret["status"]!["hosts"]![0]);
        Assert.Equal((long)secret["metadata"]!["generation"]!, (long)secret["status"]!["observedGeneration"]!);
        Assert.Contains("api.example.com", await ns.EventAsync("service", "Ready"), StringComparison.Ordinal);
        await ns.RunAsync("wait", "ssec/service", "--for=condition=Ready", "--timeout=10s");
    }

    [Fact]
    public async Task A_provider_brings_its_hosts()
    {
        await using TestNamespace ns = await cluster.NewNamespaceAsync();
        await ns.CredentialAsync("credentials", "token", "the-first-credential");
        await ns.ApplyAsync("""
            apiVersion: superserve.ai/v1alpha1
            kind: Secret
            metadata: {name: claude}
            spec: {valueFrom: {secretKeyRef: {name: credentials, key: token}}, provider: anthropic}
            """);
        JsonNode secret = await ns.ReasonAsync("ssec", "claude", "Ready");
        Assert.Equal("api.anthropic.com", (string?)secret["status"]!["hosts"]![0]);
        string[] row = (await ns.RunAsync("get", "ssec", "claude", "--no-headers")).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["claude", "True", "Ready"], row[..3]);
        Assert.Contains("api.anthropic.com", row);
    }

    [Fact]
    public async Task A_core_Secret_that_is_missing_is_told_and_its_coming_is_noticed()
    {
        await using TestNamespace ns = await cluster.NewNamespaceAsync();
        await ns.SecretAsync("service");
        JsonNode secret = await ns.ReasonAsync("ssec", "service", "CredentialMissing");
        Assert.Equal("False", (string?)TestNamespace.Ready(secret)!["status"]);
        Assert.Contains("kubectl create secret generic credentials", TestNamespace.Message(secret), StringComparison.Ordinal);
        Assert.Contains("there is no core Secret credentials", await ns.EventAsync("service", "CredentialMissing"), StringComparison.Ordinal);

        await ns.CredentialAsync("credentials", "token", "the-first-credential");
        await ns.ReasonAsync("ssec", "service", "Ready");
        await ns.RunAsync("delete", "secret", "credentials");
        await ns.ReasonAsync("ssec", "service", "CredentialMissing");
    }

    [Fact]
    public async Task A_key_that_vanishes_is_told_and_its_return_is_noticed()
    {
        await using TestNamespace ns = await cluster.NewNamespaceAsync();
        await ns.CredentialAsync("credentials", "token", "the-first-credential");
        await ns.SecretAsync("service");
        await ns.ReasonAsync("ssec", "service", "Ready");
        await ns.RunAsync("patch", "secret", "credentials", "--type=json", "-p", """[{"op": "remove", "path": "/data/token"}, {"op": "add", "path": "/data", "value": {"other": "eA=="}}]""");
        JsonNode secret = await ns.ReasonAsync("ssec", "service", "CredentialKeyMissing");
        Assert.Contains("it has other", TestNamespace.Message(secret), StringComparison.Ordinal);
        await ns.RunAsync("patch", "secret", "credentials", "--type=merge", "-p", """{"stringData": {"token": "the-second-credential"}}""");
        await ns.ReasonAsync("ssec", "service", "Ready");
    }

    public static TheoryData<string, byte[], string> BadCredentials => new()
    {
        { "empty", [], "is empty" },
        { "a newline alone", "\n"u8.ToArray(), "is empty" },
        { "9 KiB", [.. Enumerable.Repeat((byte)'x', 9 * 1024)], "8192 bytes" },
        { "binary", [1, 2, 3, 0, 255], "control character" },
        { "two lines", "first\nsecond"u8.ToArray(), "control character" },
    };

    [Theory]
    [MemberData(nameof(BadCredentials))]
    public async Task A_credential_that_no_request_can_carry_is_told(string what, byte[] value, string words)
    {
        Assert.NotEmpty(what);
        await using TestNamespace ns = await cluster.NewNamespaceAsync();
        await ns.CredentialAsync("credentials", "token", value);
        await ns.SecretAsync("service");
        Assert.Contains(words, TestNamespace.Message(await ns.ReasonAsync("ssec", "service", "CredentialInvalid")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_rotation_is_told_and_an_edit_of_something_else_is_not()
    {
        await using TestNamespace ns = await cluster.NewNamespaceAsync();
        await ns.CredentialAsync("credentials", "token", "the-first-credential");
        await ns.SecretAsync("service");
        JsonNode before = await ns.ReasonAsync("ssec", "service", "Ready");
        Assert.NotNull((string?)before["status"]!["lastRotatedAt"]);

        // Something else in the core Secret: no rotation, and no write either.
        await ns.RunAsync("label", "secret", "credentials", "owner=somebody");
        await ns.RunAsync("patch", "secret", "credentials", "--type=merge", "-p", """{"stringData": {"other": "value"}}""");
        await ns.SecretAsync("another");
        await ns.ReasonAsync("ssec", "another", "Ready");
        JsonNode same = await ns.GetAsync("ssec", "service");
        Assert.Equal((string?)before["metadata"]!["resourceVersion"], (string?)same["metadata"]!["resourceVersion"]);

        await ns.CredentialAsync("credentials", "token", "the-second-credential");
        await ns.EventAsync("service", "CredentialRotated");
        JsonNode after = await ns.GetAsync("ssec", "service");
        Assert.True((DateTimeOffset)after["status"]!["lastRotatedAt"]! >= (DateTimeOffset)before["status"]!["lastRotatedAt"]!);
    }

    [Fact]
    public async Task A_change_of_the_spec_is_seen()
    {
        await using TestNamespace ns = await cluster.NewNamespaceAsync();
        await ns.CredentialAsync("credentials", "token", "the-first-credential");
        await ns.SecretAsync("service");
        await ns.ReasonAsync("ssec", "service", "Ready");
        await ns.SecretAsync("service", host: "other.example.com");
        await Wait.UntilAsync("the status has the new host", async () => (string?)(await ns.GetAsync("ssec", "service"))["status"]!["hosts"]![0] == "other.example.com");
    }

    [Fact]
    public async Task No_credential_shows_anywhere()
    {
        const string canary = "canary-c4f1a90b7e";
        await using TestNamespace ns = await cluster.NewNamespaceAsync();
        await ns.CredentialAsync("credentials", "token", canary + "\nsecond line");
        await ns.SecretAsync("service");
        await ns.BindingAsync("agents", "agent", "secrets: [{env: TOKEN, secretName: service}]");
        await ns.PodAsync("agent", "agent", isSandbox: true);
        await ns.ReasonAsync("ssec", "service", "CredentialInvalid");
        await ns.CredentialAsync("credentials", "token", canary);
        await ns.ReasonAsync("ssec", "service", "Ready");
        await ns.CredentialAsync("credentials", "token", canary + "-rotated");
        await ns.EventAsync("service", "CredentialRotated");
        string everything = await ns.RunAsync("get", "ssec,sbb,pods,events,configmaps", "-o", "yaml");
        Assert.Contains("name: service", everything, StringComparison.Ordinal);
        Assert.DoesNotContain(canary, everything, StringComparison.Ordinal);
        Assert.DoesNotContain(canary, cluster.Log, StringComparison.Ordinal);
        Assert.DoesNotContain(Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes(canary))[..12], everything + cluster.Log, StringComparison.Ordinal);
    }
}
