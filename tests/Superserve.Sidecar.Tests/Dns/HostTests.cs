using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Logging;
using Superserve.Core.Secrets;
using Superserve.Sidecar.Capture;
using Superserve.Sidecar.Commands;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Delivery;
using Superserve.Sidecar.Tests.Delivery;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests.Dns;

/// <summary>The whole sidecar, before its operator has said anything.</summary>
public sealed class HostTests
{
    private static WebApplication Build(Setup setup, CaptureMode capture, int port, int? transparentPort = null)
    {
        Assert.True(ConfigurationReader.TryRead(setup.FilePath, out LocalConfiguration? file, out IReadOnlyList<SpecError> errors), string.Join("; ", errors));
        SidecarOptions sidecar = file.Options with
        {
            Capture = capture,
            DnsPort = port,
            TransparentPort = transparentPort ?? FreePort.Next(),
            StateDirectory = Path.Combine(setup.Directory, "state"),
            KeepsResolvers = true,
        };
        DeliveryOptions delivery = new() { Host = "localhost", Port = FreePort.Next(), Authorities = TestAuthority.Pem, TokenFile = Path.Combine(setup.Directory, "token"), Sandbox = Pod.Identity };
        return OperatorSidecar.Build(sidecar, delivery, LogLevel.Trace);
    }

    [Fact]
    public async Task A_sidecar_that_captures_transparently_serves_DNS_and_refuses_every_name_until_it_knows_the_rules()
    {
        Setup setup = new();
        int port = FreePort.Next();
        await using TestSidecar sidecar = await TestSidecar.StartAsync(setup, () => Build(setup, CaptureMode.Transparent, port));
        using UdpClient client = new("127.0.0.1", port);
        await client.SendAsync(DnsWire.Query("example.com", DnsWire.A));
        using CancellationTokenSource patience = new(TimeSpan.FromSeconds(20), TimeProvider.System);
        Assert.Equal(3, DnsWire.Read((await client.ReceiveAsync(patience.Token)).Buffer).Code);
        Assert.Equal("no rules left", (await sidecar.EventAsync("dns", line => line.Text("host") == "example.com")).Text("rule"));
        await sidecar.MetricAsync("superserve_dns_queries", "1", "verdict=\"blocked\"", "response=\"NXDOMAIN\"");
    }

    [Fact]
    public async Task A_sidecar_whose_DNS_port_is_taken_does_not_start()
    {
        Setup setup = new();
        using Socket taken = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        taken.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        int port = ((IPEndPoint)taken.LocalEndPoint!).Port;
        UsageException exception = await Assert.ThrowsAsync<UsageException>(() => TestSidecar.StartAsync(setup, () => Build(setup, CaptureMode.Transparent, port)));
        Assert.Contains("is taken by another program", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_sidecar_whose_transparent_port_is_taken_does_not_start()
    {
        Setup setup = new();
        using Socket taken = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        taken.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        taken.Listen();
        int port = ((IPEndPoint)taken.LocalEndPoint!).Port;
        UsageException exception = await Assert.ThrowsAsync<UsageException>(() => TestSidecar.StartAsync(setup, () => Build(setup, CaptureMode.Transparent, FreePort.Next(), port)));
        Assert.StartsWith($"Port {port} of the loopback address is taken by another program. ", exception.Message, StringComparison.Ordinal);
        Assert.Contains("take that program out of the pod", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_sidecar_that_captures_explicitly_serves_no_DNS()
    {
        Setup setup = new();
        using Socket taken = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        taken.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        await using TestSidecar sidecar = await TestSidecar.StartAsync(setup, () => Build(setup, CaptureMode.Explicit, ((IPEndPoint)taken.LocalEndPoint!).Port));
        Assert.DoesNotContain("DNS", sidecar.Log, StringComparison.Ordinal);
    }
}
