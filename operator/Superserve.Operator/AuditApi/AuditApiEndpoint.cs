using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using System.Threading.RateLimiting;
using Grpc.Core;
using Microsoft.AspNetCore.Http.Features;
using Superserve.Operator.Admission;
using Superserve.Operator.Metrics;
using Superserve.Protocol.Audit;

namespace Superserve.Operator.AuditApi;

/// <summary>
/// The aggregated API <c>audit.superserve.ai/v1alpha1</c>: the whole way of a request, from the API server to its answer.
/// <para>
/// Discovery is answered without asking anybody: an APIService without an answer hangs the deletion of every namespace of the cluster.
/// Rows are the audit service's, and each list is authorised again by a SubjectAccessReview.
/// </para>
/// </summary>
internal sealed partial class AuditApiEndpoint(FrontProxy frontProxy, AccessReviewer access, AuditClient service, OperatorMetrics metrics, TimeProvider time, ILogger<AuditApiEndpoint> logger) : IDisposable
{
    /// <summary>How long an answer may take; the API server itself waits for a minute.</summary>
    public static readonly TimeSpan Deadline = TimeSpan.FromSeconds(20);

    // A page in all its forms is some megabytes; and the audit service answers eight calls of one pod at once.
    private const int MaxConcurrent = 6;
    private const int MaxWaiting = 64;

    private readonly ConcurrencyLimiter _turns = new(new ConcurrencyLimiterOptions { PermitLimit = MaxConcurrent, QueueLimit = MaxWaiting, QueueProcessingOrder = QueueProcessingOrder.OldestFirst });

