using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Superserve.Testing.Network;

namespace Superserve.Benchmarks.Http;

/// <summary>Reads uploads to their end, behind the service's nginx, which by itself would answer before.</summary>
internal sealed class UploadSink : IDisposable
{
    public const int Port = 7004;

    private readonly Socket _listener;

    public UploadSink(NetworkNamespace upstream)
    {
        _listener = upstream.Enter(() =>
        {
            Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            socket.Bind(new IPEndPoint(IPAddress.Loopback, Port));
            socket.Listen();
            return socket;
        });
        new Thread(Serve) { IsBackground = true }.Start();
    }

    public void Dispose() => _listener.Dispose();

    private void Serve()
    {
        byte[] buffer = new byte[256 * 1024];
        while (true)
        {
            try
            {
                using Socket client = _listener.Accept();
                int length = 0, head;
                while ((head = buffer.AsSpan(0, length).IndexOf("\r\n\r\n"u8)) < 0) length += Receive(client, buffer.AsSpan(length));
                string? size = Encoding.Latin1.GetString(buffer, 0, head).Split("\r\n").FirstOrDefault(line => line.StartsWith("content-length:", StringComparison.OrdinalIgnoreCase));
                if (size is null)
                {
                    client.Send("HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"u8);
                    continue;
                }

                long rest = long.Parse(size["content-length:".Length..], CultureInfo.InvariantCulture) - (length - head - 4);
                while (rest > 0) rest -= Receive(client, buffer);
                client.Send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"u8);
            }
            catch (ObjectDisposedException)
            {
                return;
            }
            catch (SocketException)
            {
                // Of the listener: the end. Of a client: the next one.
                if (!_listener.IsBound) return;
            }
        }
    }

    private static int Receive(Socket client, Span<byte> buffer) =>
        client.Receive(buffer) is > 0 and int length ? length : throw new SocketException((int)SocketError.ConnectionReset);
}
