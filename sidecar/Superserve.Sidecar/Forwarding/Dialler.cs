using System.Net;
using System.Net.Sockets;
using Superserve.Sidecar.Capture;

namespace Superserve.Sidecar.Forwarding;

/// <summary>Makes a connection to the first of several addresses that takes one.</summary>
internal sealed class Dialler(EgressSockets sockets, TimeProvider time)
{
    /// <summary>RFC 8305: how long one address is tried alone before the next one is tried beside it.</summary>
    private static readonly TimeSpan AttemptDelay = TimeSpan.FromMilliseconds(250);

    /// <summary>Tries the addresses in order, each a moment after the one before; the first to connect wins.</summary>
    public Task<Socket> ConnectAsync(IPEndPoint[] endPoints, CancellationToken cancellationToken) =>
        ConnectAsync(endPoints, static endPoint => endPoint, static endPoint => new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp), cancellationToken);

    /// <summary>The same with ways of the caller's: <paramref name="create"/> makes an unconnected socket for one.</summary>
    public async Task<TSocket> ConnectAsync<TWay, TSocket>(TWay[] ways, Func<TWay, IPEndPoint> endPointOf, Func<TWay, TSocket> create, CancellationToken cancellationToken)
        where TSocket : Socket
    {
        if (ways.Length == 1) return await DialAsync(create(ways[0]), endPointOf(ways[0]), cancellationToken);
        using CancellationTokenSource losers = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        List<Task<TSocket>> attempts = [];
        Exception? failure = null;
        try
        {
            for (int next = 0; next < ways.Length || attempts.Count > 0;)
            {
                if (next < ways.Length)
                {
                    attempts.Add(DialAsync(create(ways[next]), endPointOf(ways[next]), losers.Token));
                    next++;
                }


                Task first = next < ways.Length
                    ? await Task.WhenAny([.. attempts, Task.Delay(AttemptDelay, time, losers.Token)])
                    : await Task.WhenAny(attempts);
                if (first is not Task<TSocket> attempt) continue;
                attempts.Remove(attempt);
                try
                {
                    return await attempt;
                }
                catch (SocketException exception)
                {
                    failure = exception;
                }
            }
        }
        finally
        {
            await losers.CancelAsync();
            // One that connects in this very moment is closed again.
            foreach (Task<TSocket> late in attempts) _ = late.ContinueWith(static task => task.Result.Dispose(), CancellationToken.None, TaskContinuationOptions.OnlyOnRanToCompletion, TaskScheduler.Default);
        }

        throw failure ?? new SocketException((int)SocketError.HostUnreachable);
    }

    private async Task<TSocket> DialAsync<TSocket>(TSocket socket, IPEndPoint endPoint, CancellationToken cancellationToken)
        where TSocket : Socket
    {
        try
        {
            sockets.SetMark(socket);
            socket.NoDelay = true;
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
            await socket.ConnectAsync(endPoint, cancellationToken);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
