using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Superserve.Core.Dns;
using Superserve.Sidecar.Capture;

namespace Superserve.Sidecar.Dns;

/// <summary>
/// One query to one server, by UDP, and by TCP where that is not enough. Each has a socket of its own, connected, so that the kernel
/// takes answers from that server alone.
/// </summary>
/// <remarks>
/// The sandbox is in the same network namespace. It sees the port in /proc/net/udp, and without any capability it can send a datagram
/// from an IPv6 address that is not its own (IPV6_FREEBIND; Linux refuses that for IPv4). So IPv6 servers are asked by TCP alone, and
/// a datagram that is not the answer ends the trust in datagrams: nobody gets a second guess at the id.
/// </remarks>
internal sealed class DnsExchange(EgressSockets sockets)
{
    /// <summary>More than any server sends that was told <see cref="DnsQuery.UdpLength"/>.</summary>
    private const int BufferLength = 4096;

    /// <summary>Asks; null for an answer that makes no sense.</summary>
    /// <exception cref="SocketException">The server cannot be reached.</exception>
    public async Task<DnsAnswer?> AskAsync(IPEndPoint server, string name, DnsType type, CancellationToken cancellationToken)
    {
        ushort id = (ushort)RandomNumberGenerator.GetInt32(ushort.MaxValue + 1);
        byte[] query = new byte[DnsQuery.MaxWrittenLength];
        int length = DnsQuery.Write(query, id, name, type);
        byte[]? message = server.AddressFamily == AddressFamily.InterNetworkV6 ? null : await AskByUdpAsync(server, query.AsMemory(0, length), cancellationToken);
        if (message is null || !DnsAnswer.IsFor(message, id, name, type) || DnsAnswer.IsTruncated(message))
            message = await AskByTcpAsync(server, query.AsMemory(0, length), cancellationToken);
        return message is not null && DnsAnswer.IsFor(message, id, name, type) && DnsAnswer.TryParse(message, name, type, out DnsAnswer? answer) ? answer : null;
    }

    private async Task<byte[]> AskByUdpAsync(IPEndPoint server, ReadOnlyMemory<byte> query, CancellationToken cancellationToken)
    {
        using Socket socket = sockets.Create(server.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        await socket.ConnectAsync(server, cancellationToken);
        await socket.SendAsync(query, cancellationToken);
        byte[] buffer = new byte[BufferLength];
        int received = await socket.ReceiveAsync(buffer, cancellationToken);
        return buffer[..received];
    }

    private async Task<byte[]?> AskByTcpAsync(IPEndPoint server, ReadOnlyMemory<byte> query, CancellationToken cancellationToken)
    {
        using Socket socket = sockets.Create(server.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(server, cancellationToken);
        await using NetworkStream stream = new(socket);
        await DnsFrames.WriteAsync(stream, query, cancellationToken);
        return await DnsFrames.ReadAsync(stream, cancellationToken);
    }
}

/// <summary>Messages on a TCP connection, each with its length ahead (RFC 1035 section 4.2.2).</summary>
internal static class DnsFrames
{
    /// <summary>The next message; null where there is none any more.</summary>
    public static async Task<byte[]?> ReadAsync(Stream stream, CancellationToken cancellationToken)
    {
        byte[] head = new byte[2];
        if (await stream.ReadAtLeastAsync(head, head.Length, throwOnEndOfStream: false, cancellationToken) < head.Length) return null;
        byte[] message = new byte[BinaryPrimitives.ReadUInt16BigEndian(head)];
        int read = await stream.ReadAtLeastAsync(message, message.Length, throwOnEndOfStream: false, cancellationToken);
        return read == message.Length ? message : null;
    }

    public static async Task WriteAsync(Stream stream, ReadOnlyMemory<byte> message, CancellationToken cancellationToken)
    {
        byte[] frame = new byte[2 + message.Length];
        BinaryPrimitives.WriteUInt16BigEndian(frame, (ushort)message.Length);
        message.CopyTo(frame.AsMemory(2));
        await stream.WriteAsync(frame, cancellationToken);
    }
}
