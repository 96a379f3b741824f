using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;
using Superserve.Core.Events;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Providers;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;
using Superserve.Core.StandIns;
using Superserve.Protocol;
using Superserve.Sidecar.Commands;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Delivery;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;
using BoundSecret = Superserve.Core.Snapshots.BoundSecret;
using Message = Superserve.Protocol.Snapshot;

namespace Superserve.Sidecar.Tests.Delivery;

/// <summary>A sidecar as <c>run --operator</c> would start it, an operator, and a service that the sandbox wants to use.</summary>
internal sealed class Pod : IAsyncDisposable
{
    public const string Host = "api.service.test";
    public const string Other = "other.service.test";
    public const string Credential = "the-real-credential-0123456789";
    public const string StandIn = "stand-in-0123456789-abcdefgh";
    public const string FirstToken = "header.first-token-of-the-pod.signature";

    private readonly List<string> _logs = [];
    private long _revision;

    public static SandboxIdentity Identity { get; } = new("agents", "research-0", "7d1f0c6e-uid");

    public RawService Service { get; } = RawService.Start(TestAuthority.Issue(Host, Other));

    public int OperatorPort { get; } = FreePort.Next();

    public Setup Setup { get; } = new();

    public FakeTimeProvider? Time { get; private init; }

    /// <summary>Changes the options of the sidecars that start from now on.</summary>
    public Func<DeliveryOptions, DeliveryOptions> Change { get; init; } = options => options;

    public bool KeepsEvents { get; init; } = true;

    /// <summary>Where events go, in place of the file; null for the file.</summary>
    public int? AuditPort { get; init; }

    public TestOperator? Operator { get; private set; }

    public TestSidecar Sidecar { get; private set; } = null!;

    public string TokenFile => Path.Combine(Setup.Directory, "token");

    public string StateDirectory => Path.Combine(Setup.Directory, "state");

    /// <summary>Time stands still until the test moves it.</summary>
    public static Pod WithFakeTime(Func<DeliveryOptions, DeliveryOptions>? change = null, int? auditPort = null) =>
        new() { Time = new FakeTimeProvider(TimeProvider.System.GetUtcNow()), Change = change ?? (options => options), AuditPort = auditPort };

    /// <summary>Starts the operator and the sidecar, and waits for the stream.</summary>
    public async Task<OperatorCall> StartAsync()
    {
        await StartOperatorAsync();
        await StartSidecarAsync();
        return await Operator!.NextCallAsync();
    }

    public async Task StartOperatorAsync(System.Security.Cryptography.X509Certificates.X509Certificate2? certificate = null) =>
        Operator = await TestOperator.StartAsync(OperatorPort, certificate);

    public async Task StopOperatorAsync()
    {
        await Operator!.DisposeAsync();
        Operator = null;
    }

    public async Task StartSidecarAsync()
    {
        Setup.Pin(Service.Address, Host, Other);
        if (!Path.Exists(TokenFile)) await File.WriteAllTextAsync(TokenFile, FirstToken);
        Sidecar = await TestSidecar.StartAsync(Setup, Build);
    }

    public async Task StopSidecarAsync()
    {
        await Sidecar.StopAsync();
        _logs.Add(Sidecar.Log);
    }

    public Task<RawResponse> AskAsync(string host = Host, string? standIn = StandIn, string path = "/") =>
        Sidecar.ExchangeAsync(host, $"GET {path} HTTP/1.1\r\nHost: {host}\r\n{(standIn is null ? "" : $"Authorization: Bearer {standIn}\r\n")}\r\n");

    /// <summary>What a CONNECT is answered, as a refused destination is.</summary>
    public async Task<RawResponse> ConnectAsync(string host)
    {
        await using RawClient client = await Sidecar.OpenAsync();
        await client.SendAsync($"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n");
        return await client.ReadResponseAsync();
    }

    public async Task AssertSwapsAsync(string credential = Credential)
    {
        (await AskAsync()).AssertOk();
        Assert.Equal("Bearer " + credential, RawService.Field(Service.Requests[^1], "Authorization"));
    }

    /// <summary>The usual snapshot, changed; each one's revision is higher.</summary>
    public Message Snapshot(Func<DeliveredSnapshot, DeliveredSnapshot>? change = null)
    {
        DeliveredSnapshot usual = new(++_revision, TimeProvider.System.GetUtcNow(), Identity, [Bound()], [Binding("research")], SpecialRanges.Default, AuditMode.BestEffort);
        return SnapshotMapping.ToMessage(change?.Invoke(usual) ?? usual);
    }

    public static BoundSecret Bound(string credential = Credential) => new("KEY", "example", MakeStandIn(), Available(credential), Definition());

    public static CredentialState.Available Available(string credential) =>
        Core.Secrets.Credential.TryCreate(Encoding.ASCII.GetBytes(credential), out Credential? made, out string? error) ? new(made) : throw new ArgumentException(error);

    public static BindingRules Binding(string name, params string[] allowOut)
    {
        Assert.True(NetworkPolicy.TryParse(allowOut, null, NetworkMode.Enforce, PublicSuffixList.Embedded, "network", [], out NetworkPolicy? policy));
        return new BindingRules(name, policy, Interception.All, []);
    }

    public async ValueTask DisposeAsync()
    {
        await Sidecar.DisposeAsync();
        if (Operator is not null) await Operator.DisposeAsync();
        await Service.DisposeAsync();
        _logs.Add(Sidecar.Log);
        // Whatever a test does.
        foreach (string hidden in (string[])[Credential, "rotated-credential", StandIn, "first-token-of-the-pod", "second-token-of-the-pod"])
            Assert.All(_logs, log => Assert.DoesNotContain(hidden, log, StringComparison.Ordinal));
    }

    private WebApplication Build()
    {
        Assert.True(ConfigurationReader.TryRead(Setup.FilePath, out LocalConfiguration? file, out IReadOnlyList<SpecError> errors), string.Join("; ", errors));
        SidecarOptions sidecar = file.Options with
        {
            Sandbox = Identity.ToString(),
            StateDirectory = StateDirectory,
            ListensOnBothLoopbacks = true,
            AuditService = AuditPort is { } port ? new Authority("localhost", null, port) : null,
            EventsFile = KeepsEvents && AuditPort is null ? file.Options.EventsFile : null,
        };
        DeliveryOptions delivery = new() { Host = "localhost", Port = OperatorPort, Authorities = TestAuthority.Pem, TokenFile = TokenFile, Sandbox = Identity };
        return OperatorSidecar.Build(sidecar, Change(delivery), LogLevel.Trace, Time);
    }

    private static StandIn MakeStandIn() => Core.StandIns.StandIn.TryCreate(StandIn, out StandIn? made, out string? error) ? made : throw new ArgumentException(error);

    private static SecretDefinition Definition()
    {
        SecretSpec spec = new() { Hosts = [Host], Auth = new AuthSpec { Type = "bearer" } };
        Assert.True(SecretDefinition.TryCreate(spec, "spec", ProviderCatalog.BuiltIn, PublicSuffixList.Embedded, [], out SecretDefinition? definition));
        return definition;
    }
}
