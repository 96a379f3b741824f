using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using System.Threading.RateLimiting;
using Microsoft.AspNetCore.Http.Features;
using Superserve.Operator.Connections;
using Superserve.Operator.Metrics;

namespace Superserve.Operator.Admission;

/// <summary>
/// The webhook server: takes AdmissionReviews, asks a handler, and answers. What cannot be read gets a 4xx with a text that the API
/// server shows its user; what cannot be decided is denied; nothing but a handler's own answer allows anything.
/// </summary>
/// <remarks>
/// The port is open to the whole cluster, and API servers seldom have a client certificate: whoever reaches it may ask in any
/// user's name. Such a caller changes nothing. It learns what access reviews say of others and, of labels that it guesses, the names
/// of bindings and Superserve Secrets; and it gets a seal over a pod of its own making, which is worth something only in a pod
/// that it may create and that the guard lets pass. It could keep the operator busy, so reviews are bounded in number, size and
/// time, by address too. A NetworkPolicy that lets the API server alone in ends all of this.
/// </remarks>
public sealed partial class AdmissionEndpoints : IDisposable
{
    /// <summary>Where Superserve Secrets are judged, as in the chart's <c>webhooks.yaml</c>.</summary>
    public const string SecretsPath = "/validate/secrets";

    /// <summary>Where SandboxBindings are judged.</summary>
    public const string BindingsPath = "/validate/sandboxbindings";

    /// <summary>
    /// The longest review. The API server takes objects of up to 3 MB, and an update has the old one too; the rest is escaping.
    /// </summary>
    public const int MaxBodyBytes = 8 * 1024 * 1024;

    /// <summary>Shorter than the webhooks' timeout of 10 s, so that the user gets our words and not the API server's.</summary>
    public static readonly TimeSpan Deadline = TimeSpan.FromSeconds(8);

    /// <summary>How long a body may take once its turn has come: the API server has it ready.</summary>
    public static readonly TimeSpan BodyDeadline = TimeSpan.FromSeconds(2);

    private const int MaxConcurrent = 32;
    private const int MaxWaiting = 256;
    private const int MaxConcurrentOfAddress = 24;
    private const int MaxWaitingOfAddress = 192;

    private readonly PartitionedRateLimiter<HttpContext> _shares = PartitionedRateLimiter.Create<HttpContext, IPAddress>(context =>
        RateLimitPartition.GetConcurrencyLimiter(
            AddressLimit.CallerOf(context.Connection.RemoteIpAddress), _ => Turns(MaxConcurrentOfAddress, MaxWaitingOfAddress)));

    private readonly ConcurrencyLimiter _slots = new(Turns(MaxConcurrent, MaxWaiting));

    private readonly OperatorMetrics _metrics;
    private readonly TimeProvider _time;
    private readonly ILogger<AdmissionEndpoints> _logger;

    /// <summary>One for all webhooks, which share its bounds.</summary>
    public AdmissionEndpoints(OperatorMetrics metrics, TimeProvider time, ILogger<AdmissionEndpoints> logger)
    {
        _metrics = metrics;
        _time = time;
        _logger = logger;
    }

    /// <summary>Lets a handler answer at a path. In metrics the webhook's name is the path without its first slash.</summary>
    public void Map(IEndpointRouteBuilder routes, string path, IAdmissionHandler handler)
    {
        string webhook = path.TrimStart('/');
        routes.MapPost(path, context => ServeAsync(context, webhook, handler));
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _shares.Dispose();
        _slots.Dispose();
    }

    private static ConcurrencyLimiterOptions Turns(int atWork, int waiting) => new()
    {
        PermitLimit = atWork,
        QueueLimit = waiting,
        QueueProcessingOrder = QueueProcessingOrder.OldestFirst,
    };

    private async Task ServeAsync(HttpContext context, string webhook, IAdmissionHandler handler)
    {
        long started = _time.GetTimestamp();
        string outcome = "error";
        using CancellationTokenSource deadline = new(Deadline, _time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, context.RequestAborted);
        try
        {
            outcome = await AnswerAsync(context, webhook, handler, either.Token);
        }
        catch (OperationCanceledException) when (either.IsCancellationRequested)
        {
            // No uid was read yet, or the caller went away and nobody reads this.
            await RefuseAsync(context, HttpStatusCode.RequestTimeout, $"the review did not arrive, or had no turn, within {Deadline.TotalSeconds} s; try again");
        }
        finally
        {
            _metrics.Admitted(webhook, outcome, _time.GetElapsedTime(started));
        }
    }

