using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Superserve.Operator.Connections;
using Superserve.Operator.Metrics;
using Superserve.Operator.Tests.Admission;

namespace Superserve.Operator.Tests.Connections;

/// <summary>No address keeps the others out.</summary>
public sealed class AddressLimitTests
{
    private static readonly IPAddress One = IPAddress.Parse("127.0.0.2");
    private static readonly IPAddress Another = IPAddress.Parse("127.0.0.3");

    [Theory]
    [InlineData("10.1.2.3", "10.1.2.3", true)]
    [InlineData("10.1.2.3", "10.1.2.4", false)]
    [InlineData("::ffff:10.1.2.3", "10.1.2.3", true)]
    [InlineData("::ffff:10.1.2.3", "::ffff:10.1.2.4", false)]
    [InlineData("fd00:1:2:3::1", "fd00:1:2:3:ffff::2", true)]
    [InlineData("fd00:1:2:3::1", "fd00:1:2:4::1", false)]
    [InlineData("fe80::1%1", "fe80::2%2", true)]
    public void An_IPv4_address_counts_for_itself_and_an_IPv6_address_for_its_network(string address, string other, bool isSame) =>
        Assert.Equal(isSame, AddressLimit.CallerOf(IPAddress.Parse(address)).Equals(AddressLimit.CallerOf(IPAddress.Parse(other))));

    [Fact]
    public void A_share_is_free_again_once_it_is_given_back()
    {
        AddressLimit limit = new(2);
        IDisposable first = limit.Enter(One)!;
        Assert.NotNull(limit.Enter(One));
        Assert.Null(limit.Enter(One));
        Assert.NotNull(limit.Enter(Another));
        first.Dispose();
        Assert.NotNull(limit.Enter(One));
        Assert.Null(limit.Enter(One));
    }

    [Fact]
    public void Callers_without_an_address_share_one_bound()
    {
        AddressLimit limit = new(1);
        Assert.NotNull(limit.Enter(null));
        Assert.Null(limit.Enter(null));
    }

    [Fact]
    public async Task Connections_beyond_the_bound_of_an_address_are_cut_and_counted_and_others_are_served()
    {
        using AdmissionCounts counts = new();
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(counts.Metrics);
        builder.Services.AddRoutingCore();
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Any, 0, listen => listen.UseAddressLimit(TlsPort.Webhook, 3)));
        await using WebApplication app = builder.Build();
        app.Run(_ => Task.CompletedTask);
        await app.StartAsync();
        int port = new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First()).Port;

        List<Socket> open = [];
        for (int i = 0; i < 3; i++) open.Add(await ServedAsync(One, port));
        using (Socket beyond = await ConnectAsync(One, port)) Assert.False(await IsServedAsync(beyond));
        Assert.Equal(1, counts.All["webhook"]);
        open.Add(await ServedAsync(Another, port));

        open[0].Dispose();
        // The server learns of it in its own time.
        for (int attempt = 0; ; attempt++)
        {
            using Socket next = await ConnectAsync(One, port);
            if (await IsServedAsync(next)) break;
            Assert.InRange(attempt, 0, 1000);
        }

        foreach (Socket socket in open) socket.Dispose();
    }

    private static async Task<Socket> ServedAsync(IPAddress from, int port)
    {
        Socket socket = await ConnectAsync(from, port);
        Assert.True(await IsServedAsync(socket));
        return socket;
    }

    private static async Task<Socket> ConnectAsync(IPAddress from, int port)
    {
        Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(from, 0));
        try
        {
            await socket.ConnectAsync(IPAddress.Loopback, port);
        }
        catch (SocketException exception) when (exception.SocketErrorCode == SocketError.ConnectionReset)
        {
            // Cut as soon as it was made: whoever uses it finds it so.
        }

        return socket;
    }

    private static async Task<bool> IsServedAsync(Socket socket)
    {
        try
        {
            await socket.SendAsync("GET / HTTP/1.1\r\nHost: a\r\n\r\n"u8.ToArray());
            return await socket.ReceiveAsync(new byte[1024]) > 0;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
