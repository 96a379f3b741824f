using Superserve.Operator.Admission.Pods;
using Superserve.Operator.Configuration;

namespace Superserve.Operator.Tests.Configuration;

/// <summary>The operator's options: what is wrong with a file is said before anything starts.</summary>
public sealed class OptionsReaderTests : IDisposable
{
    private readonly string _file = Path.GetTempFileName();

    public void Dispose() => File.Delete(_file);

    [Fact]
    public void An_empty_object_has_the_defaults() => Assert.Equal(16443, Read("{}").WebhookPort);

    [Theory]
    [InlineData("{}", CaptureMode.Transparent)]
    [InlineData("""{"sidecar": {"capture": "Transparent"}}""", CaptureMode.Transparent)]
    [InlineData("""{"sidecar": {"capture": "Explicit"}}""", CaptureMode.Explicit)]
    public void Capture_is_transparent_unless_the_installation_says_otherwise(string json, CaptureMode capture) => Assert.Equal(capture, Read(json).Sidecar.Capture);

    [Theory]
    [InlineData("", "$")]
    [InlineData("null", "holds null")]
    [InlineData("""{"webhookPort": 0}""", "WebhookPort")]
    [InlineData("""{"maxConnectionsPerAddress": 15}""", "MaxConnectionsPerAddress")]
    [InlineData("""{"maxConnectionsPerAddress": 100001}""", "MaxConnectionsPerAddress")]
    [InlineData("""{"webhookPort": "443"}""", "$.webhookPort")]
    [InlineData("""{"webhokPort": 443}""", "webhokPort")]
    [InlineData("""{"namespace": "Not A Name"}""", "Namespace")]
    [InlineData("""{"listenAddress": "everywhere"}""", "listenAddress")]
    [InlineData("""{"clusterRanges": ["10.0.0.0/33"]}""", "clusterRanges")]
    [InlineData("""{"sidecar": {"capture": "Some"}}""", "$.sidecar.capture")]
    [InlineData("""{"sidecar": {"logLevel": "loud"}}""", "LogLevel")]
    [InlineData("""{"sidecar": {"maxSnapshotAge": "1 day"}}""", "MaxSnapshotAge")]
    public void A_mistake_is_named(string json, string words) =>
        Assert.Contains(words, Assert.Throws<UsageException>(() => Read(json)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("""{"retentionDays": 0}""", "RetentionDays")]
    [InlineData("""{"maxBytes": 1}""", "MaxBytes")]
    [InlineData("""{"sqliteFile": null}""", "sqliteFile: say where the database is")]
    [InlineData("""{"otlpEndpoint": "collector:4317"}""", "OtlpEndpoint")]
    [InlineData("""{"logLevel": "loud"}""", "LogLevel")]
    [InlineData("""{"listenAddress": "everywhere"}""", "listenAddress")]
    [InlineData("""{"healthPort": 16446}""", "each needs a number of its own")]
    [InlineData("""{"sqlite": "a"}""", "sqlite")]
    public void A_mistake_in_the_audit_service_s_options_is_named(string json, string words)
    {
        File.WriteAllText(_file, json);
        Assert.Contains(words, Assert.Throws<UsageException>(() => OptionsReader.ReadAudit(_file)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_audit_service_s_options_have_defaults()
    {
        File.WriteAllText(_file, """{"postgresConnectionStringFile": "/etc/superserve/postgres/connection", "sqliteFile": null}""");
        Assert.Equal((16446, 30, "superserve-operator"), (OptionsReader.ReadAudit(_file).Port, OptionsReader.ReadAudit(_file).RetentionDays, OptionsReader.ReadAudit(_file).OperatorServiceAccount));
    }

    [Fact]
    public void A_file_that_is_not_there_is_named() =>
        Assert.Contains("/nowhere/operator.json", Assert.Throws<UsageException>(() => OptionsReader.Read("/nowhere/operator.json")).Message, StringComparison.Ordinal);

    [Fact]
    public void Providers_of_the_installation_join_the_built_in_ones()
    {
        File.WriteAllText(_file, """{"providers": [{"name": "house", "displayName": "House", "category": "saas", "source": "https://example.com/docs", "token": "house_{base62:40}", "hosts": [{"hosts": ["api.example.com"], "accepts": [{"type": "bearer"}]}]}]}""");
        Core.Providers.ProviderCatalog catalog = OptionsReader.ReadProviders(_file);
        Assert.True(catalog.TryGet("house", out _));
        Assert.True(catalog.TryGet("anthropic", out _));
    }

    [Theory]
    [InlineData("{")]
    [InlineData("""{"providers": [{"name": "house"}]}""")]
    public void Providers_that_cannot_be_used_end_the_program_with_their_mistakes(string json)
    {
        File.WriteAllText(_file, json);
        Assert.Contains(_file, Assert.Throws<UsageException>(() => OptionsReader.ReadProviders(_file)).Message, StringComparison.Ordinal);
    }

    private OperatorOptions Read(string json)
    {
        File.WriteAllText(_file, json);
        return OptionsReader.Read(_file);
    }
}
