using System.CommandLine;
using System.Net;
using Superserve.Core.Hosts;
using Superserve.Core.Snapshots;
using Superserve.Sidecar.Commands;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Delivery;

namespace Superserve.Sidecar.Tests.Delivery;

/// <summary>The options of <c>run --operator</c>.</summary>
public sealed class OperatorFlagsTests
{
    private static readonly Dictionary<string, string> Variables = new()
    {
        ["POD_NAMESPACE"] = "agents",
        ["POD_NAME"] = "research-0",
        ["POD_UID"] = "uid-1",
        ["SUPERSERVE_OPERATOR_CA"] = "PEM",
    };

    private static (SidecarOptions Sidecar, DeliveryOptions Delivery) Read(string flags, IReadOnlyDictionary<string, string>? variables = null)
    {
        ParseResult result = RunCommand.Create().Parse(flags.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.Empty(result.Errors);
        return OperatorFlags.Read(result, name => (variables ?? Variables).GetValueOrDefault(name));
    }

    [Fact]
    public void The_defaults_are_what_admission_makes_of_a_pod()
    {
        (SidecarOptions sidecar, DeliveryOptions delivery) = Read("--operator superserve-operator.superserve.svc:9443");
        Assert.Equal(("superserve-operator.superserve.svc", 9443, "PEM", "/var/run/secrets/superserve/token", "Explicit", (TimeSpan?)null),
            (delivery.Host, delivery.Port, delivery.Authorities, delivery.TokenFile, delivery.Capture, delivery.MaxSnapshotAge));
        Assert.Equal(new SandboxIdentity("agents", "research-0", "uid-1"), delivery.Sandbox);
        Assert.Equal("agents/research-0", sidecar.Sandbox);
        Assert.Equal(new IPEndPoint(IPAddress.Loopback, 16002), sidecar.ProxyAddress);
        Assert.True(sidecar.ListensOnBothLoopbacks);
        Assert.Equal(new IPEndPoint(IPAddress.IPv6Any, 16021), sidecar.HealthAddress);
        Assert.Equal(new IPEndPoint(IPAddress.IPv6Any, 16090), sidecar.MetricsAddress);
        Assert.Equal(("/var/run/superserve/trust", "/var/run/superserve/state", null), (sidecar.TrustDirectory, sidecar.StateDirectory, sidecar.EventsFile));
    }

    [Fact]
    public void Each_can_be_set()
    {
        (SidecarOptions sidecar, DeliveryOptions delivery) = Read("--operator [::1]:9 --token-file /t --trust-directory /a --state-directory /b --proxy-address 127.0.0.1:1 --health-address 10.0.0.1:2 --metrics-address localhost:3 --max-snapshot-age 24h --events-file /e --capture Explicit --upstream-host API.example.com=127.0.0.1:4 --upstream-host b.example=[::1]:5");
        Assert.True(sidecar.KeepsResolvers);
        Assert.Equal(IPEndPoint.Parse("127.0.0.1:4"), sidecar.PinnedHosts["api.example.com"]);
        Assert.Equal(IPEndPoint.Parse("[::1]:5"), sidecar.PinnedHosts["b.example"]);
        Assert.Equal(("::1", 9, "/t", TimeSpan.FromHours(24)), (delivery.Host, delivery.Port, delivery.TokenFile, delivery.MaxSnapshotAge));
        Assert.Equal(("127.0.0.1:1", "10.0.0.1:2", "127.0.0.1:3", false), (sidecar.ProxyAddress.ToString(), sidecar.HealthAddress.ToString(), sidecar.MetricsAddress.ToString(), sidecar.ListensOnBothLoopbacks));
        Assert.Equal(("/a", "/b", "/e"), (sidecar.TrustDirectory, sidecar.StateDirectory, sidecar.EventsFile));
    }

    [Fact]
    public void Events_go_to_the_audit_service_that_is_named()
    {
        Assert.Null(Read("--operator o:1").Sidecar.AuditService);
        Assert.Equal(new Authority("superserve-audit.superserve.svc", null, 16446), Read("--operator o:1 --audit superserve-audit.superserve.svc:16446").Sidecar.AuditService);
    }

    [Theory]
    [InlineData("--operator o:1 --audit audit", "--audit: write a host and a port, as superserve-audit.superserve.svc:16446")]
    [InlineData("--operator o:1 --audit audit:2 --events-file /e", "do not go together")]
    [InlineData("--operator operator", "--operator: write a host and a port")]
    [InlineData("--operator o:1 --capture Both", "--capture: write Transparent or Explicit")]
    [InlineData("--operator o:1 --capture 1", "--capture: write Transparent or Explicit")]
    [InlineData("--operator o:1 --proxy-address 0.0.0.0:16002", "loopback alone")]
    [InlineData("--operator o:1 --proxy-address *:16002", "loopback alone")]
    [InlineData("--operator o:1 --proxy-address localhost", "--proxy-address: write an address and a port")]
    [InlineData("--operator o:1 --health-address health:1", "--health-address: write an address and a port, as *:16021")]
    [InlineData("--operator o:1 --trust-directory /x --state-directory /x/y", "outside of --trust-directory")]
    [InlineData("--operator o:1 --upstream-host api.example.com", "write it as api.example.com=192.0.2.1:443")]
    [InlineData("--operator o:1 --upstream-host api.example.com=localhost:1", "write it as api.example.com=192.0.2.1:443")]
    [InlineData("--operator o:1 --upstream-host api.example.com=127.0.0.1", "write it as api.example.com=192.0.2.1:443")]
    [InlineData("--operator o:1 --upstream-host a.example=127.0.0.1:1 --upstream-host A.example=127.0.0.1:2", "a.example stands twice")]
    [InlineData("--operator o:1 --max-snapshot-age 24", "as 24h")]
    [InlineData("--operator o:1 --max-snapshot-age 0h", "as 24h")]
    [InlineData("--operator o:1 --max-snapshot-age h", "as 24h")]
    [InlineData("--operator o:1 --operator-ca /nowhere/ca.crt", "/nowhere/ca.crt cannot be read")]
    public void What_cannot_be_used_is_told(string flags, string said) =>
        Assert.Contains(said, Assert.Throws<UsageException>(() => Read(flags)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("POD_UID", "metadata.uid")]
    [InlineData("SUPERSERVE_OPERATOR_CA", "--operator-ca")]
    public void A_variable_that_is_missing_is_told(string name, string said)
    {
        Dictionary<string, string> variables = new(Variables);
        variables.Remove(name);
        Assert.Contains(said, Assert.Throws<UsageException>(() => Read("--operator o:1", variables)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", "either --config FILE")]
    [InlineData("--config c.json --operator o:1", "either --config FILE")]
    [InlineData("--config c.json --token-file t", "--token-file counts with --operator alone")]
    public async Task The_two_modes_exclude_each_other(string flags, string said)
    {
        ParseResult result = RunCommand.Create().Parse(flags.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        UsageException exception = await Assert.ThrowsAsync<UsageException>(() => result.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false }));
        Assert.Contains(said, exception.Message, StringComparison.Ordinal);
    }
}