    private async Task<string> AnswerAsync(HttpContext context, string webhook, IAdmissionHandler handler, CancellationToken cancellationToken)
    {
        // 1. Is it what we read?
        if (!IsJson(context.Request.ContentType))
            return await RefuseAsync(context, HttpStatusCode.UnsupportedMediaType, "the body is not application/json; send an AdmissionReview as JSON in UTF-8");

        // 2. A turn, before anything is read: bodies take memory. First one of the address's own, so that nobody fills the common queue alone.
        using RateLimitLease share = await _shares.AcquireAsync(context, cancellationToken: cancellationToken);
        if (!share.IsAcquired) return await RefuseAsync(context, HttpStatusCode.TooManyRequests, "the operator has too many reviews of this address at once; try again");
        using RateLimitLease slot = await _slots.AcquireAsync(cancellationToken: cancellationToken);
        if (!slot.IsAcquired) return await RefuseAsync(context, HttpStatusCode.TooManyRequests, "the operator has too many reviews at once; try again");

        // 3. The question.
        if (await ReadBodyAsync(context, cancellationToken) is not { } body) return "error";
        using JsonDocument? document = AdmissionReview.Parse(body, out string error);
        if (document is null || !AdmissionReview.TryRead(document.RootElement, out AdmissionRequest? request, out error))
            return await RefuseAsync(context, HttpStatusCode.BadRequest, error);

        // 4. The answer.
        AdmissionDecision decision = await DecideAsync(webhook, handler, request, cancellationToken);
        context.Response.ContentType = "application/json";
        await context.Response.Body.WriteAsync(AdmissionReview.Write(request.Uid, decision), CancellationToken.None);
        return decision switch
        {
            { IsAllowed: true } => "allowed",
            { Code: >= HttpStatusCode.InternalServerError } => "error",
            _ => "denied",
        };
    }

    private async Task<AdmissionDecision> DecideAsync(
        string webhook, IAdmissionHandler handler, AdmissionRequest request, CancellationToken cancellationToken)
    {
        try
        {
            return await handler.AdmitAsync(request, cancellationToken);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            LogLate(webhook, request);
            return AdmissionDecision.TimedOut($"the operator could not check the request within {Deadline.TotalSeconds} s, and what is not checked is denied; try again");
        }
        catch (CannotDecideException exception)
        {
            LogUndecided(webhook, request, exception.Message, exception.InnerException?.Message);
            return AdmissionDecision.Unavailable(exception.Message);
        }
        catch (Exception exception)
        {
            // Any fault of ours is a denial. Its message may quote the object, which may hold a credential in the clear.
            LogFault(webhook, request, exception.GetType().Name, exception.StackTrace);
            return AdmissionDecision.Fault("the operator failed to check the request, and what is not checked is denied; its log says where (look for event 202)");
        }
    }

    /// <summary>The body, or null once it has been refused.</summary>
    private async Task<ReadOnlyMemory<byte>?> ReadBodyAsync(HttpContext context, CancellationToken cancellationToken)
    {
        // Kestrel's own limit cuts the connection, often before the caller has read why; this one answers, and Kestrel then reads the
        // rest away for a few seconds at most.
        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } limit) limit.MaxRequestBodySize = null;
        using CancellationTokenSource patience = new(BodyDeadline, _time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, cancellationToken);
        try
        {
            ArrayBufferWriter<byte> body = new();
            PipeReader reader = context.Request.BodyReader;
            while (context.Request.ContentLength is null or <= MaxBodyBytes && body.WrittenCount <= MaxBodyBytes)
            {
                ReadResult read = await reader.ReadAsync(either.Token);
                foreach (ReadOnlyMemory<byte> piece in read.Buffer) body.Write(piece.Span);
                reader.AdvanceTo(read.Buffer.End);
                if (read.IsCompleted && body.WrittenCount <= MaxBodyBytes) return body.WrittenMemory;
            }

            await RefuseAsync(context, HttpStatusCode.RequestEntityTooLarge, $"the review has more than {MaxBodyBytes} bytes, which no object that the API server stores needs; make the object smaller");
        }
        catch (OperationCanceledException) when (patience.IsCancellationRequested)
        {
            await RefuseAsync(context, HttpStatusCode.RequestTimeout, $"the review did not arrive within {BodyDeadline.TotalSeconds} s; send its body at once");
        }
        catch (IOException)
        {
            // The connection broke, or the framing is wrong.
            await RefuseAsync(context, HttpStatusCode.BadRequest, "the body ended early or was not framed as HTTP says; send it again");
        }

        return null;
    }

    private static bool IsJson(string? contentType) =>
        MediaTypeHeaderValue.TryParse(contentType, out MediaTypeHeaderValue? type)
        && string.Equals(type.MediaType, "application/json", StringComparison.OrdinalIgnoreCase)
        && (type.CharSet is null || string.Equals(type.CharSet.Trim('"'), "utf-8", StringComparison.OrdinalIgnoreCase));

    private static async Task<string> RefuseAsync(HttpContext context, HttpStatusCode status, string text)
    {
        context.Response.StatusCode = (int)status;
        context.Response.ContentType = "text/plain; charset=utf-8";
        await context.Response.WriteAsync(text + "\n");
        return "error";
    }

    [LoggerMessage(200, LogLevel.Warning, "{Webhook}: {Request} was denied, since checking it took too long or nobody waited for it. Look for what slows the API server down.")]
    private partial void LogLate(string webhook, AdmissionRequest request);

    [LoggerMessage(201, LogLevel.Warning, "{Webhook}: {Request} was denied: {Message} ({Cause})")]
    private partial void LogUndecided(string webhook, AdmissionRequest request, string message, string? cause);

    [LoggerMessage(202, LogLevel.Error, "{Webhook}: {Request} was denied after a fault of the operator: {Fault}\n{Stack}")]
    private partial void LogFault(string webhook, AdmissionRequest request, string fault, string? stack);
}
