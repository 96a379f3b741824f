using System.Net;
using Superserve.Core.Hosts;
using Superserve.Core.Swapping;
using Superserve.Sidecar.Capture;
using Superserve.Sidecar.Forwarding;
using Superserve.Sidecar.Trust;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests.Dns;

/// <summary>What the proxy makes of what DNS says.</summary>
public sealed class ConnectorTests
{
    private const string Host = "api.service.test";

    private static UpstreamConnector Connector(DnsPod pod) =>
        new(pod, pod.Options, pod.Resolver, new Dialler(new EgressSockets(pod.Options), TimeProvider.System), PublicRoots.Load(null), pod.Time);

    private static async Task<Refusal> RefusalAsync(DnsPod pod, string host = Host)
    {
        Assert.True(Authority.TryCreate(host, 443, out Authority destination));
        return (await Assert.ThrowsAsync<UpstreamException>(() => Connector(pod).ConnectAsync(destination, CancellationToken.None))).Refusal;
    }

    [Theory]
    [InlineData("10.0.0.1")]
    [InlineData("169.254.169.254")]
    [InlineData("127.0.0.1")]
    [InlineData("::ffff:10.0.0.1")]
    [InlineData("64:ff9b::a9fe:a9fe")]
    public async Task A_private_address_in_an_answer_is_not_dialled(string address)
    {
        await using DnsPod pod = await DnsPod.StartAsync(Host);
        pod.Upstream.WithHost(Host, address);
        Assert.Equal(RefusalReason.PrivateAddress, (await RefusalAsync(pod)).Reason);
    }

    [Fact]
    public async Task A_name_that_is_not_there_is_told_from_servers_that_are_silent()
    {
        await using DnsPod pod = await DnsPod.StartAsync();
        Refusal missing = await RefusalAsync(pod, "missing.test");
        Assert.Equal(RefusalReason.UpstreamUnreachable, missing.Reason);
        Assert.Contains("DNS has no answer for missing.test (NoSuchName)", missing.Detail, StringComparison.Ordinal);

        pod.Upstream.Otherwise = _ => null;
        Task<Refusal> silent = RefusalAsync(pod, "silent.test");
        await Eventually.True(() => silent.IsCompleted, "the look-up ends", pod.Time, TimeSpan.FromSeconds(1));
        Assert.Equal(RefusalReason.UpstreamTimeout, (await silent).Reason);
        Assert.Contains("silent.test was not resolved within 10 s", (await silent).Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_name_is_dialled_at_the_address_that_DNS_gives()
    {
        await using DnsPod pod = await DnsPod.StartAsync("127.0.0.0/8", Host);
        pod.Upstream.WithHost(Host, "127.0.0.1");
        Assert.True(Authority.TryCreate(Host, pod.Upstream.Address.Port, out Authority destination));
        using System.Net.Sockets.Socket socket = await Connector(pod).ConnectAsync(destination, CancellationToken.None);
        Assert.Equal(new IPEndPoint(IPAddress.Loopback, pod.Upstream.Address.Port), socket.RemoteEndPoint);
    }
}
