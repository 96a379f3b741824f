using Grpc.Core;
using Superserve.Kubernetes;
using Superserve.Operator.Cluster;
using Superserve.Operator.Metrics;
using Superserve.Protocol;

namespace Superserve.Operator.Delivery;

/// <summary>
/// One stream per sidecar: it proves which pod it is, the pod is looked at, it says Hello, and then it gets its own pod's snapshot
/// whenever that changes.
/// </summary>
/// <remarks>
/// <code>
/// call ── token ──────────▶ TokenReview: which pod, until when
///      ── the live pod ───▶ its UID is the token's, it is injected, no copy, and the guard finds nothing
///      ── Hello ──────────▶ a protocol that both speak
///      ── the registry ───▶ in the place of the pod's earlier stream
///      ══ Trust, Snapshot, Snapshot … ══▶        ◀══ Acknowledgement, Heartbeat, Renewal ══
/// </code>
/// Whatever fails on the way ends the call with a status whose detail says what happened and what to do.
/// </remarks>
internal sealed partial class DeliveryService(
    ClusterCache cluster,
    SandboxRegistry registry,
    TokenReviewer reviewer,
    PodVetting vetting,
    DeliveryGate gate,
    DeliveryLimits limits,
    IStandInKey key,
    DeliveryMetrics metrics,
    TimeProvider time,
    ILogger<DeliveryService> logger) : Protocol.Delivery.DeliveryBase
{
    /// <summary>Either side may be so much older.</summary>
    private const uint Skew = 2;

    private const int MaxVersion = 64;

    /// <inheritdoc />
    public override async Task Connect(IAsyncStreamReader<SidecarMessage> requestStream, IServerStreamWriter<OperatorMessage> responseStream, ServerCallContext context)
    {
        ProvenPod? proven = null;
        SidecarStream stream;
        int namings = registry.Namings;
        try
        {
            using IDisposable place = gate.Enter(registry, context.GetHttpContext().Connection.RemoteIpAddress);
            using CancellationTokenSource handshake = new(limits.Handshake, time);
            using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(handshake.Token, context.CancellationToken);
            try
            {
                proven = await reviewer.ReviewAsync(TokenOf(context), either.Token);
                SandboxFacts sandbox = await vetting.VetAsync(proven, either.Token);
                Hello hello = await GreetAsync(requestStream, context.CancellationToken);
                stream = new SidecarStream(sandbox, proven, hello, limits, reviewer, vetting, metrics, time, logger);
            }
            catch (OperationCanceledException) when (handshake.IsCancellationRequested && !context.CancellationToken.IsCancellationRequested)
            {
                throw new EndingException(Ending.HandshakeTooLong);
            }

            registry.Add(stream, namings);
        }
        catch (EndingException exception)
        {
            metrics.Refused(exception.Ending.Reason);
            // Who has no genuine token can knock as often as they like, and fill no log.
            LogRefused(proven is null ? LogLevel.Debug : LogLevel.Warning, proven?.Pod.ToString() ?? "an unknown caller", exception.Message);
            throw Failure(exception.Ending);
        }
        catch (Exception exception) when (!context.CancellationToken.IsCancellationRequested)
        {
            // Whatever it was, it lets nobody in. Only its type: a text could quote what was sent.
            metrics.Refused(Ending.Fault.Reason);
            LogFault(exception.GetType());
            throw Failure(Ending.Fault);
        }

        using (stream) await ServeAsync(stream, requestStream, responseStream, context);
    }

    private async Task ServeAsync(
        SidecarStream stream, IAsyncStreamReader<SidecarMessage> requestStream, IServerStreamWriter<OperatorMessage> responseStream, ServerCallContext context)
    {
        metrics.Opened();
        LogOpened(stream.Sandbox.Pod, stream.Version, stream.Capture);
        Ending ending = Ending.Fault;
        try
        {
            ending = await stream.RunAsync(requestStream, responseStream, context.CancellationToken);
        }
        finally
        {
            registry.Remove(stream);
            metrics.Closed(ending.Reason);
            LogClosed(stream.Sandbox.Pod, ending.Message);
        }

        // What the sidecar did not take would keep the call, and its memory, until it did.
        if (stream.IsCut) context.GetHttpContext().Abort();
        if (ending != Ending.SidecarLeft) throw Failure(ending);
    }

    private string TokenOf(ServerCallContext context)
    {
        const string Scheme = "Bearer ";
        if (cluster.Missing.FirstOrDefault() is { } missing) throw new EndingException(Ending.Starting(missing));
        if (!key.IsReady) throw new EndingException(Ending.Starting("the key of stand-ins"));
        string? header = context.RequestHeaders.GetValue("authorization");
        return header?.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase) == true ? header[Scheme.Length..].Trim() : throw new EndingException(Ending.NoToken);
    }

    private async Task<Hello> GreetAsync(IAsyncStreamReader<SidecarMessage> requestStream, CancellationToken cancelled)
    {
        using CancellationTokenSource patience = new(limits.Hello, time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, cancelled);
        try
        {
            if (!await requestStream.MoveNext(either.Token) || requestStream.Current.Hello is not { } hello) throw new EndingException(Ending.NoHello);
            if (hello.Protocol == 0) throw new EndingException(Ending.NoProtocol);
            if (hello.Protocol > SnapshotMapping.Version + Skew) throw new EndingException(Ending.ProtocolTooNew(hello.Protocol, SnapshotMapping.Version));
            if (hello.Capture is not ("Transparent" or "Explicit")) throw new EndingException(Ending.BadHello("neither Transparent nor Explicit as its capture"));
            if (hello.Version.Length is 0 or > MaxVersion || hello.Version.AsSpan().ContainsAnyExceptInRange('!', '~'))
                throw new EndingException(Ending.BadHello("no version, or one that is no word of up to 64 characters"));
            return hello;
        }
        catch (OperationCanceledException) when (patience.IsCancellationRequested)
        {
            throw new EndingException(Ending.NoHello);
        }
        catch (IOException)
        {
            throw new EndingException(Ending.NoHello);
        }
        catch (RpcException)
        {
            throw new EndingException(Ending.Unreadable);
        }
    }

    private static RpcException Failure(Ending ending) => new(new Status(ending.Status, ending.Message));

    [LoggerMessage(EventId = 344, Message = "A sidecar was not let in: {Caller}: {Reason}.")]
    private partial void LogRefused(LogLevel level, string caller, string reason);

    [LoggerMessage(347, LogLevel.Error, "A sidecar was not let in by a mistake of the operator's: {Error}.")]
    private partial void LogFault(Type error);

    [LoggerMessage(345, LogLevel.Information, "The sidecar of {Pod} is connected: version {Version}, capture {Capture}.")]
    private partial void LogOpened(ObjectKey pod, string version, string capture);

    [LoggerMessage(346, LogLevel.Information, "The stream of {Pod} has ended: {Reason}.")]
    private partial void LogClosed(ObjectKey pod, string reason);
}
