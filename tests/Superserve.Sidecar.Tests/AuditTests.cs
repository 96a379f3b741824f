using System.Net;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>What happens to requests that use a secret while their events cannot be kept.</summary>
public sealed class AuditTests
{
    private const string Host = "api.service.test";
    private const string Credential = "real-credential-0123456789";

    private static async Task<(TestService, TestSidecar)> StartAsync(string audit)
    {
        TestService service = await TestService.StartAsync(Host);
        Setup setup = new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host).With("audit", $"\"{audit}\"").With("interception", "\"All\"").With("eventsFile", "\"blocked/events.jsonl\"");
        // A file where the directory should be: nobody can write there, root neither.
        await File.WriteAllTextAsync(Path.Combine(setup.Directory, "blocked"), "");
        return (service, await TestSidecar.StartAsync(setup));
    }

    private static async Task<HttpResponseMessage> SendAsync(TestSidecar sidecar, string? token, string version)
    {
        using HttpRequestMessage request = new(HttpMethod.Get, $"https://{Host}/");
        if (token is not null) request.Headers.Authorization = new("Bearer", token);
        return await sidecar.Client(Version.Parse(version)).SendAsync(request);
    }

    [Theory]
    [InlineData("1.1")]
    [InlineData("2.0")]
    public async Task Required_refuses_secrets_alone_until_events_can_be_written_again(string version)
    {
        (TestService service, TestSidecar sidecar) = await StartAsync("Required");
        await using (service)
        await using (sidecar)
        {
            using HttpResponseMessage refused = await SendAsync(sidecar, sidecar.StandIn("KEY"), version);
            await refused.AssertRefusedAsync(503, "audit_unavailable");
            Assert.Empty(service.Requests);
            await sidecar.LogAsync("Events cannot be written");
            using HttpResponseMessage without = await SendAsync(sidecar, null, version);
            Assert.Equal(HttpStatusCode.OK, without.StatusCode);

            File.Delete(Path.Combine(sidecar.Directory, "blocked"));
            await TestSidecar.WaitAsync(async () =>
            {
                using HttpResponseMessage again = await SendAsync(sidecar, sidecar.StandIn("KEY"), version);
                return again.StatusCode == HttpStatusCode.OK;
            }, () => "still refused: " + sidecar.Log);
            await sidecar.LogAsync("again");
            // The refusal waited in memory and is not lost.
            string file = Path.Combine(sidecar.Directory, "blocked", "events.jsonl");
            await TestSidecar.WaitAsync(() => File.Exists(file) && File.ReadAllText(file).Contains("audit_unavailable", StringComparison.Ordinal), () => "the refusal's event is lost");
        }
    }

    [Fact]
    public async Task BestEffort_goes_on()
    {
        (TestService service, TestSidecar sidecar) = await StartAsync("BestEffort");
        await using (service)
        await using (sidecar)
        {
            using HttpResponseMessage response = await SendAsync(sidecar, sidecar.StandIn("KEY"), "1.1");
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
            Assert.Equal("Bearer " + Credential, service.Single()["Authorization"]);
        }
    }

    [Fact]
    public async Task A_rotated_events_file_is_begun_anew()
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        (await SendAsync(sidecar, sidecar.StandIn("KEY"), "1.1")).Dispose();
        await sidecar.RequestEventAsync();
        string file = Path.Combine(sidecar.Directory, "events.jsonl");
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
        File.Move(file, file + ".1");
        (await SendAsync(sidecar, "none", "1.1")).Dispose();
        sidecar.CloseClients();
        await sidecar.ConnectionEventAsync("allowed");
    }

    [Fact]
    public async Task Events_of_connections_that_would_not_end_are_written_when_the_sidecar_stops()
    {
        await using TestService service = await TestService.StartAsync(Host);
        service.Answer = (context, _) => Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        Task<HttpResponseMessage> hanging = SendAsync(sidecar, sidecar.StandIn("KEY"), "1.1");
        await TestSidecar.WaitAsync(() => service.Requests.Count == 1, () => "no request");
        await sidecar.StopAsync();
        await Assert.ThrowsAnyAsync<Exception>(() => hanging);
        Assert.Contains(sidecar.Events(), line => line.Text("kind") == "request" && line.Text("secret") == "key");
    }
}
