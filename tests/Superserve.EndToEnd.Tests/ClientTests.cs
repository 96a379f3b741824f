using System.Text.Json;
using Superserve.Testing;

namespace Superserve.EndToEnd.Tests;

/// <summary>Clients that know nothing of the sidecar.</summary>
public sealed class ClientTests : IAsyncLifetime
{
    private const string Credential = "the-real-credential-0123456789";
    private const string OtherCredential = "the-other-credential-9876543210";

    private TestService _service = null!;
    private RunningSidecar _sidecar = null!;

    public async ValueTask InitializeAsync()
    {
        _service = await TestService.StartAsync("api.example.com", "git.example.com", "api.example.org", "free.example.net");
        Setup setup = new Setup()
            .Pin(_service.Address, "api.example.com", "git.example.com", "api.example.org", "free.example.net")
            .Bearer("API_TOKEN", Credential, "api.example.com")
            .Secret("GIT_TOKEN", OtherCredential, """{"hosts": ["git.example.com"], "auth": {"type": "basic", "username": "x-access-token"}}""");
        _sidecar = await RunningSidecar.StartAsync(setup);
    }

    public async ValueTask DisposeAsync()
    {
        await _sidecar.DisposeAsync();
        await _service.DisposeAsync();
    }

    [Theory]
    [InlineData("--http1.1", "HTTP/1.1")]
    [InlineData("--http2", "HTTP/2")]
    public async Task Curl_authenticates_with_a_credential_that_it_does_not_have(string version, string protocol)
    {
        Outcome outcome = await ShellAsync($"curl -sS {version} https://api.example.com/v1/models -H \"Authorization: Bearer $API_TOKEN\"");
        Assert.Equal((0, "ok"), (outcome.Status, outcome.Output));
        ReceivedRequest request = _service.Single();
        Assert.Equal($"Bearer {Credential}", request["Authorization"]);
        Assert.Equal((protocol, "/v1/models"), (request.Protocol, request.Target));
    }

    [Fact]
    public async Task Curl_authenticates_with_Basic_as_git_does()
    {
        Outcome outcome = await ShellAsync("curl -sS -u x-access-token:$GIT_TOKEN https://git.example.com/acme/repo.git/info/refs");
        Assert.Equal((0, "ok"), (outcome.Status, outcome.Output));
        Assert.Equal("Basic " + Convert.ToBase64String(System.Text.Encoding.ASCII.GetBytes($"x-access-token:{OtherCredential}")), _service.Single()["Authorization"]);
    }

    [Theory]
    [InlineData("--http1.1")]
    [InlineData("--http2")]
    public async Task Curl_uploads_and_downloads_without_noticing(string version)
    {
        byte[] body = new byte[8 * 1024 * 1024];
        for (int i = 0; i < body.Length; i++) body[i] = (byte)(i * 31 >> 3);
        string file = Path.Combine(_sidecar.Setup.Directory, "upload");
        await File.WriteAllBytesAsync(file, body);
        _service.Answer = (context, request) => context.Response.Body.WriteAsync(request.Body).AsTask();
        Outcome outcome = await ShellAsync($"curl -sS {version} https://api.example.com/files -H \"Authorization: Bearer $API_TOKEN\" --data-binary @{file} -o {file}.back && cmp {file} {file}.back && echo same");
        Assert.Equal((0, "same\n"), (outcome.Status, outcome.Output));
    }

    [Fact]
    public async Task Curl_gets_a_refusal_that_says_what_to_do()
    {
        Outcome outcome = await ShellAsync("curl -sS -w '%{http_code} %header{x-superserve-proxy-reason}' -o body https://git.example.com/ -H \"Authorization: Bearer $API_TOKEN\"; cat body");
        Assert.StartsWith("403 credential_host_mismatch", outcome.Output);
        using JsonDocument problem = JsonDocument.Parse(outcome.Output[outcome.Output.IndexOf('{')..]);
        Assert.Contains("only for api.example.com", problem.RootElement.GetProperty("detail").GetString());
        Assert.Empty(_service.Requests);
    }

    [Fact]
    public async Task Curl_over_plain_http_is_refused_the_swap()
    {
        Outcome outcome = await ShellAsync("curl -sS -o /dev/null -w '%{http_code} %header{x-superserve-proxy-reason}' http://api.example.com/ -H \"Authorization: Bearer $API_TOKEN\"");
        Assert.Equal("403 cleartext_refused", outcome.Output);
    }

    [Fact]
    public async Task A_host_without_a_secret_is_reached_with_its_own_certificate()
    {
        await File.WriteAllTextAsync(Path.Combine(_sidecar.Setup.Directory, "service-roots.pem"), TestAuthority.Pem);
        Outcome outcome = await ShellAsync("curl -sS --cacert service-roots.pem https://free.example.net/ -H \"Authorization: Bearer $API_TOKEN\"");
        Assert.Equal((0, "ok"), (outcome.Status, outcome.Output));
        // What went there is the stand-in: worthless, and untouched.
        Assert.Equal($"Bearer {_sidecar.Environment["API_TOKEN"]}", _service.Single()["Authorization"]);
    }

