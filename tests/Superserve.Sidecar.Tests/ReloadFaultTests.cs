using System.Text.Json.Nodes;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>Changes to files while the sidecar runs, at their worst.</summary>
public sealed class ReloadFaultTests
{
    private const string Host = "api.example.com";

    [Theory]
    [InlineData("secrets", "[null]", "secrets[0]")]
    [InlineData("secrets", """[{"env": "A", "name": "a", "valueFile": "f", "auth": {"perHost": [null]}}]""", "secrets[0].auth.perHost[0]")]
    [InlineData("secrets", """[{"env": "A", "name": "a", "valueFile": "f", "provider": "anthropic", "rules": [null]}]""", "secrets[0].rules[0]")]
    [InlineData("secrets", """[{"env": "A", "name": "a", "valueFile": "f\u0000", "provider": "anthropic"}]""", "secrets[0].valueFile")]
    [InlineData("passthrough", "[null]", "passthrough[0]")]
    [InlineData("network", """{"allowOut": [null]}""", "network.allowOut[0]")]
    public async Task A_null_where_something_should_be_is_reported_and_the_configuration_before_it_stays(string field, string json, string path)
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", "the-real-credential-0123456789", Host));
        string request = $"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n";
        sidecar.Setup.Json[field] = JsonNode.Parse(json);
        sidecar.Setup.Save();
        (await sidecar.ExchangeAsync(Host, request)).AssertOk();
        await sidecar.LogAsync(path + ": ");
    }

    [Fact]
    public async Task A_secret_that_is_renamed_keeps_its_stand_in_alive()
    {
        await using TestService service = await TestService.StartAsync(Host);
        Setup setup = new Setup().Pin(service.Address, Host).Secret("KEY", "the-real-credential-0123456789",
            $$"""{"hosts": ["{{Host}}"], "auth": {"type": "bearer"}, "standIn": "a-stand-in-of-my-own"}""");
        await using TestSidecar sidecar = await TestSidecar.StartAsync(setup);
        setup.Json["secrets"]![0]!["name"] = "another-name";
        setup.Save();
        (await sidecar.ExchangeAsync(Host, $"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer a-stand-in-of-my-own\r\n\r\n")).AssertOk();
        Assert.Equal("another-name", (await sidecar.RequestEventAsync()).GetProperty("secret").GetString());
    }

    [Fact]
    public async Task A_secret_whose_stand_in_changes_leaves_the_old_one_revoked()
    {
        await using TestService service = await TestService.StartAsync(Host);
        Setup setup = new Setup().Pin(service.Address, Host).Bearer("KEY", "the-real-credential-0123456789", Host);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(setup);
        string old = sidecar.StandIn("KEY");
        setup.Json["secrets"]![0]!["standIn"] = "a-stand-in-of-my-own";
        setup.Save();
        (await sidecar.ExchangeAsync(Host, $"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {old}\r\n\r\n")).AssertRefused(503, "credential_revoked");
        (await sidecar.ExchangeAsync(Host, $"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer a-stand-in-of-my-own\r\n\r\n")).AssertOk();
    }

    [Fact]
    public async Task A_trust_directory_that_is_lost_does_not_keep_a_revocation_from_acting()
    {
        await using TestService service = await TestService.StartAsync(Host);
        Setup setup = new Setup().Pin(service.Address, Host).Bearer("KEY", "the-real-credential-0123456789", Host);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(setup);
        string standIn = sidecar.StandIn("KEY");
        Directory.Delete(sidecar.InTrust("."), recursive: true);
        setup.Json["secrets"] = new JsonArray();
        setup.Save();
        (await sidecar.ExchangeAsync(Host, $"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {standIn}\r\n\r\n")).AssertRefused(503, "credential_revoked");
        await sidecar.LogAsync("The stand-ins cannot be written");
    }

    [Theory]
    [InlineData(" the-real-credential-0123456789")]
    [InlineData("the-real-credential-0123456789 ")]
    [InlineData("holds a-stand-in-of-my-own inside")]
    public async Task A_credential_that_could_not_be_found_again_is_unavailable(string credential)
    {
        await using TestService service = await TestService.StartAsync(Host);
        Setup setup = new Setup().Pin(service.Address, Host).Secret("KEY", credential,
            $$"""{"hosts": ["{{Host}}"], "auth": {"type": "bearer"}, "standIn": "a-stand-in-of-my-own"}""");
        await using TestSidecar sidecar = await TestSidecar.StartAsync(setup);
        (await sidecar.ExchangeAsync(Host, $"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer a-stand-in-of-my-own\r\n\r\n")).AssertRefused(503, "credential_unavailable");
        Assert.Empty(service.Requests);
    }

    [Fact]
    public async Task Events_go_to_the_file_of_that_name_after_it_was_moved_away_and_after_it_was_emptied()
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", "the-real-credential-0123456789", Host));
        string file = Path.Combine(sidecar.Directory, "events.jsonl");
        string Request(string path) => $"GET {path} HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n";

        await sidecar.ExchangeAsync(Host, Request("/first"));
        await sidecar.EventAsync("request", line => line.GetProperty("path").GetString() == "/first");
        File.Move(file, file + ".1");
        File.WriteAllText(file, "");
        await sidecar.ExchangeAsync(Host, Request("/second"));
        await sidecar.EventAsync("request", line => line.GetProperty("path").GetString() == "/second");
        using (FileStream emptied = new(file, FileMode.Open, FileAccess.Write, FileShare.ReadWrite)) emptied.SetLength(0);
        await sidecar.ExchangeAsync(Host, Request("/third"));
        await sidecar.EventAsync("request", line => line.GetProperty("path").GetString() == "/third");
        Assert.DoesNotContain('\0', await File.ReadAllTextAsync(file));
    }

    [Fact]
    public async Task A_credential_file_that_is_a_pipe_is_unavailable_and_holds_nothing_up()
    {
        await using TestService service = await TestService.StartAsync(Host);
        Setup setup = new Setup().Pin(service.Address, Host).Bearer("KEY", "the-real-credential-0123456789", Host);
        File.Delete(setup.CredentialFile("KEY"));
        using (System.Diagnostics.Process make = System.Diagnostics.Process.Start("mkfifo", [setup.CredentialFile("KEY")])) await make.WaitForExitAsync();
        await using TestSidecar sidecar = await TestSidecar.StartAsync(setup);
        (await sidecar.ExchangeAsync(Host, $"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n")).AssertRefused(503, "credential_unavailable");
    }

    [Fact]
    public async Task A_rejected_edit_leaves_the_snapshot_as_it_is()
    {
        Setup setup = new Setup().Bearer("KEY", "the-real-credential-0123456789", Host);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(setup);
        setup.Json["sandbox"] = "Not A Name";
        setup.Save();
        await sidecar.LogAsync("sandbox: ");
        Assert.Contains("superserve_sidecar_snapshot_revision{} 1", await sidecar.MetricsAsync());
    }

    [Fact]
    public async Task Half_a_line_at_the_end_of_the_events_does_not_swallow_the_next_one()
    {
        await using TestService service = await TestService.StartAsync(Host);
        Setup setup = new Setup().Pin(service.Address, Host).Bearer("KEY", "the-real-credential-0123456789", Host);
        await File.WriteAllTextAsync(Path.Combine(setup.Directory, "events.jsonl"), "{\"kind\":\"requ");
        await using TestSidecar sidecar = await TestSidecar.StartAsync(setup);
        await sidecar.ExchangeAsync(Host, $"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n");
        await TestSidecar.WaitAsync(() => File.ReadAllLines(Path.Combine(setup.Directory, "events.jsonl")).Any(line => line.StartsWith("{\"kind\":\"request\"", StringComparison.Ordinal)), () => "no event");
        Assert.Equal("{\"kind\":\"requ", File.ReadLines(Path.Combine(setup.Directory, "events.jsonl")).First());
    }
}
