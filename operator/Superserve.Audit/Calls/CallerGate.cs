using Grpc.Core;
using Microsoft.AspNetCore.Http;

namespace Superserve.Audit.Calls;

/// <summary>
/// In front of every call, before a byte of its message is read: whose token is it, has its pod few enough calls under way, and is there
/// a place. Calls in a place hold a batch in memory until it is stored, so their number bounds memory and queue alike; who finds none
/// waits a while and is then told to come again.
/// </summary>
internal sealed class CallerGate(KnownCallers callers, AuditMetrics metrics, TimeProvider time, CallerGate.Limits limits) : IDisposable
{
    private readonly SemaphoreSlim _places = new(limits.Calls);
    private readonly Lock _lock = new();
    private readonly Dictionary<string, int> _calls = [];

    /// <summary>Bounds of calls; tests make some of them smaller.</summary>
    internal sealed record Limits
    {
        /// <summary>Under way at one time.</summary>
        public int Calls { get; init; } = 256;

        /// <summary>Of one pod: a batch of each log, and some of the operator's questions.</summary>
        public int CallsOfPod { get; init; } = 8;

        /// <summary>How long a call waits for a place.</summary>
        public TimeSpan Wait { get; init; } = TimeSpan.FromSeconds(5);

        /// <summary>A call that is not done by then is cut, its message included.</summary>
        public TimeSpan Call { get; init; } = TimeSpan.FromSeconds(40);
    }

    /// <summary>The middleware.</summary>
    public async Task RunAsync(HttpContext context, Func<Task> next)
    {
        try
        {
            Caller caller = await callers.OfAsync(TokenOf(context), context.RequestAborted);
            Enter(caller);
            try
            {
                if (!await _places.WaitAsync(limits.Wait, context.RequestAborted))
                    throw new CallerRefusedException("busy", StatusCode.ResourceExhausted, "as many batches wait to be stored as may. Try again, later each time; if it stays so, the database is too slow for so many events");
                using CancellationTokenSource deadline = new(limits.Call, time);
                using CancellationTokenRegistration cut = deadline.Token.Register(context.Abort);
                try
                {
                    context.Features.Set(caller);
                    await next();
                }
                finally
                {
                    _places.Release();
                }
            }
            finally
            {
                Leave(caller);
            }
        }
        catch (CallerRefusedException refused)
        {
            metrics.Refused(refused.Reason);
            Answer(context, refused.Status, refused.Message);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // Nobody waits for an answer.
        }
    }

    /// <inheritdoc />
    public void Dispose() => _places.Dispose();

    private static string TokenOf(HttpContext context)
    {
        const string Scheme = "Bearer ";
        string? header = context.Request.Headers.Authorization is [{ } only] ? only : null;
        return header?.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase) == true ? header[Scheme.Length..].Trim()
            : throw new CallerRefusedException("no_token", StatusCode.Unauthenticated, "the call has no token: send the metadata 'authorization: Bearer TOKEN', with the pod's service account token for the audience superserve.ai");
    }

    /// <summary>A gRPC answer of nothing but a status.</summary>
    private static void Answer(HttpContext context, StatusCode status, string message)
    {
        context.Response.ContentType = "application/grpc";
        context.Response.Headers["grpc-status"] = ((int)status).ToString(System.Globalization.CultureInfo.InvariantCulture);
        context.Response.Headers["grpc-message"] = Uri.EscapeDataString(message);
    }

    private void Enter(Caller caller)
    {
        lock (_lock)
        {
            int calls = _calls.GetValueOrDefault(caller.Uid);
            if (calls >= limits.CallsOfPod)
                throw new CallerRefusedException("pod_busy", StatusCode.ResourceExhausted, "this pod has as many calls under way as it may. Send one batch of a log at a time");
            _calls[caller.Uid] = calls + 1;
        }
    }

    private void Leave(Caller caller)
    {
        lock (_lock)
        {
            if (--_calls[caller.Uid] == 0) _calls.Remove(caller.Uid);
        }
    }
}