    /// <summary>Answers a request, whatever it is.</summary>
    public async Task HandleAsync(HttpContext context)
    {
        Target? target = Target.Of(context.Request.Path.Value ?? "");
        // Nothing is read of a body: no request that is answered has one.
        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } limit) limit.MaxRequestBodySize = 0;
        using CancellationTokenSource deadline = new(Deadline, time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, context.RequestAborted);
        try
        {
            await AnswerAsync(context, target, either.Token);
        }
        catch (AuditApiException exception)
        {
            await RefuseAsync(context, target, exception);
        }
        catch (CannotDecideException exception)
        {
            await RefuseAsync(context, target, AuditApiException.Unavailable(exception.Message));
        }
        catch (OperationCanceledException) when (either.IsCancellationRequested)
        {
            await RefuseAsync(context, target, AuditApiException.Unavailable($"there was no answer within {Deadline.TotalSeconds} s; try again, or ask for less by --field-selector since=10m"));
        }
        catch (Exception exception) when (!context.Response.HasStarted)
        {
            LogFault(exception.GetType().Name, exception.StackTrace);
            await RefuseAsync(context, target, AuditApiException.Fault("the operator failed to answer; its log says where (look for event 361)"));
        }

        metrics.AuditAsked(target?.Resource.Kind.Plural ?? "none", context.Response.StatusCode);
    }

    /// <inheritdoc />
    public void Dispose() => _turns.Dispose();

    private async Task AnswerAsync(HttpContext context, Target? target, CancellationToken cancellationToken)
    {
        // 1. Who asks? Only the API server's front proxy is believed about it.
        Requester user = frontProxy.Identify(context);

        // 2. Discovery and OpenAPI are for everybody whom the API server lets ask.
        bool isGet = HttpMethods.IsGet(context.Request.Method);
        if (target is null)
        {
            byte[] document = AuditDocuments.Find(context.Request.Path.Value ?? "") ?? throw AuditApiException.NotFound("the server could not find the requested resource");
            if (!isGet) throw AuditApiException.MethodNotAllowed("the server does not allow this method on the requested resource");
            await WriteAsync(context, document);
            return;
        }

        // 3. Is it a get or a list?
        if (!isGet) throw AuditApiException.MethodNotAllowed($"{target.Resource.Kind.Plural} are written by sidecars alone: they can be read (get, list), and neither changed nor deleted");
        if (context.Request.Query["watch"].ToString() is not ("" or "false" or "0"))
            throw AuditApiException.MethodNotAllowed($"{target.Resource.Kind.Plural} cannot be watched (-w): ask again, for what is new by --field-selector since=1m");

        // 4. A turn, so that no crowd of lists fills the memory.
        using RateLimitLease turn = await _turns.AcquireAsync(cancellationToken: cancellationToken);
        if (!turn.IsAcquired) throw AuditApiException.TooMany("the operator is answering too many lists at once; try again");

        // 5. May they? The API server has asked already; this costs little, and holds where it was set up wrongly.
        string verb = target.Name is null ? "list" : "get";
        if (!await access.IsAllowedAsync(user, verb, target.Resource.Kind, target.Namespace, target.Name ?? "", cancellationToken))
            throw AuditApiException.Forbidden(Forbidden(user, verb, target));

        // 6. What exactly do they want, and how?
        AnswerForm form = AnswerForm.Read(context.Request);
        if (target.Name is not null)
        {
            ListReply found = await AskAsync(AuditQuery.One(target.Resource, target.Namespace, target.Name), cancellationToken);
            AuditRow row = target.Resource.Rows(found).FirstOrDefault()
                ?? throw AuditApiException.NotFound($"{target.Resource.Kind.QualifiedName} \"{target.Name}\" not found");
            await WriteAsync(context, form.IsTable ? AuditTable.Of(target.Resource, [row], form, null) : row.Object());
            return;
        }

        AuditQuery query = AuditQuery.Read(target.Resource, target.Namespace, context.Request.Query, time.GetUtcNow());

        // 7. The audit service has the rows.
        ListReply reply = query.IsEmpty ? new ListReply() : await AskAsync(query.Request, cancellationToken);

        // 8. The answer.
        List<AuditRow> rows = [.. target.Resource.Rows(reply)];
        foreach (string warning in query.Warnings(reply, rows.Count)) context.Response.Headers.Append("Warning", $"299 - \"{warning}\"");
        string? next = query.Next(target.Namespace, reply, rows.Count);
        await WriteAsync(context, form.IsTable ? AuditTable.Of(target.Resource, rows, form, next) : List(target.Resource, rows, next));
    }

    private async Task<ListReply> AskAsync(ListRequest request, CancellationToken cancellationToken)
    {
        try
        {
            return await service.ListAsync(request, cancellationToken);
        }
        catch (RpcException exception) when (!cancellationToken.IsCancellationRequested)
        {
            // What the service says of a request of ours is for us, but for these.
            LogUnanswered(exception.StatusCode, exception.Status.Detail);
            throw exception.StatusCode switch
            {
                StatusCode.InvalidArgument when !request.Continue.IsEmpty => AuditApiException.BadRequest("continue key is not valid: the audit service does not know it; start the list again without it"),
                StatusCode.OutOfRange or StatusCode.FailedPrecondition when !request.Continue.IsEmpty => AuditApiException.Expired("the provided continue parameter is too old: the rows that it stands among are gone; start the list again without it"),
                StatusCode.ResourceExhausted => AuditApiException.TooMany("the audit service has as much to do as it can; try again"),
                StatusCode.DeadlineExceeded => AuditApiException.Unavailable($"the audit service did not answer within {AuditClient.Patience.TotalSeconds} s; try again, or ask for less by --field-selector since=10m"),
                StatusCode.Unauthenticated or StatusCode.PermissionDenied => AuditApiException.Unavailable("the audit service does not accept the operator; the operator's log says why (look for event 362)"),
                _ => AuditApiException.Unavailable("the audit service does not answer; nothing is lost, as sidecars keep what they have recorded: try again, and look at the Deployment superserve-audit if it stays so"),
            };
        }
        catch (RpcException exception) when (exception.StatusCode == StatusCode.Cancelled)
        {
            throw new OperationCanceledException(cancellationToken);
        }
    }

    private static JsonObject List(AuditResource resource, IEnumerable<AuditRow> rows, string? next)
    {
        JsonObject metadata = [];
        if (next is not null) metadata["continue"] = next;
        return new JsonObject
        {
            ["apiVersion"] = AuditResource.ApiVersion,
            ["kind"] = resource.Kind.Kind + "List",
            ["metadata"] = metadata,
            ["items"] = new JsonArray([.. rows.Select(row => row.Object())]),
        };
    }

    private static string Forbidden(Requester user, string verb, Target target) =>
        $"{target.Resource.Kind.QualifiedName}{(target.Name is null ? "" : $" \"{target.Name}\"")} is forbidden: User \"{user.Name}\" cannot {verb} resource \"{target.Resource.Kind.Plural}\" in API group \"{AuditResource.Group}\" "
        + (target.Namespace.Length > 0 ? $"in the namespace \"{target.Namespace}\"" : "at the cluster scope")
        + ": the ClusterRole superserve-audit-viewer has the right";

    private static Task RefuseAsync(HttpContext context, Target? target, AuditApiException refusal)
    {
        if (context.RequestAborted.IsCancellationRequested) return Task.CompletedTask;
        JsonObject details = [];
        if (target is not null)
        {
            details["group"] = AuditResource.Group;
            details["kind"] = target.Resource.Kind.Plural;
            if (target.Name is not null) details["name"] = target.Name;
        }

        if (refusal.RetryAfter is { } after)
        {
            details["retryAfterSeconds"] = (int)after.TotalSeconds;
            context.Response.Headers.RetryAfter = ((int)after.TotalSeconds).ToString(System.Globalization.CultureInfo.InvariantCulture);
        }

        if (refusal.Code == HttpStatusCode.MethodNotAllowed) context.Response.Headers.Allow = "GET";
        context.Response.StatusCode = (int)refusal.Code;
        return WriteAsync(context, new JsonObject
        {
            ["kind"] = "Status",
            ["apiVersion"] = "v1",
            ["metadata"] = new JsonObject(),
            ["status"] = "Failure",
            ["message"] = refusal.Message,
            ["reason"] = refusal.Reason,
            ["details"] = details,
            ["code"] = (int)refusal.Code,
        });
    }

    private static Task WriteAsync(HttpContext context, JsonObject answer) => WriteAsync(context, JsonSerializer.SerializeToUtf8Bytes(answer));

    private static async Task WriteAsync(HttpContext context, byte[] answer)
    {
        context.Response.ContentType = "application/json";
        context.Response.ContentLength = answer.Length;
        context.Response.Headers.CacheControl = "no-cache, private";
        await context.Response.Body.WriteAsync(answer, context.RequestAborted);
    }

    /// <summary>What a path asks for.</summary>
    /// <param name="Resource">Which log.</param>
    /// <param name="Namespace">Where; empty for everywhere.</param>
    /// <param name="Name">One row; null for a list.</param>
    private sealed partial record Target(AuditResource Resource, string Namespace, string? Name)
    {
        /// <summary>Null where the path is no resource's.</summary>
        public static Target? Of(string path) => path.Split('/') switch
        {
            ["", "apis", AuditResource.Group, AuditResource.Version, var plural] => Of(plural, "", null),
            ["", "apis", AuditResource.Group, AuditResource.Version, "namespaces", var ns, var plural] when NamespaceName().IsMatch(ns) => Of(plural, ns, null),
            ["", "apis", AuditResource.Group, AuditResource.Version, "namespaces", var ns, var plural, var name] when NamespaceName().IsMatch(ns) && ObjectName().IsMatch(name) => Of(plural, ns, name),
            _ => null,
        };

        private static Target? Of(string plural, string inNamespace, string? name) =>
            AuditResource.All.FirstOrDefault(resource => resource.Kind.Plural == plural) is { } resource ? new Target(resource, inNamespace, name) : null;

        [GeneratedRegex("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", RegexOptions.CultureInvariant)]
        private static partial Regex NamespaceName();

        [GeneratedRegex("^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$", RegexOptions.CultureInvariant)]
        private static partial Regex ObjectName();
    }

    [LoggerMessage(361, LogLevel.Error, "A request to the audit log's API failed by a fault of the operator: {Fault}\n{Stack}")]
    private partial void LogFault(string fault, string? stack);

    [LoggerMessage(362, LogLevel.Warning, "The audit service did not answer a list: {Status} ({Detail}).")]
    private partial void LogUnanswered(StatusCode status, string detail);
}
