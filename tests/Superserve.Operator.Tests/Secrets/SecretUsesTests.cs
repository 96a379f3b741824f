using Grpc.Core;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;
using Superserve.Kubernetes;
using Superserve.Operator.AuditApi;
using Superserve.Operator.Certificates;
using Superserve.Operator.Configuration;
using Superserve.Operator.Secrets;
using Superserve.Operator.Tests.AuditApi;
using Superserve.Operator.Tests.Certificates;
using Superserve.Operator.Tests.Support;
using Superserve.Protocol.Audit;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Secrets;

/// <summary>What status shows of use, and how often it changes.</summary>
public sealed class SecretUsesTests : IDisposable
{
    private static readonly ObjectKey Secret = new("agents", "service");

    private readonly HashSet<ObjectKey> _there = [Secret];
    private readonly FakeTimeProvider _time = new(Some.Now);
    private readonly List<ObjectKey> _changed = [];
    private readonly SecretUses _uses;
    private readonly string _tokenFile = Path.GetTempFileName();

    public SecretUsesTests()
    {
        _uses = new SecretUses(_there.Contains, _time);
        _uses.Changed += _changed.Add;
    }

    public void Dispose() => File.Delete(_tokenFile);

    [Fact]
    public void What_is_heard_first_is_shown_at_once_and_then_once_a_minute()
    {
        for (int second = 0; second < 180; second += 10)
        {
            _uses.Tell([(Secret, new UseSoFar(_time.GetUtcNow(), second, 0))]);
            _uses.Publish();
            _time.Advance(TimeSpan.FromSeconds(10));
        }

        Assert.Equal(3, _changed.Count);
        Assert.Equal(120, _uses.Of(Secret)!.Used);
        // The last one is not lost.
        _uses.Publish();
        Assert.Equal((4, 170L), (_changed.Count, _uses.Of(Secret)!.Used));
    }

    [Fact]
    public void What_is_told_twice_changes_nothing()
    {
        for (int i = 0; i < 3; i++)
        {
            _uses.Tell([(Secret, new UseSoFar(Some.Now.AddMilliseconds(i), 7, 1))]);
            _uses.Publish();
            _time.Advance(SecretUses.Pace);
        }

        Assert.Single(_changed);
    }

    [Fact]
    public void A_clock_that_is_set_back_keeps_nothing_from_being_shown()
    {
        _uses.Tell([(Secret, new UseSoFar(null, 1, 0))]);
        _uses.Publish();
        _time.AdjustTime(Some.Now.AddDays(-1));
        _uses.Tell([(Secret, new UseSoFar(null, 2, 0))]);
        _uses.Publish();
        Assert.Equal(2, _uses.Of(Secret)!.Used);
    }

    [Fact]
    public void Secrets_that_are_gone_are_forgotten()
    {
        _uses.Tell([(new ObjectKey("agents", "never-there"), new UseSoFar(null, 1, 0)), (Secret, new UseSoFar(null, 1, 0))]);
        _uses.Publish();
        Assert.Equal([Secret], _changed);
        _there.Clear();
        _uses.Publish();
        Assert.Null(_uses.Of(Secret));
    }

    [Fact]
    public async Task The_audit_service_is_asked_again_and_again_for_what_has_changed_and_a_failure_is_told_once()
    {
        await using FakeAuditService service = new();
        using System.Security.Cryptography.X509Certificates.X509Certificate2 certificate = TestAuthority.Issue("superserve-audit.superserve-system.svc");
        await service.StartAsync(certificate, FreePort.Next());
        ServingCertificates certificates = new(TimeProvider.System);
        certificates.Trust(TestAuthority.Pem);
        OperatorOptions options = new() { AuditAddress = $"localhost:{service.Port}", AuditTokenFile = _tokenFile };
        using AuditClient client = new(options, certificates, TimeProvider.System);
        RecordedLog log = new();
        UsagePoller poller = new(client, _uses, _time, new Logger<UsagePoller>(log));
        service.Used = new UsageReply { AsOf = 41, Secrets = { new SecretUsage { Namespace = "agents", Secret = "service", LastUsed = 1_000_500, Used = ulong.MaxValue, Refused = 3 } } };
        using CancellationTokenSource stop = new();
        Task running = poller.RunAsync(stop.Token);
        await Eventually.True(() => _uses.Of(Secret) is not null, "the use is shown");
        Assert.Equal(new UseSoFar(DateTimeOffset.UnixEpoch.AddSeconds(1), long.MaxValue, 3), _uses.Of(Secret));

        service.Failure = new RpcException(new Status(StatusCode.Unavailable, "the database is away"));
        await Eventually.True(() => service.UsageAsked.Count >= 4, "it asks on", _time, UsagePoller.Interval);
        Assert.Equal([0, 41, 41, 41], service.UsageAsked.Take(4));
        service.Failure = null;
        await Eventually.True(() => log.Text.Contains("says again", StringComparison.Ordinal), "it hears again", _time, UsagePoller.Interval);
        Assert.Single(log.Text.Split('\n'), line => line.Contains("the database is away", StringComparison.Ordinal));
        await stop.CancelAsync();
        await Eventually.Cancelled(running);
    }

    [Theory]
    [InlineData("another name")]
    [InlineData("another CA")]
    [InlineData("no token")]
    [InlineData("nothing trusted yet")]
    public async Task No_other_service_gets_the_operators_token(string kind)
    {
        await using FakeAuditService service = new();
        const string Name = "superserve-audit.superserve-system.svc";
        using System.Security.Cryptography.X509Certificates.X509Certificate2 certificate =
            kind == "another CA" ? TestAuthority.IssueUntrusted(Name) : TestAuthority.Issue(kind == "another name" ? "localhost" : Name);
        await service.StartAsync(certificate, FreePort.Next());
        ServingCertificates certificates = new(TimeProvider.System);
        if (kind != "nothing trusted yet") certificates.Trust(TestAuthority.Pem);
        OperatorOptions options = new() { AuditAddress = $"localhost:{service.Port}", AuditTokenFile = kind == "no token" ? "/nowhere/token" : _tokenFile };
        using AuditClient client = new(options, certificates, TimeProvider.System);
        RpcException exception = await Assert.ThrowsAsync<RpcException>(() => client.ListAsync(new ListRequest { Log = Log.Requests }, CancellationToken.None));
        Assert.Equal(kind == "no token", exception.StatusCode == StatusCode.Unauthenticated);
        Assert.Empty(service.Tokens);
    }
}
