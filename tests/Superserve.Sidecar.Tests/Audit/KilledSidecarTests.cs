using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using Superserve.Core.Events;
using Superserve.Core.Network;
using Superserve.Core.Snapshots;
using Superserve.Protocol;
using Superserve.Sidecar.Tests.Delivery;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests.Audit;

/// <summary>The built sidecar, killed in the middle of its work (SIGKILL) and started again in the same state directory.</summary>
public sealed class KilledSidecarTests : IAsyncLifetime
{
    private const int Clients = 8;

    private readonly string _directory = Directory.CreateTempSubdirectory("sidecar-").FullName;
    private readonly TestAudit _audit = new();
    private readonly ConcurrentQueue<string> _seen = new();
    private readonly int _operatorPort = FreePort.Next();
    private readonly int _proxyPort = FreePort.Next();

    private RawService _service = null!;
    private TestOperator _operator = null!;
    private Process? _sidecar;

    public async ValueTask InitializeAsync()
    {
        _service = RawService.Start(TestAuthority.Issue(Pod.Host), async (request, stream) =>
        {
            _seen.Enqueue(request.Split(' ')[1]);
            // Some are under way whenever the sidecar is killed.
            if (request.Contains("/slow", StringComparison.Ordinal)) await Task.Delay(TimeSpan.FromSeconds(60), TimeProvider.System);
            await stream.WriteAsync("HTTP/1.1 204 No Content\r\n\r\n"u8.ToArray());
        });
        _operator = await TestOperator.StartAsync(_operatorPort);
        await File.WriteAllTextAsync(In("token"), Pod.FirstToken);
        await File.WriteAllTextAsync(In("roots.pem"), TestAuthority.Pem);
    }

    public async ValueTask DisposeAsync()
    {
        await KillAsync();
        await _operator.DisposeAsync();
        await _service.DisposeAsync();
        await _audit.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task Every_request_that_the_service_saw_is_one_row_however_often_the_sidecar_is_killed()
    {
        for (int round = 0; round < 4; round++)
        {
            // Away in the first two: what is not sent is left to the next process, and to the one after.
            if (round == 2) await _audit.StartAsync();
            await StartAsync();
            int before = _seen.Count;
            using CancellationTokenSource end = new();
            Task[] clients = [.. Enumerable.Range(0, Clients).Select(client => AskAsync($"/{round}/{client}", end.Token)), AskOnceAsync($"/{round}/slow")];
            await Eventually.True(() => _seen.Count >= before + 200 && _seen.Contains($"/{round}/slow"), "requests go through the sidecar");
            await KillAsync();
            await end.CancelAsync();
            await Task.WhenAll(clients);
        }

        await StartAsync();
        string[] seen = [.. _seen];
        Assert.Equal(seen.Length, seen.Distinct().Count());
        await Eventually.True(() => _audit.Requests.Select(row => row.Path).ToHashSet().IsSupersetOf(seen), "all are in the log");
        await Eventually.Settle();
        string[] rows = [.. _audit.Requests.Select(row => row.Path)];
        Assert.Equal(rows.Length, rows.Distinct().Count());
        // What is in the log and was not seen had begun; there is at most one for each client.
        Assert.InRange(rows.Length, seen.Length, seen.Length + (4 * (Clients + 1)));
        Assert.All(_audit.Requests.Where(row => row.Path.EndsWith("slow", StringComparison.Ordinal)), row => Assert.Equal(("interrupted", 0U), (row.Error, row.Status)));
        Assert.Equal(4, rows.Count(path => path.EndsWith("slow", StringComparison.Ordinal)));
        Assert.All(_audit.Sequences.Values, sequences => Assert.Equal(Enumerable.Range(1, sequences.Length).Select(i => (ulong)i), sequences));
    }

    private string In(string name) => Path.Combine(_directory, name);

    private async Task StartAsync()
    {
        ProcessStartInfo start = new(Repository.Sidecar,
        [
            "run", "--operator", $"localhost:{_operatorPort}", "--operator-ca", In("roots.pem"), "--audit", $"localhost:{_audit.Port}", "--token-file", In("token"),
            "--state-directory", In("state"), "--trust-directory", In("trust"), "--trusted-roots", In("roots.pem"), "--upstream-host", $"{Pod.Host}={_service.Address}",
            "--proxy-address", $"127.0.0.1:{_proxyPort}", "--health-address", $"127.0.0.1:{FreePort.Next()}", "--metrics-address", $"127.0.0.1:{FreePort.Next()}", "--log-level", "None",
        ]);
        (start.Environment["POD_NAMESPACE"], start.Environment["POD_NAME"], start.Environment["POD_UID"]) = (Pod.Identity.Namespace, Pod.Identity.Pod, Pod.Identity.Uid);
        _sidecar = Process.Start(start)!;
        DeliveredSnapshot snapshot = new(1, TimeProvider.System.GetUtcNow(), Pod.Identity, [Pod.Bound()], [Pod.Binding("research")], SpecialRanges.Default, AuditMode.Required);
        OperatorCall call = await _operator.NextCallAsync();
        Assert.Equal("", (await call.DeliverAsync(SnapshotMapping.ToMessage(snapshot))).Error);
    }

    private async Task KillAsync()
    {
        if (_sidecar is null) return;
        _sidecar.Kill();
        await _sidecar.WaitForExitAsync();
        _sidecar.Dispose();
        _sidecar = null;
    }

    /// <summary>One request after another on one connection, until that breaks.</summary>
    private async Task AskAsync(string prefix, CancellationToken end)
    {
        try
        {
            await using RawClient client = await OpenAsync();
            for (int i = 0; !end.IsCancellationRequested; i++)
            {
                await client.SendAsync(Request($"{prefix}/{i}"));
                string head = await client.ReadHeadOrEndAsync();
                if (head.Length == 0) return;
                Assert.StartsWith("HTTP/1.1 204", head, StringComparison.Ordinal);
            }
        }
        catch (Exception exception) when (exception is IOException or SocketException)
        {
            // The sidecar is gone.
        }
    }

    private async Task AskOnceAsync(string path)
    {
        try
        {
            await using RawClient client = await OpenAsync();
            await client.SendAsync(Request(path));
            await client.ReadHeadOrEndAsync();
        }
        catch (Exception exception) when (exception is IOException or SocketException)
        {
            // As above.
        }
    }

    private async Task<RawClient> OpenAsync()
    {
        using X509Certificate2 authority = X509Certificate2.CreateFromPem(await File.ReadAllTextAsync(In("trust/ca.crt")));
        RawClient client = await RawClient.OpenAsync(new IPEndPoint(IPAddress.Loopback, _proxyPort), authority);
        await client.ConnectAsync($"{Pod.Host}:443");
        await client.StartTlsAsync(Pod.Host);
        return client;
    }

    private static string Request(string path) => $"GET {path} HTTP/1.1\r\nHost: {Pod.Host}\r\nAuthorization: Bearer {Pod.StandIn}\r\n\r\n";
}
