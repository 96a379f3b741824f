using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests.Dns;

/// <summary>A DNS server on loopback, UDP and TCP, that answers as it is told, misbehaviour included.</summary>
internal sealed class TestDns : IAsyncDisposable
{
    private readonly Socket _udp;
    private readonly TcpListener _tcp;
    private readonly CancellationTokenSource _stopping = new();
    private readonly ConcurrentDictionary<(string Name, int Type), Func<WireMessage, byte[]?>> _zone = new();
    private readonly ConcurrentQueue<byte[]> _messages = new();
    private readonly ConcurrentQueue<IPEndPoint> _clients = new();

    public TestDns(IPAddress? address = null)
    {
        Address = new IPEndPoint(address ?? IPAddress.Loopback, FreePort.Next());
        _udp = new Socket(Address.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        _udp.Bind(Address);
        _tcp = new TcpListener(Address);
        _tcp.Start();
        _ = ServeUdpAsync();
        _ = ServeTcpAsync();
    }

    public IPEndPoint Address { get; }

    /// <summary>Every query by UDP, as it came.</summary>
    public IReadOnlyList<byte[]> Messages => [.. _messages];

    /// <summary>Who sent them.</summary>
    public IReadOnlyList<IPEndPoint> Clients => [.. _clients];

    /// <summary>The names and types that were asked for by UDP, in order.</summary>
    public IReadOnlyList<string> Asked => [.. _messages.Select(message => DnsWire.Read(message) is var query ? $"{query.Name} {query.Type}" : "")];

    /// <summary>What names are answered that are not told of; NXDOMAIN where this is not set.</summary>
    public Func<WireMessage, byte[]?> Otherwise { get; set; } = query => DnsWire.Answer(query.Id, query.Name, query.Type, [], flags: 0x8183);

    /// <summary>What is answered by TCP; the same as by UDP where this is not set.</summary>
    public Func<WireMessage, byte[]?>? ByTcp { get; set; }

    /// <summary>Answers with records.</summary>
    public TestDns With(string name, int type, params byte[][] records) => With(name, type, query => DnsWire.Answer(query.Id, query.Name, type, records));

    /// <summary>Answers with what is made; null for silence.</summary>
    public TestDns With(string name, int type, Func<WireMessage, byte[]?> answer)
    {
        _zone[(name, type)] = answer;
        return this;
    }

    /// <summary>A name with these addresses.</summary>
    public TestDns WithHost(string name, params string[] addresses)
    {
        foreach (int type in (int[])[DnsWire.A, DnsWire.Aaaa])
            With(name, type, [.. addresses.Where(address => address.Contains(':') == (type == DnsWire.Aaaa)).Select(address => DnsWire.Address(name, address))]);
        return this;
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        _udp.Dispose();
        _tcp.Dispose();
    }

    private byte[]? Answer(WireMessage query) => (_zone.TryGetValue((query.Name, query.Type), out Func<WireMessage, byte[]?>? answer) ? answer : Otherwise)(query);

    private async Task ServeUdpAsync()
    {
        byte[] buffer = new byte[65536];
        while (true)
        {
            SocketReceiveFromResult received = await _udp.ReceiveFromAsync(buffer, Address, _stopping.Token);
            byte[] message = buffer[..received.ReceivedBytes];
            _clients.Enqueue((IPEndPoint)received.RemoteEndPoint);
            _messages.Enqueue(message);
            if (Answer(DnsWire.Read(message)) is { } answer) await _udp.SendToAsync(answer, received.RemoteEndPoint, _stopping.Token);
        }
    }

    private async Task ServeTcpAsync()
    {
        while (true)
        {
            using Socket client = await _tcp.AcceptSocketAsync(_stopping.Token);
            await using NetworkStream stream = new(client);
            byte[] head = new byte[2];
            await stream.ReadExactlyAsync(head, _stopping.Token);
            byte[] message = new byte[BinaryPrimitives.ReadUInt16BigEndian(head)];
            await stream.ReadExactlyAsync(message, _stopping.Token);
            WireMessage query = DnsWire.Read(message);
            if ((ByTcp ?? Answer)(query) is { } answer) await stream.WriteAsync((byte[])[.. DnsWire.Word(answer.Length), .. answer], _stopping.Token);
        }
    }
}