    [Fact]
    public async Task Python_authenticates_with_a_credential_that_it_does_not_have()
    {
        Outcome outcome = await PythonAsync("""
            import os, urllib.request
            request = urllib.request.Request("https://api.example.com/v1/models", headers={"Authorization": "Bearer " + os.environ["API_TOKEN"]})
            print(urllib.request.urlopen(request).read().decode())
            """);
        Assert.Equal((0, "ok\n"), (outcome.Status, outcome.Output));
        Assert.Equal($"Bearer {Credential}", _service.Single()["Authorization"]);
    }

    [Fact]
    public async Task Python_that_verifies_strictly_accepts_the_certificates()
    {
        Outcome outcome = await PythonAsync("""
            import http.client, os, ssl
            context = ssl.create_default_context()
            context.verify_flags |= ssl.VERIFY_X509_STRICT
            proxy = os.environ["HTTPS_PROXY"].removeprefix("http://")
            connection = http.client.HTTPSConnection(proxy, context=context)
            connection.set_tunnel("api.example.com", 443)
            for path in ("/first", "/second"):
                connection.request("GET", path, headers={"Authorization": "Bearer " + os.environ["API_TOKEN"]})
                print(connection.getresponse().read().decode())
            """);
        Assert.Equal((0, "ok\nok\n"), (outcome.Status, outcome.Output));
        Assert.Equal(["/first", "/second"], _service.Requests.Select(request => request.Target));
        Assert.All(_service.Requests, request => Assert.Equal($"Bearer {Credential}", request["Authorization"]));
    }

    [Fact]
    public async Task Python_reads_the_refusal_of_a_revoked_credential()
    {
        File.Delete(_sidecar.Setup.CredentialFile("API_TOKEN"));
        Outcome outcome = await PythonAsync("""
            import os, urllib.error, urllib.request
            request = urllib.request.Request("https://api.example.com/", headers={"Authorization": "Bearer " + os.environ["API_TOKEN"]})
            try:
                urllib.request.urlopen(request)
            except urllib.error.HTTPError as error:
                print(error.code, error.headers["X-Superserve-Proxy-Reason"], error.headers["Content-Type"])
            """);
        Assert.Equal((0, "503 credential_revoked application/problem+json\n"), (outcome.Status, outcome.Output));
        Assert.Empty(_service.Requests);
    }

    [Fact]
    public async Task Rotation_counts_from_the_next_request_of_a_client_that_keeps_its_connection()
    {
        Outcome outcome = await PythonAsync($"""
            import http.client, os, ssl
            proxy = os.environ["HTTPS_PROXY"].removeprefix("http://")
            connection = http.client.HTTPSConnection(proxy, context=ssl.create_default_context())
            connection.set_tunnel("api.example.com", 443)
            for value in ("rotated-credential-one-0123456789", "rotated-credential-two-0123456789"):
                with open("{_sidecar.Setup.CredentialFile("API_TOKEN")}", "w") as file:
                    file.write(value)
                connection.request("GET", "/", headers={"{"}"Authorization": "Bearer " + os.environ["API_TOKEN"]{"}"})
                print(connection.getresponse().read().decode())
            """);
        Assert.Equal((0, "ok\nok\n"), (outcome.Status, outcome.Output));
        Assert.Equal(["Bearer rotated-credential-one-0123456789", "Bearer rotated-credential-two-0123456789"], _service.Requests.Select(request => request["Authorization"]));
    }

    [Fact]
    public async Task The_sidecar_ends_cleanly_when_told_to_and_its_log_holds_no_credential()
    {
        await ShellAsync("curl -sS https://api.example.com/$API_TOKEN -H \"Authorization: Bearer $API_TOKEN\"");
        await ShellAsync("curl -sS https://api.example.com/ -H \"Authorization: Bearer $API_TOKEN\"");
        string standIn = _sidecar.Environment["API_TOKEN"];
        (int status, string log) = await _sidecar.StopAsync();
        Assert.Equal(0, status);
        string written = log + await File.ReadAllTextAsync(Path.Combine(_sidecar.Setup.Directory, "events.jsonl"));
        Assert.Contains("\"status\":200", written);
        Assert.DoesNotContain(Credential, written);
        Assert.DoesNotContain(standIn, written);
    }

    [Fact]
    public async Task The_process_leaves_no_core_dump() =>
        Assert.Matches("Max core file size +0 +0 ", await File.ReadAllTextAsync($"/proc/{_sidecar.ProcessId}/limits"));

    private Task<Outcome> ShellAsync(string script) => Programs.RunAsync(_sidecar.Environment, "sh", "-c", $"cd {_sidecar.Setup.Directory} && {script}");

    private Task<Outcome> PythonAsync(string script) => Programs.RunAsync(_sidecar.Environment, "python3", "-c", script);
}
