using System.Diagnostics;
using System.Text.Json.Nodes;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>The program itself: <c>exec</c> and <c>run</c> as a user calls them.</summary>
public sealed class ExecTests
{
    private const string Host = "api.service.test";
    private const string Credential = "real-credential-0123456789";

    private static readonly string Program = Path.Combine(AppContext.BaseDirectory, "superserve-sidecar");

    private static Process Start(string[] arguments, params (string Name, string Value)[] environment)
    {
        ProcessStartInfo start = new(Program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true };
        foreach (string name in (string[])["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "JAVA_TOOL_OPTIONS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "PIP_CERT"]) start.Environment.Remove(name);
        foreach ((string name, string value) in environment) start.Environment[name] = value;
        return Process.Start(start)!;
    }

    private static async Task<(int Status, string Output, string Error)> RunAsync(string[] arguments, params (string Name, string Value)[] environment)
    {
        using Process process = Start(arguments, environment);
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        string error = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, await output, error);
    }

    private static Setup Configured()
    {
        Setup setup = new Setup().Bearer("KEY", Credential, Host);
        setup.Save();
        return setup;
    }

    private static Dictionary<string, string> Variables(string output) =>
        output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split('=', 2)).Where(parts => parts.Length == 2).ToDictionary(parts => parts[0], parts => parts[1]);

    [Fact]
    public async Task The_command_gets_stand_ins_proxy_and_trust_in_its_environment()
    {
        Setup setup = Configured();
        (int status, string output, string error) = await RunAsync(["exec", "--config", setup.FilePath, "--", "/usr/bin/env"],
            ("NO_PROXY", "*"), ("no_proxy", Host), ("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"), ("REQUESTS_CA_BUNDLE", "/own/bundle.crt"), ("JAVA_TOOL_OPTIONS", "-Xmx1g"), ("MINE", "kept"));
        Assert.True(status == 0, error);
        Dictionary<string, string> variables = Variables(output);
        string trust = Path.Combine(setup.Directory, "trust");
        Assert.StartsWith("superserve_", variables["KEY"], StringComparison.Ordinal);
        Assert.Contains($"KEY={variables["KEY"]}\n", await File.ReadAllTextAsync(Path.Combine(trust, "env")), StringComparison.Ordinal);
        foreach (string name in (string[])["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"]) Assert.Equal($"http://{(string)setup.Json["proxyAddress"]!}", variables[name]);
        Assert.False(variables.ContainsKey("NO_PROXY") || variables.ContainsKey("no_proxy"));
        foreach (string name in (string[])["SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE", "PIP_CERT", "CARGO_HTTP_CAINFO", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"])
            Assert.Equal(Path.Combine(trust, "ca-bundle.crt"), variables[name]);
        foreach (string name in (string[])["NODE_EXTRA_CA_CERTS", "DENO_CERT"]) Assert.Equal(Path.Combine(trust, "ca.crt"), variables[name]);
        Assert.Equal($"ca_certificate = {trust}/ca-bundle.crt\n", await File.ReadAllTextAsync(variables["SYSTEM_WGETRC"]));
        Assert.Equal("1", variables["NODE_USE_ENV_PROXY"]);
        Assert.StartsWith($"-Xmx1g -Djavax.net.ssl.trustStore={trust}/truststore.p12 ", variables["JAVA_TOOL_OPTIONS"], StringComparison.Ordinal);
        Assert.Equal("kept", variables["MINE"]);
        Assert.Equal("/own/bundle.crt", variables["REQUESTS_CA_BUNDLE"]);
        Assert.Contains("REQUESTS_CA_BUNDLE is set and stays as it is", error, StringComparison.Ordinal);
        Assert.DoesNotContain(Credential, output + error, StringComparison.Ordinal);
        Directory.Delete(setup.Directory, recursive: true);
    }

    [Fact]
    public async Task A_real_client_works_with_nothing_but_that_environment()
    {
        if (!File.Exists("/usr/bin/curl")) return;
        await using TestService service = await TestService.StartAsync(Host);
        Setup setup = Configured().Pin(service.Address, Host);
        setup.Save();
        (int status, string output, string error) = await RunAsync(["exec", "--config", setup.FilePath, "--", "/bin/sh", "-c", $"curl -sS -H \"Authorization: Bearer $KEY\" https://{Host}/v1"]);
        Assert.True(status == 0, error);
        Assert.Equal("ok", output);
        Assert.Equal(("Bearer " + Credential, "/v1"), (service.Single()["Authorization"], service.Single().Target));
        Directory.Delete(setup.Directory, recursive: true);
    }

    [Theory]
    [InlineData("exit 0", 0)]
    [InlineData("exit 7", 7)]
    [InlineData("kill -9 $$", 137)]
    public async Task The_command_s_exit_status_is_passed_on(string script, int expected)
    {
        Setup setup = Configured();
        (int status, _, string error) = await RunAsync(["exec", "--config", setup.FilePath, "--", "/bin/sh", "-c", script]);
        Assert.True(status == expected, $"{status} {error}");
        Directory.Delete(setup.Directory, recursive: true);
    }

    [Fact]
    public async Task A_command_that_is_not_there_is_said_to_be_and_ends_with_127()
    {
        Setup setup = Configured();
        (int status, _, string error) = await RunAsync(["exec", "--config", setup.FilePath, "--", "/no/such/command", "-x"]);
        Assert.Equal(127, status);
        Assert.Contains("/no/such/command cannot be run", error, StringComparison.Ordinal);
        Directory.Delete(setup.Directory, recursive: true);
    }

    [Fact]
    public async Task SIGTERM_is_passed_on_and_the_command_s_own_status_counts()
    {
        Setup setup = Configured();
        using Process process = Start(["exec", "--config", setup.FilePath, "--", "/bin/sh", "-c", "trap 'echo got it; exit 3' TERM; echo ready; while :; do sleep 0.1; done"]);
        Assert.Equal("ready", await process.StandardOutput.ReadLineAsync());
        await Processes.RunAsync("/bin/kill", "-TERM", process.Id.ToString());
        Assert.Equal("got it", await process.StandardOutput.ReadLineAsync());
        await process.WaitForExitAsync();
        Assert.Equal(3, process.ExitCode);
        Directory.Delete(setup.Directory, recursive: true);
    }

    [Fact]
    public async Task SIGINT_is_left_to_the_command_which_has_it_from_the_terminal()
    {
        Setup setup = Configured();
        using Process process = Start(["exec", "--config", setup.FilePath, "--", "/bin/sh", "-c", "trap 'exit 4' TERM; echo ready; sleep 0.1; sleep 0.1; sleep 0.1; sleep 0.1; exit 5"]);
        Assert.Equal("ready", await process.StandardOutput.ReadLineAsync());
        await Processes.RunAsync("/bin/kill", "-INT", process.Id.ToString());
        await process.WaitForExitAsync();
        Assert.Equal(5, process.ExitCode);
        Directory.Delete(setup.Directory, recursive: true);
    }

    [Theory]
    [InlineData("proxyAddress", "run")]
    [InlineData("healthAddress", "run")]
    [InlineData("metricsAddress", "run")]
    [InlineData("proxyAddress", "exec")]
    public async Task A_port_that_is_taken_ends_with_2_and_says_which(string field, string command)
    {
        await using RawService taken = RawService.StartPlain();
        Setup setup = Configured().With(field, $"\"{taken.Address}\"");
        setup.Save();
        string[] arguments = command == "run" ? ["run", "--config", setup.FilePath] : ["exec", "--config", setup.FilePath, "--", "/bin/true"];
        (int status, _, string error) = await RunAsync(arguments);
        Assert.True(status == 2, $"{status} {error}");
        Assert.Contains(taken.Address.ToString(), error, StringComparison.Ordinal);
        Assert.Contains("taken by another program", error, StringComparison.Ordinal);
        Assert.Contains(field, error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", error, StringComparison.Ordinal);
        Directory.Delete(setup.Directory, recursive: true);
    }

    [Theory]
    [InlineData("trustDirectory", "file/trust")]
    [InlineData("stateDirectory", "file/state")]
    public async Task A_directory_that_cannot_be_written_ends_with_2_and_says_so(string field, string path)
    {
        Setup setup = Configured().With(field, $"\"{path}\"");
        setup.Save();
        await File.WriteAllTextAsync(Path.Combine(setup.Directory, "file"), "");
        (int status, _, string error) = await RunAsync(["run", "--config", setup.FilePath]);
        Assert.True(status == 2, $"{status} {error}");
        Assert.Contains(Path.Combine(setup.Directory, path), error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", error, StringComparison.Ordinal);
        Directory.Delete(setup.Directory, recursive: true);
    }

    [Theory]
    [InlineData("no-such-roots.pem")]
    [InlineData("config.json")]
    public async Task Trusted_roots_that_cannot_be_read_end_with_2_and_say_so(string file)
    {
        Setup setup = Configured();
        setup.Json["upstream"]!["trustedRootsFile"] = file;
        setup.Save();
        (int status, _, string error) = await RunAsync(["run", "--config", setup.FilePath]);
        Assert.True(status == 2, $"{status} {error}");
        Assert.Contains(Path.Combine(setup.Directory, file), error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", error, StringComparison.Ordinal);
        Directory.Delete(setup.Directory, recursive: true);
    }

    [Fact]
    public async Task Health_and_metrics_answer_each_on_its_own_port()
    {
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup());
        using SocketsHttpHandler handler = new();
        using HttpClient client = new(handler);
        string health = $"http://{(string)sidecar.Setup.Json["healthAddress"]!}", metrics = $"http://{(string)sidecar.Setup.Json["metricsAddress"]!}";
        foreach (string path in (string[])["/healthz", "/readyz"])
        {
            Assert.Equal("ok\n", await client.GetStringAsync(health + path));
            Assert.Equal(System.Net.HttpStatusCode.NotFound, (await client.GetAsync(metrics + path)).StatusCode);
        }

        Assert.Equal(System.Net.HttpStatusCode.NotFound, (await client.GetAsync(health + "/metrics")).StatusCode);
        Assert.Contains("superserve_sidecar_snapshot_revision", await client.GetStringAsync(metrics + "/metrics"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Mistakes_in_the_file_end_with_2_and_are_all_listed()
    {
        Setup setup = Configured();
        setup.Json["secrets"]![0]!["hosts"] = new JsonArray("*.com");
        setup.Json["sandbox"] = "No";
        setup.Save();
        (int status, _, string error) = await RunAsync(["run", "--config", setup.FilePath]);
        Assert.Equal(2, status);
        Assert.Contains("secrets[0].hosts[0]", error, StringComparison.Ordinal);
        Assert.Contains("sandbox:", error, StringComparison.Ordinal);
        Directory.Delete(setup.Directory, recursive: true);
    }

    [Fact]
    public async Task SIGTERM_ends_run_well_and_the_process_cannot_be_dumped()
    {
        Setup setup = Configured();
        using Process process = Start(["run", "--config", setup.FilePath]);
        while (await process.StandardError.ReadLineAsync() is { } line && !line.Contains("The proxy listens", StringComparison.Ordinal))
        {
        }

        // What belongs to a process that cannot be dumped is root's.
        Assert.Contains("Max core file size        0 ", await File.ReadAllTextAsync($"/proc/{process.Id}/limits"), StringComparison.Ordinal);
        await Processes.RunAsync("/bin/kill", "-TERM", process.Id.ToString());
        await process.WaitForExitAsync();
        Assert.Equal(0, process.ExitCode);
        Directory.Delete(setup.Directory, recursive: true);
    }

    [Fact]
    public async Task SIGTERM_ends_run_well_although_an_exchange_would_not_end()
    {
        await using TestService service = await TestService.StartAsync(Host);
        service.Answer = (context, _) => Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted);
        Setup setup = Configured().Pin(service.Address, Host);
        setup.Save();
        using Process process = Start(["run", "--config", setup.FilePath]);
        while (await process.StandardError.ReadLineAsync() is { } line && !line.Contains("The proxy listens", StringComparison.Ordinal))
        {
        }

        string token = (await File.ReadAllTextAsync(Path.Combine(setup.Directory, "trust", "env"))).Trim().Split('=')[1];
        await using RawClient client = await RawClient.OpenAsync(System.Net.IPEndPoint.Parse((string)setup.Json["proxyAddress"]!),
            System.Security.Cryptography.X509Certificates.X509Certificate2.CreateFromPem(await File.ReadAllTextAsync(Path.Combine(setup.Directory, "trust", "ca.crt"))));
        await client.ConnectAsync($"{Host}:443");
        await client.StartTlsAsync(Host);
        await client.SendAsync($"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {token}\r\n\r\n");
        await TestSidecar.WaitAsync(() => service.Requests.Count == 1, () => "no request");
        Task<string> error = process.StandardError.ReadToEndAsync();
        await Processes.RunAsync("/bin/kill", "-TERM", process.Id.ToString());
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"{process.ExitCode} {await error}");
        Assert.Contains("\"kind\":\"request\"", await File.ReadAllTextAsync(Path.Combine(setup.Directory, "events.jsonl")), StringComparison.Ordinal);
        Directory.Delete(setup.Directory, recursive: true);
    }
}
