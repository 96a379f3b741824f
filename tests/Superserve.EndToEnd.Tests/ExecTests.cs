using System.Net;
using Superserve.Testing;

namespace Superserve.EndToEnd.Tests;

/// <summary><c>exec</c>, <c>run</c> and the demo as a user starts them.</summary>
public sealed class ExecTests
{
    private static readonly Dictionary<string, string> Empty = [];

    [Fact]
    public async Task Exec_runs_a_command_that_authenticates_and_passes_its_exit_status_on()
    {
        await using TestService service = await TestService.StartAsync("api.example.com");
        Setup setup = new Setup().Pin(service.Address, "api.example.com").Bearer("API_TOKEN", "the-real-credential-0123456789", "api.example.com");
        setup.Save();
        Outcome outcome = await Programs.RunAsync(Empty, Repository.Sidecar, "exec", "--config", setup.FilePath, "--",
            "sh", "-c", "curl -sS https://api.example.com/ -H \"Authorization: Bearer $API_TOKEN\"; exit 7");
        Assert.Equal((7, "ok"), (outcome.Status, outcome.Output));
        Assert.Equal("Bearer the-real-credential-0123456789", service.Single()["Authorization"]);
        Directory.Delete(setup.Directory, recursive: true);
    }

    [Fact]
    public async Task Another_process_of_the_sidecars_user_cannot_look_into_it()
    {
        Setup setup = new Setup().Bearer("API_TOKEN", "the-real-credential-0123456789", "api.example.com");
        setup.Save();
        // As a user without privileges: root may look into everything.
        await Programs.RunAsync(Empty, "chown", "-R", "65534:65534", setup.Directory);
        Outcome outcome = await Programs.RunAsync(new Dictionary<string, string> { ["SIDECAR"] = Repository.Sidecar, ["CONFIG"] = setup.FilePath },
            "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c",
            "$SIDECAR exec --config $CONFIG -- sh -c 'cat /proc/$PPID/environ >/dev/null 2>&1 && echo readable || echo closed; (: </proc/$PPID/mem) 2>/dev/null && echo readable || echo closed'");
        Assert.Equal("closed\nclosed\n", outcome.Output);
        Directory.Delete(setup.Directory, recursive: true);
    }

    [Fact]
    public async Task A_wrong_configuration_is_refused_with_the_path_of_each_mistake()
    {
        Setup setup = new Setup().With("secrets", """[{"env": "1A", "name": "a", "valueFile": "f", "hosts": ["*.com"], "auth": {"type": "bearer"}}]""").With("network", """{"denyOut": ["10.0.0.1/8"]}""");
        setup.Save();
        Outcome outcome = await Programs.RunAsync(Empty, Repository.Sidecar, "run", "--config", setup.FilePath);
        Assert.Equal((2, ""), (outcome.Status, outcome.Output));
        Assert.Contains("secrets[0].env: ", outcome.Errors);
        Assert.Contains("secrets[0].hosts[0]: '*.com' is too wide", outcome.Errors);
        Assert.Contains("network.denyOut[0]: '10.0.0.1/8'", outcome.Errors);
        Directory.Delete(setup.Directory, recursive: true);
    }

    [Fact]
    public async Task An_unknown_field_is_named_with_its_path()
    {
        Setup setup = new Setup().With("secrets", """[{"env": "A", "name": "a", "valueFile": "f", "provider": "anthropic", "hots": []}]""");
        setup.Save();
        Outcome outcome = await Programs.RunAsync(Empty, Repository.Sidecar, "run", "--config", setup.FilePath);
        Assert.Equal(2, outcome.Status);
        Assert.Contains("secrets[0].hots: there is no such field", outcome.Errors);
        Directory.Delete(setup.Directory, recursive: true);
    }

    [Fact]
    public async Task A_port_that_is_taken_ends_the_program_with_a_message_that_says_which()
    {
        Setup setup = new Setup().Bearer("API_TOKEN", "the-real-credential-0123456789", "api.example.com");
        setup.Save();
        using System.Net.Sockets.TcpListener taken = new(IPEndPoint.Parse((string)setup.Json["proxyAddress"]!));
        taken.Start();
        Outcome outcome = await Programs.RunAsync(Empty, Repository.Sidecar, "run", "--config", setup.FilePath);
        Assert.Equal(2, outcome.Status);
        Assert.Contains("proxyAddress: ", outcome.Errors);
        Assert.Contains("is taken by another program", outcome.Errors);
        Directory.Delete(setup.Directory, recursive: true);
    }

    [Fact]
    public async Task The_demo_happens()
    {
        Outcome outcome = await Programs.RunAsync(Empty, Repository.PathTo("examples/local/demo.sh"), Repository.Sidecar);
        Assert.True(outcome.Status == 0, outcome.ToString());
        Assert.EndsWith("All of it happened.\n", outcome.Output);
        Assert.DoesNotContain("FAILED", outcome.Output);
    }
}
