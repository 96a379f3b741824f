using System.Buffers;
using System.IO.Pipelines;
using System.Net.Sockets;

namespace Superserve.Sidecar.Proxy;

/// <summary>
/// Passes bytes between a client and a service, each direction ending by itself (half-close), with no limit but idleness.
/// Towards the client it writes to the socket itself: the server's output pipe cannot be closed for one direction alone.
/// </summary>
internal sealed class Tunnel(PipeReader clientInput, Socket client, Socket service, SandboxConnection connection, IdleTimeout idle) : IDisposable
{
    private const int BufferLength = 32 * 1024;

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
                await ToClientAsync();
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
        while (true)
        {
            ReadResult result = await clientInput.ReadAsync(_stop.Token);
            foreach (ReadOnlyMemory<byte> segment in result.Buffer)
            {
                for (ReadOnlyMemory<byte> rest = segment; !rest.IsEmpty;) rest = rest[await service.SendAsync(rest, SocketFlags.None, _stop.Token)..];
                connection.Sent(segment.Length);
            }

            idle.Touch();
            clientInput.AdvanceTo(result.Buffer.End);
            if (!result.IsCompleted) continue;
            service.Shutdown(SocketShutdown.Send);
            return;
        }
    }

    private async Task ToClientAsync()
    {
        while (true)
        {
            // Waiting without a buffer keeps idle tunnels small.
            if (service.Available == 0) await service.ReceiveAsync(Memory<byte>.Empty, SocketFlags.None, _stop.Token);
            byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferLength);
            try
            {
                int length = await service.ReceiveAsync(buffer, SocketFlags.None, _stop.Token);
                if (length == 0)
                {
                    client.Shutdown(SocketShutdown.Send);
                    return;
                }

                connection.Received(length);
                for (ReadOnlyMemory<byte> rest = buffer.AsMemory(0, length); !rest.IsEmpty;) rest = rest[await client.SendAsync(rest, SocketFlags.None, _stop.Token)..];
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
