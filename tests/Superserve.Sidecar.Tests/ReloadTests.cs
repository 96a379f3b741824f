using System.Text;
using System.Text.Json.Nodes;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>Rotation, revocation and edits count from the next request on, with no restart and no new connection.</summary>
public sealed class ReloadTests
{
    private const string Host = "api.service.test";
    private const string Other = "other.service.test";
    private const string Credential = "real-credential-0123456789";

    /// <summary>A sidecar with one secret and an open connection of the sandbox to its host.</summary>
    private sealed class Scene : IAsyncDisposable
    {
        public required RawService Service { get; init; }

        public required TestSidecar Sidecar { get; init; }

        public required RawClient Client { get; init; }

        public required string StandIn { get; init; }

        public static async Task<Scene> StartAsync(Action<Setup>? change = null)
        {
            RawService service = RawService.Start(TestAuthority.Issue(Host, Other));
            Setup setup = new Setup().Pin(service.Address, Host, Other).Bearer("KEY", Credential, Host);
            change?.Invoke(setup);
            TestSidecar sidecar = await TestSidecar.StartAsync(setup);
            return new Scene { Service = service, Sidecar = sidecar, Client = await sidecar.OpenTlsAsync(Host), StandIn = sidecar.StandIn("KEY") };
        }

        public async Task<RawResponse> SendAsync()
        {
            await Client.SendAsync($"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {StandIn}\r\n\r\n");
            return await Client.ReadResponseAsync();
        }

        public async Task AssertCredentialAsync(string credential)
        {
            (await SendAsync()).AssertOk();
            Assert.Equal("Bearer " + credential, RawService.Field(Service.Requests[^1], "Authorization"));
        }

        public void WriteCredential(string text) => File.WriteAllText(Sidecar.Setup.CredentialFile("KEY"), text, Encoding.Latin1);

        public void Edit(Action<JsonObject> edit)
        {
            edit(Sidecar.Setup.Json);
            Sidecar.Setup.Save();
        }

        public async ValueTask DisposeAsync()
        {
            await Client.DisposeAsync();
            await Sidecar.DisposeAsync();
            await Service.DisposeAsync();
        }
    }

    [Fact]
    public async Task A_changed_credential_counts_from_the_next_request_on_an_open_connection()
    {
        await using Scene scene = await Scene.StartAsync();
        await scene.AssertCredentialAsync(Credential);
        // In place, by rename, and of the same length.
        scene.WriteCredential("rotated-credential");
        await scene.AssertCredentialAsync("rotated-credential");
        string file = scene.Sidecar.Setup.CredentialFile("KEY");
        await File.WriteAllTextAsync(file + ".new", "renamed-credential");
        File.Move(file + ".new", file, overwrite: true);
        await scene.AssertCredentialAsync("renamed-credential");
        scene.WriteCredential("rotated-credential");
        await scene.AssertCredentialAsync("rotated-credential");
    }

    [Fact]
    public async Task A_credential_behind_a_symbolic_link_is_rotated_as_Kubernetes_does_it()
    {
        await using Scene scene = await Scene.StartAsync(setup =>
        {
            Directory.CreateDirectory(Path.Combine(setup.Directory, "v1"));
            File.WriteAllText(Path.Combine(setup.Directory, "v1", "key"), "first-credential");
            Directory.CreateSymbolicLink(Path.Combine(setup.Directory, "..data"), "v1");
            File.Delete(setup.CredentialFile("KEY"));
            File.CreateSymbolicLink(setup.CredentialFile("KEY"), "..data/key");
        });
        await scene.AssertCredentialAsync("first-credential");
        string root = scene.Sidecar.Directory;
        Directory.CreateDirectory(Path.Combine(root, "v2"));
        await File.WriteAllTextAsync(Path.Combine(root, "v2", "key"), "other-credential");
        Directory.Delete(Path.Combine(root, "..data"));
        Directory.CreateSymbolicLink(Path.Combine(root, "..data"), "v2");
        await scene.AssertCredentialAsync("other-credential");
    }

