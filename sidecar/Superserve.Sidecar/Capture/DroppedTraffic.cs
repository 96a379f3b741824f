using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace Superserve.Sidecar.Capture;

/// <summary>What kind of packet the rules blocked.</summary>
internal enum BlockedProtocol
{
    Udp,
    Quic,
    Icmp,
    Other,
}

/// <summary>Hears what the rules blocked.</summary>
internal interface IDroppedTrafficSink
{
    /// <summary>
    /// Is called once for what was blocked in a while. The destination is null, and the port 0, for the sum of what went to more
    /// destinations than are told apart.
    /// </summary>
    void Report(BlockedProtocol protocol, IPAddress? destination, int port, long packets);
}

/// <summary>
/// Learns what the rules blocked. Their counters take NET_ADMIN to read; what they reject, though, the kernel reports to the sandbox by
/// an ICMP error from and to the pod's own address, of which a raw socket (NET_RAW) gets a copy. (It goes over lo, but the socket sees the
/// interface that has the address. The rules let no packet in by an outer interface that says it comes from the pod.) The numbers are lower bounds: the kernel limits the rate of
/// errors, sends none about multicast and broadcast, and this reads no more than it can bear. TCP is reset instead and not in here.
/// </summary>
internal sealed class DroppedTraffic(IDroppedTrafficSink sink, TimeProvider time) : BackgroundService
{
    private const int MaxDestinations = 256;
    private const int MaxMessagesPerRead = 1024;
    private const int ReadsPerReport = 10;

    private static readonly TimeSpan BetweenReads = TimeSpan.FromSeconds(1);

    // Opened with the service, so that what is blocked from then on is heard.
    private readonly Socket _icmp = Open(AddressFamily.InterNetwork);
    private readonly Socket? _icmpV6 = Socket.OSSupportsIPv6 ? Open(AddressFamily.InterNetworkV6) : null;
    private readonly byte[] _buffer = new byte[576];
    private readonly Dictionary<RejectedPacket, long> _packets = [];

    public override void Dispose()
    {
        _icmp.Dispose();
        _icmpV6?.Dispose();
        base.Dispose();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using PeriodicTimer timer = new(BetweenReads, time);
        try
        {
            for (int reads = 1; await timer.WaitForNextTickAsync(stoppingToken); reads++)
            {
                Read();
                if (reads % ReadsPerReport == 0) Report();
            }
        }
        finally
        {
            Report();
        }
    }

    private void Read()
    {
        Read(_icmp);
        if (_icmpV6 is not null) Read(_icmpV6);
    }

    private void Read(Socket socket)
    {
        for (int message = 0; message < MaxMessagesPerRead && socket.Poll(TimeSpan.Zero, SelectMode.SelectRead); message++)
        {
            EndPoint sender = new IPEndPoint(socket.AddressFamily == AddressFamily.InterNetwork ? IPAddress.Any : IPAddress.IPv6Any, 0);
            int length;
            try
            {
                length = socket.ReceiveFrom(_buffer, ref sender);
            }
            catch (SocketException)
            {
                // A message that is too long was cut, or was no longer there: on to the next.
                continue;
            }

            if (RejectedPacket.Read(_buffer.AsSpan(0, length), ((IPEndPoint)sender).Address) is not { } packet) continue;
            RejectedPacket key = _packets.ContainsKey(packet) || _packets.Count < MaxDestinations ? packet : new RejectedPacket(packet.Protocol, null, 0);
            _packets[key] = _packets.GetValueOrDefault(key) + 1;
        }
    }

    private void Report()
    {
        foreach ((RejectedPacket packet, long count) in _packets) sink.Report(packet.Protocol, packet.Destination, packet.Port, count);
        _packets.Clear();
    }

    private static Socket Open(AddressFamily family)
    {
        bool isV4 = family == AddressFamily.InterNetwork;
        Socket socket = new(family, SocketType.Raw, isV4 ? ProtocolType.Icmp : ProtocolType.IcmpV6);
        // To no address in particular; .NET receives from bound sockets alone.
        socket.Bind(new IPEndPoint(isV4 ? IPAddress.Any : IPAddress.IPv6Any, 0));
        // <linux/icmp.h> and <linux/icmpv6.h>: a set bit keeps a type out. Destination unreachable is 3, and 1 in ICMPv6.
        const int SolRaw = 255, IcmpFilter = 1, SolIcmpV6 = 58, Icmp6Filter = 1;
        if (isV4) socket.SetRawSocketOption(SolRaw, IcmpFilter, BitConverter.GetBytes(~(1u << 3)));
        else socket.SetRawSocketOption(SolIcmpV6, Icmp6Filter, [.. BitConverter.GetBytes(~(1u << 1)), .. Enumerable.Repeat(byte.MaxValue, 28)]);
        return socket;
    }
}

/// <summary>A packet that the rules rejected, as the ICMP error about it shows.</summary>
internal readonly record struct RejectedPacket(BlockedProtocol Protocol, IPAddress? Destination, int Port)
{
    private const int IcmpHeader = 8;
    private const int HeaderV4 = 20;
    private const int HeaderV6 = 40;
    private const int Udp = 17;
    private const int Quic = 443;

    /// <summary>
    /// Reads what a raw socket gives: with ICMP the whole packet, with ICMPv6 the message alone. Null for what is no error of the rules:
    /// such comes from the address that the packet came from, and is about a packet to another; the error of a closed port comes from
    /// the address that the packet went to.
    /// </summary>
    public static RejectedPacket? Read(ReadOnlySpan<byte> message, IPAddress sender)
    {
        bool isV4 = sender.AddressFamily == AddressFamily.InterNetwork;
        if (isV4)
        {
            if (message.Length < HeaderV4 || LengthV4(message) > message.Length) return null;
            message = message[LengthV4(message)..];
        }

        int header = isV4 ? HeaderV4 : HeaderV6;
        if (message.Length < IcmpHeader + header) return null;
        ReadOnlySpan<byte> packet = message[IcmpHeader..];
        int addressLength = isV4 ? 4 : 16;
        IPAddress source = new(packet.Slice(header - 2 * addressLength, addressLength));
        IPAddress destination = new(packet.Slice(header - addressLength, addressLength));
        // A scope is not part of the address in a packet.
        IPAddress from = isV4 ? sender : new IPAddress(sender.GetAddressBytes());
        if (!source.Equals(from) || destination.Equals(from)) return null;

        int protocol = isV4 ? packet[9] : packet[6];
        packet = packet[Math.Min(isV4 ? LengthV4(packet) : HeaderV6, packet.Length)..];
        int port = protocol == Udp && packet.Length >= 4 ? BinaryPrimitives.ReadUInt16BigEndian(packet[2..]) : 0;
        BlockedProtocol blocked = protocol switch
        {
            Udp => port == Quic ? BlockedProtocol.Quic : BlockedProtocol.Udp,
            1 or 58 => BlockedProtocol.Icmp,
            _ => BlockedProtocol.Other,
        };
        // Unreachable: administratively prohibited, or the port.
        (byte type, byte prohibited, byte closed) = isV4 ? ((byte)3, (byte)13, (byte)3) : ((byte)1, (byte)1, (byte)4);
        return message[0] == type && message[1] == (blocked == BlockedProtocol.Quic ? closed : prohibited) ? new RejectedPacket(blocked, destination, port) : null;
    }

    private static int LengthV4(ReadOnlySpan<byte> packet) => Math.Max((packet[0] & 0xf) * 4, HeaderV4);
}
