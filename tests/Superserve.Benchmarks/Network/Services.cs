using System.Net;
using System.Net.Sockets;
using Superserve.Testing.Network;

namespace Superserve.Benchmarks.Network;

/// <summary>
/// What the clients talk to, at the upstream: plain TCP on threads that block, which costs little beside what is measured, and DNS.
/// They answer to anything, so that a client may begin as TLS does.
/// </summary>
internal sealed class Services : IDisposable
{
    /// <summary>Answers once; sends without end; answers once and keeps the connection.</summary>
    public const int Answer = 7001, Stream = 7002, Hold = 7003;

    /// <summary>How many connections are served at once; as many wait.</summary>
    private const int Threads = 32;

    private const int BlockLength = 256 * 1024;

    private static readonly byte[] Block = new byte[BlockLength];

    private readonly List<Socket> _sockets = [];
    private readonly List<Socket> _held = [];
    private readonly NameService _names;

    public Services(NetworkNamespace upstream, IPAddress address)
    {
        Listen(upstream, address, Answer, Threads, AnswerOne);
        Listen(upstream, address, Stream, Threads, StreamOne);
        Listen(upstream, address, Hold, 1, HoldOne);
        _names = new NameService(upstream, address);
    }

    public void Dispose()
    {
        _names.Dispose();
        foreach (Socket socket in _sockets) socket.Dispose();
        lock (_held)
            foreach (Socket socket in _held) socket.Dispose();
    }

    private void Listen(NetworkNamespace upstream, IPAddress address, int port, int threads, Action<Socket> serve)
    {
        Socket listener = upstream.Enter(() =>
        {
            Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            socket.Bind(new IPEndPoint(address, port));
            socket.Listen(1024);
            return socket;
        });
        _sockets.Add(listener);
        for (int i = 0; i < threads; i++) Start(() => Accept(listener, serve));
    }

    private static void Start(Action action) => new Thread(() => action()) { IsBackground = true }.Start();

    private static void Accept(Socket listener, Action<Socket> serve)
    {
        while (true)
        {
            Socket client;
            try
            {
                client = listener.Accept();
            }
            catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
            {
                return;
            }

            try
            {
                serve(client);
            }
            catch (SocketException)
            {
                // The client has enough.
                client.Dispose();
            }
        }
    }

    private static void AnswerOne(Socket client)
    {
        byte[] buffer = new byte[4096];
        client.NoDelay = true;
        if (client.Receive(buffer) > 0) client.Send(Block.AsSpan(0, Load.AnswerLength));
        while (client.Receive(buffer) > 0)
        {
            // Until the client closes.
        }

        client.Dispose();
    }

    private static void StreamOne(Socket client)
    {
        byte[] buffer = new byte[4096];
        if (client.Receive(buffer) == 0) client.Dispose();
        else while (true) client.Send(Block);
    }

    private void HoldOne(Socket client)
    {
        byte[] buffer = new byte[4096];
        client.Receive(buffer);
        client.Send(Block.AsSpan(0, Load.AnswerLength));
        lock (_held) _held.Add(client);
    }
}
