using System.Net;

namespace Superserve.Operator.AuditApi;

/// <summary>A request that is answered with a Status, as Kubernetes' own resources answer. The message is for the user.</summary>
internal sealed class AuditApiException(HttpStatusCode code, string reason, string message) : Exception(message)
{
    public HttpStatusCode Code => code;

    /// <summary>One of Kubernetes' own.</summary>
    public string Reason => reason;

    /// <summary>When it is worth another try; kubectl makes some.</summary>
    public TimeSpan? RetryAfter { get; private init; }

    public static AuditApiException BadRequest(string message) => new(HttpStatusCode.BadRequest, "BadRequest", message);

    public static AuditApiException Unauthorized(string message) => new(HttpStatusCode.Unauthorized, "Unauthorized", message);

    public static AuditApiException Forbidden(string message) => new(HttpStatusCode.Forbidden, "Forbidden", message);

    public static AuditApiException NotFound(string message) => new(HttpStatusCode.NotFound, "NotFound", message);

    public static AuditApiException MethodNotAllowed(string message) => new(HttpStatusCode.MethodNotAllowed, "MethodNotAllowed", message);

    public static AuditApiException NotAcceptable(string message) => new(HttpStatusCode.NotAcceptable, "NotAcceptable", message);

    public static AuditApiException Expired(string message) => new(HttpStatusCode.Gone, "Expired", message);

    public static AuditApiException TooMany(string message) => new(HttpStatusCode.TooManyRequests, "TooManyRequests", message) { RetryAfter = TimeSpan.FromSeconds(1) };

    public static AuditApiException Unavailable(string message) => new(HttpStatusCode.ServiceUnavailable, "ServiceUnavailable", message) { RetryAfter = TimeSpan.FromSeconds(1) };

    public static AuditApiException Fault(string message) => new(HttpStatusCode.InternalServerError, "InternalError", message);
}
