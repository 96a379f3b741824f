using Grpc.Core;
using Superserve.Protocol;
using DeliveryClient = Superserve.Protocol.Delivery.DeliveryClient;

namespace Superserve.Sidecar.Delivery;

/// <summary>
/// One stream to the operator, from the token to the end: Hello, then a snapshot whenever it changes, each acknowledged. A
/// heartbeat goes out each 10 s, and with it a new token when the one before is near its end.
/// </summary>
internal sealed partial class OperatorStream(
    DeliveryOptions options,
    OperatorTrust trust,
    ServiceChannels channels,
    OperatorSnapshots snapshots,
    DeliveryMetrics metrics,
    TimeProvider time,
    ILogger<OperatorStream> logger)
{
    /// <summary>How often a heartbeat goes out.</summary>
    public static readonly TimeSpan HeartbeatInterval = TimeSpan.FromSeconds(10);

    /// <summary>The sidecar's own version.</summary>
    public static readonly string Version = typeof(OperatorStream).Assembly.GetName().Version?.ToString(3) ?? "";

    /// <summary>How long the operator may be silent.</summary>
    public static readonly TimeSpan MaxSilence = TimeSpan.FromSeconds(30);

    /// <summary>For a token that does not say when it ends.</summary>
    private static readonly TimeSpan UsualLifetime = TimeSpan.FromMinutes(10);

    private readonly TokenFile _tokens = new(options.TokenFile);

    /// <summary>Runs until the stream ends, which is never an exception but for <paramref name="stopping"/>.</summary>
    public async Task<StreamEnd> RunAsync(CancellationToken stopping)
    {
        if (!_tokens.TryRead(out Token? token, out string? error)) return new StreamEnd(EndReason.NoToken, error);
        using CancellationTokenSource silence = new(MaxSilence, time);
        using CancellationTokenSource ended = CancellationTokenSource.CreateLinkedTokenSource(silence.Token, stopping);
        using ServiceChannel channel = channels.Open("the operator", options.Host, options.Port);
        using AsyncDuplexStreamingCall<SidecarMessage, OperatorMessage> call = new DeliveryClient(channel.Invoker)
            .Connect(new Metadata { { "authorization", "Bearer " + token.Text } }, cancellationToken: ended.Token);
        using Sender sender = new(call.RequestStream);
        Task beating = BeatAsync(sender, token, ended.Token);
        try
        {
            return await ReceiveAsync(call.ResponseStream, sender, silence, ended.Token);
        }
        catch (Exception exception) when (exception is RpcException or OperationCanceledException)
        {
            stopping.ThrowIfCancellationRequested();
            return silence.IsCancellationRequested
                ? new StreamEnd(EndReason.Silent, $"{options.Address} was not heard for {MaxSilence.TotalSeconds} s. The operator may hang, or a firewall may drop the connection.")
                : channel.Describe((exception as RpcException)?.Status ?? Status.DefaultCancelled);
        }
        finally
        {
            await ended.CancelAsync();
            await beating.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task<StreamEnd> ReceiveAsync(IAsyncStreamReader<OperatorMessage> messages, Sender sender, CancellationTokenSource silence, CancellationToken ended)
    {
        long revision = 0;
        bool isInForce = false;
        while (await messages.MoveNext(ended))
        {
            silence.CancelAfter(MaxSilence);
            metrics.Connected();
            OperatorMessage message = messages.Current;
            switch (message.MessageCase)
            {
                case OperatorMessage.MessageOneofCase.Snapshot:
                    string? error = message.Snapshot.Revision > revision
                        ? snapshots.Take(message.Snapshot)
                        : snapshots.Reject(message.Snapshot.Revision, $"revision: it came after {revision} on the same stream");
                    isInForce = error is null;
                    revision = Math.Max(revision, message.Snapshot.Revision);
                    await sender.SendAsync(new SidecarMessage { Acknowledgement = new Acknowledgement { Revision = message.Snapshot.Revision, Error = error ?? "" } }, ended);
                    break;
                case OperatorMessage.MessageOneofCase.Trust:
                    trust.Replace(message.Trust.Authorities);
                    break;
                case OperatorMessage.MessageOneofCase.Goodbye:
                    return new StreamEnd(EndReason.Goodbye, "this replica of the operator ends; another one is asked.") { Delay = TimeSpan.FromMilliseconds(message.Goodbye.DelayMilliseconds) };
                default:
                    // A heartbeat, or what a newer operator says and an older sidecar need not know.
                    break;
            }

            if (isInForce) snapshots.Confirm();
        }

        return new StreamEnd(EndReason.Ended, $"{options.Address} ended the stream.");
    }

    private async Task BeatAsync(Sender sender, Token token, CancellationToken ended)
    {
        await sender.SendAsync(new SidecarMessage { Hello = new Hello { Protocol = SnapshotMapping.Version, Version = Version, Capture = options.Capture } }, ended);
        using PeriodicTimer timer = new(HeartbeatInterval, time);
        DateTimeOffset renewAt = RenewAt(token);
        while (await timer.WaitForNextTickAsync(ended))
        {
            await sender.SendAsync(new SidecarMessage { Heartbeat = new Heartbeat() }, ended);
            if (time.GetUtcNow() < renewAt) continue;
            if (!_tokens.TryRead(out Token? fresh, out string? error)) LogNoToken(error);
            else if (fresh.Text != token.Text)
            {
                token = fresh;
                await sender.SendAsync(new SidecarMessage { Renewal = new Renewal { Token = token.Text } }, ended);
            }

            // The kubelet may not have replaced it yet: sooner each time.
            renewAt = RenewAt(token);
        }
    }

    private DateTimeOffset RenewAt(Token token)
    {
        DateTimeOffset now = time.GetUtcNow();
        return now + ((token.ExpiresAt is { } end ? end - now : UsualLifetime) * (2.0 / 3));
    }

    /// <summary>Lets several tasks write, one message at a time.</summary>
    private sealed class Sender(IClientStreamWriter<SidecarMessage> writer) : IDisposable
    {
        private readonly SemaphoreSlim _turn = new(1);

        /// <summary>Writes; on a stream that ended it does nothing, since its reader learns why.</summary>
        public async Task SendAsync(SidecarMessage message, CancellationToken cancellationToken)
        {
            await _turn.WaitAsync(cancellationToken);
            try
            {
                await writer.WriteAsync(message, cancellationToken);
            }
            catch (Exception exception) when (exception is RpcException or InvalidOperationException)
            {
                // See above.
            }
            finally
            {
                _turn.Release();
            }
        }

        public void Dispose() => _turn.Dispose();
    }

    [LoggerMessage(81, LogLevel.Warning, "The token cannot be renewed: {Error}")]
    private partial void LogNoToken(string error);
}
