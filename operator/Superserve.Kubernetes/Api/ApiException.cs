using System.Net;
using System.Text.Json;
using k8s.Models;

namespace Superserve.Kubernetes.Api;

/// <summary>
/// The API server refused. Carries what its Status says and nothing of the request, whose body may be worth hiding.
/// </summary>
public sealed class ApiException : Exception
{
    private const int MaxMessage = 500;

    private ApiException(HttpStatusCode statusCode, string reason, string message, TimeSpan? retryAfter)
        : base($"{(int)statusCode} {reason}: {(message.Length > MaxMessage ? message[..MaxMessage] : message)}")
    {
        StatusCode = statusCode;
        Reason = reason;
        RetryAfter = retryAfter;
    }

    /// <summary>The HTTP status, or the <c>code</c> of a Status that came as a watch event.</summary>
    public HttpStatusCode StatusCode { get; }

    /// <summary>The machine-readable reason, such as <c>Expired</c> or <c>Conflict</c>.</summary>
    public string Reason { get; }

    /// <summary>How long the server asks to be left alone.</summary>
    public TimeSpan? RetryAfter { get; }

    /// <summary>The resource version, or the continue token, is too old: only a new list helps.</summary>
    public bool IsExpired => StatusCode == HttpStatusCode.Gone || Reason is "Expired" or "Gone";

    /// <summary>No such object.</summary>
    public bool IsNotFound => StatusCode == HttpStatusCode.NotFound;

    /// <summary>Someone else wrote first, or the object exists already.</summary>
    public bool IsConflict => StatusCode == HttpStatusCode.Conflict;

    internal static ApiException From(V1Status status) => new(
        (HttpStatusCode)(status.Code ?? 0), status.Reason ?? "Unknown", status.Message ?? "",
        status.Details?.RetryAfterSeconds is { } seconds ? TimeSpan.FromSeconds(seconds) : null);

    internal static async Task<ApiException> FromAsync(
        HttpResponseMessage response, JsonSerializerOptions json, CancellationToken cancellationToken)
    {
        V1Status? status = null;
        try
        {
            await using Stream body = await response.Content.ReadAsStreamAsync(cancellationToken);
            status = await JsonSerializer.DeserializeAsync<V1Status>(body, json, cancellationToken);
        }
        catch (JsonException)
        {
            // A proxy on the way, not the API server: the status line is all there is.
        }

        return new ApiException(
            response.StatusCode, status?.Reason ?? response.ReasonPhrase ?? "Unknown", status?.Message ?? "", response.Headers.RetryAfter?.Delta);
    }
}
