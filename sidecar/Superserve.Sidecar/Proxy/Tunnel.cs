using System.Buffers;
using System.Net.Sockets;

namespace Superserve.Sidecar.Proxy;

/// <summary>Passes bytes between a client and a service, each direction ending by itself (half-close), with no limit but idleness.</summary>
internal sealed class Tunnel(ClientConnection client, Socket service, SandboxConnection connection, IdleTimeout idle) : IDisposable
{
    private const int BufferLength = 32 * 1024;

    /// <summary>Reads in a row that found something at once; then others have their turn (<see cref="SocketStream"/>).</summary>
    private const int MaxStreak = 16;

    private readonly CancellationTokenSource _stop = CancellationTokenSource.CreateLinkedTokenSource(idle.Token);
    private Task _toClient = Task.CompletedTask;

    /// <summary>Whether the service has sent anything.</summary>
    public bool HasReceived => connection.BytesReceived > 0;

    /// <summary>Begins to pass on what the service sends, ahead of a word of the client: some protocols start so.</summary>
    public void StartToClient()
    {
        _toClient = StartAsync();

        async Task StartAsync()
        {
            try
            {
                await PassAsync(service, client.Socket, connection.Received);
            }
            catch
            {
                // Who waits for the client's first word would wait for a service that is gone.
                idle.Stop();
                throw;
            }
        }
    }

    /// <summary>Passes bytes both ways until both ends are done.</summary>
    public async Task RunAsync()
    {
        Task toService = ToServiceAsync();
        // A direction that ends well leaves the other going; one that breaks ends both.
        Task first = await Task.WhenAny(toService, _toClient);
        if (!first.IsCompletedSuccessfully) await _stop.CancelAsync();
        await Task.WhenAll(toService, _toClient);
    }

    /// <summary>Stops, when the client's first bytes turn out to be something else than was thought.</summary>
    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await _toClient.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    public void Dispose() => _stop.Dispose();

    private async Task ToServiceAsync()
    {
        if (client.Stream.PeekedLength is > 0 and int first)
        {
            foreach (ReadOnlyMemory<byte> segment in client.Stream.Peeked)
                for (ReadOnlyMemory<byte> rest = segment; !rest.IsEmpty;) rest = rest[await service.SendAsync(rest, SocketFlags.None, _stop.Token)..];
            client.Stream.Skip(first);
            connection.Sent(first);
            idle.Touch();
        }

        await PassAsync(client.Socket, service, connection.Sent);
    }

    private async Task PassAsync(Socket from, Socket to, Action<long> count)
    {
        int streak = 0;
        while (true)
        {
            if (from.Available == 0)
            {
                // Waiting without a buffer keeps idle tunnels small.
                streak = 0;
                await from.ReceiveAsync(Memory<byte>.Empty, SocketFlags.None, _stop.Token);
            }
            else if (++streak >= MaxStreak)
            {
                streak = 0;
                await Task.Yield();
            }

            byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferLength);
            try
            {
                int length = await from.ReceiveAsync(buffer, SocketFlags.None, _stop.Token);
                if (length == 0)
                {
                    to.Shutdown(SocketShutdown.Send);
                    return;
                }

                count(length);
                for (ReadOnlyMemory<byte> rest = buffer.AsMemory(0, length); !rest.IsEmpty;) rest = rest[await to.SendAsync(rest, SocketFlags.None, _stop.Token)..];
                idle.Touch();
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }
        }
    }
}

/// <summary>Cancels when nothing has happened for a while.</summary>
internal sealed class IdleTimeout(TimeSpan limit, TimeProvider time) : IDisposable
{
    // Moving a timer costs more than reading a clock.
    private static readonly TimeSpan Resolution = TimeSpan.FromSeconds(1);

    private readonly CancellationTokenSource _source = new(limit, time);
    private long _touched = time.GetTimestamp();

    /// <summary>Cancelled after the idle time.</summary>
    public CancellationToken Token => _source.Token;

    /// <summary>Something happened.</summary>
    public void Touch()
    {
        long touched = Volatile.Read(ref _touched);
        if (limit > Resolution && time.GetElapsedTime(touched) < Resolution) return;
        Volatile.Write(ref _touched, time.GetTimestamp());
        _source.CancelAfter(limit);
    }

    /// <summary>Cancels at once.</summary>
    public void Stop() => _source.Cancel();

    public void Dispose() => _source.Dispose();
}