    [Theory]
    [InlineData("")]
    [InlineData("\n")]
    [InlineData("\r\n")]
    [InlineData(null)]
    public async Task An_emptied_or_removed_file_revokes_at_once_and_a_new_one_mends_it(string? content)
    {
        await using Scene scene = await Scene.StartAsync();
        await scene.AssertCredentialAsync(Credential);
        if (content is null) File.Delete(scene.Sidecar.Setup.CredentialFile("KEY"));
        else scene.WriteCredential(content);
        (await scene.SendAsync()).AssertRefused(503, "credential_revoked");
        scene.WriteCredential(Credential);
        await scene.AssertCredentialAsync(Credential);
        Assert.Equal(2, scene.Service.Requests.Count);
    }

    [Theory]
    [InlineData("two\nlines")]
    [InlineData("with\ttab")]
    [InlineData("with\0nul")]
    [InlineData("end\n\n")]
    [InlineData("injected\r\nX-Evil: 1")]
    [InlineData("9 KiB")]
    public async Task A_bad_credential_is_unavailable_and_never_sent(string credential)
    {
        await using Scene scene = await Scene.StartAsync();
        if (credential == "9 KiB") credential = new string('k', 9 * 1024);
        scene.WriteCredential(credential);
        (await scene.SendAsync()).AssertRefused(503, "credential_unavailable");
        Assert.Empty(scene.Service.Requests);
        await scene.Sidecar.LogAsync("The secret key is unavailable");
        Assert.DoesNotContain(credential, scene.Sidecar.Log, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_credential_of_8_KiB_with_a_newline_and_one_beyond_ASCII_are_sent_as_they_are()
    {
        await using Scene scene = await Scene.StartAsync();
        scene.WriteCredential(new string('k', 8 * 1024) + "\n");
        await scene.AssertCredentialAsync(new string('k', 8 * 1024));
        scene.WriteCredential("caf\u00e9-credential\r\n");
        await scene.AssertCredentialAsync("caf\u00e9-credential");
    }

    [Theory]
    [InlineData("""{"sandbox": """, "broken")]
    [InlineData("unknown field", "secrets[0].hots")]
    [InlineData("bad host", "secrets[0].hosts[0]")]
    public async Task A_bad_edit_leaves_the_last_good_configuration_in_force_and_says_where(string edit, string said)
    {
        await using Scene scene = await Scene.StartAsync();
        if (edit.StartsWith('{')) await File.WriteAllTextAsync(scene.Sidecar.Setup.FilePath, edit);
        else if (edit == "unknown field") scene.Edit(json => json["secrets"]![0]!["hots"] = "x");
        else scene.Edit(json => json["secrets"]![0]!["hosts"]![0] = "https://api.service.test");
        await scene.AssertCredentialAsync(Credential);
        await scene.Sidecar.LogAsync(said);
        await scene.Sidecar.LogAsync("the configuration before it stays in force");
        await scene.Sidecar.MetricAsync("superserve_sidecar_configurations_rejected", "1");

        // The credential's file counts all the same.
        scene.WriteCredential("rotated-credential");
        await scene.AssertCredentialAsync("rotated-credential");
    }

    [Theory]
    [InlineData("sandbox", "\"other\"")]
    [InlineData("proxyAddress", "\"127.0.0.1:1\"")]
    [InlineData("healthAddress", "\"127.0.0.1:1\"")]
    [InlineData("metricsAddress", "\"127.0.0.1:1\"")]
    [InlineData("trustDirectory", "\"elsewhere\"")]
    [InlineData("stateDirectory", "\"elsewhere\"")]
    [InlineData("eventsFile", "\"elsewhere\"")]
    [InlineData("audit", "\"Required\"")]
    [InlineData("upstream", "{}")]
    public async Task A_changed_static_field_asks_for_a_restart(string field, string value)
    {
        await using Scene scene = await Scene.StartAsync();
        scene.Edit(json => json[field] = JsonNode.Parse(value));
        await scene.AssertCredentialAsync(Credential);
        await scene.Sidecar.LogAsync($"{field}: it cannot change while the sidecar runs, so nothing of the file is used; restart the sidecar");
    }

    [Fact]
    public async Task A_removed_secret_s_stand_in_is_refused_as_revoked_and_works_again_when_the_secret_is_back()
    {
        await using Scene scene = await Scene.StartAsync();
        await scene.AssertCredentialAsync(Credential);
        JsonNode secret = scene.Sidecar.Setup.Json["secrets"]![0]!.DeepClone();
        scene.Edit(json => json["secrets"]!.AsArray().Clear());
        (await scene.SendAsync()).AssertRefused(503, "credential_revoked");
        Assert.Empty(scene.Sidecar.StandIns());

        // On a new connection too: its host is still inspected.
        RawResponse again = await scene.Sidecar.ExchangeAsync(Host, $"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {scene.StandIn}\r\n\r\n");
        again.AssertRefused(503, "credential_revoked");
        scene.Edit(json => json["secrets"]!.AsArray().Add(secret));
        await scene.AssertCredentialAsync(Credential);
        Assert.Equal(scene.StandIn, scene.Sidecar.StandIn("KEY"));
    }

    [Fact]
    public async Task A_secret_moved_to_another_host_is_refused_at_the_old_one()
    {
        await using Scene scene = await Scene.StartAsync();
        scene.Edit(json => json["secrets"]![0]!["hosts"]![0] = Other);
        (await scene.SendAsync()).AssertRefused(403, "credential_host_mismatch");
        RawResponse moved = await scene.Sidecar.ExchangeAsync(Other, $"GET / HTTP/1.1\r\nHost: {Other}\r\nAuthorization: Bearer {scene.StandIn}\r\n\r\n");
        moved.AssertOk();
    }

    [Fact]
    public async Task The_env_file_follows_the_secrets_and_is_readable_for_the_sandbox()
    {
        await using Scene scene = await Scene.StartAsync();
        Assert.Equal(["KEY"], scene.Sidecar.StandIns().Keys);
        scene.Edit(json => json["secrets"]![0]!["standIn"] = "chosen-stand-in-0123");
        await scene.SendAsync();
        Assert.Equal("chosen-stand-in-0123", scene.Sidecar.StandIn("KEY"));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead, File.GetUnixFileMode(scene.Sidecar.InTrust("env")));
        // The stand-in before is known still, and worth nothing.
        (await scene.SendAsync()).AssertRefused(503, "credential_revoked");
    }

    [Fact]
    public async Task Without_a_request_the_timer_sees_the_change()
    {
        Microsoft.Extensions.Time.Testing.FakeTimeProvider time = new(TimeProvider.System.GetUtcNow());
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Bearer("KEY", Credential, Host), time);
        sidecar.Setup.Json["secrets"]!.AsArray().Clear();
        sidecar.Setup.Save();
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.Empty(sidecar.StandIns());
    }

    [Fact]
    public async Task Changed_network_rules_count_for_the_next_request_on_an_open_connection()
    {
        await using Scene scene = await Scene.StartAsync(setup => setup.With("interception", "\"All\""));
        await using RawClient client = await scene.Sidecar.OpenTlsAsync(Other);
        await client.SendAsync($"GET / HTTP/1.1\r\nHost: {Other}\r\n\r\n");
        (await client.ReadResponseAsync()).AssertOk();
        scene.Edit(json => json["network"] = JsonNode.Parse($$"""{"denyOut": ["{{Other}}"]}"""));
        await client.SendAsync($"GET / HTTP/1.1\r\nHost: {Other}\r\n\r\n");
        (await client.ReadResponseAsync()).AssertRefused(403, "host_denied");
        scene.Edit(json => json.Remove("network"));
        await client.SendAsync($"GET / HTTP/1.1\r\nHost: {Other}\r\n\r\n");
        (await client.ReadResponseAsync()).AssertOk();
    }
}
