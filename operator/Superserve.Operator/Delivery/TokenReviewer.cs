using System.Buffers.Text;
using System.Text.Json;
using k8s.Models;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Operator.Bindings;

namespace Superserve.Operator.Delivery;

/// <summary>Which pod a token proves its bearer to be, and until when.</summary>
internal sealed record ProvenPod(ObjectKey Pod, string Uid, DateTimeOffset Until)
{
    /// <summary>The service account that the pod runs as, in the pod's namespace.</summary>
    public string ServiceAccount { get; init; } = "";
}

/// <summary>Asks the API server about tokens, a bounded number at a time.</summary>
internal sealed partial class TokenReviewer(KubernetesConnection connection, DeliveryLimits limits, ILogger<TokenReviewer> logger) : IDisposable
{
    private const string PodName = "authentication.kubernetes.io/pod-name";
    private const string PodUid = "authentication.kubernetes.io/pod-uid";

    private readonly SemaphoreSlim _places = new(limits.Reviews);

    /// <summary>The pod that the token is bound to.</summary>
    /// <exception cref="EndingException">It is not accepted, or of no pod, or the API server cannot be asked.</exception>
    public async Task<ProvenPod> ReviewAsync(string token, CancellationToken cancellationToken)
    {
        // What cannot be a token is not worth a question.
        if (token.Length is 0 or > DeliveryLimits.MaxToken || token.AsSpan().ContainsAnyExceptInRange('!', '~') || ExpiryOf(token) is not { } until)
            throw new EndingException(Ending.TokenRefused);
        V1TokenReviewStatus? status = (await AskAsync(token, cancellationToken)).Status;
        // A server that ignores audiences says nothing of them, and would let a token for the API server itself pass.
        if (status?.Authenticated != true || status.Audiences?.Contains(Marks.TokenAudience) != true) throw new EndingException(Ending.TokenRefused);
        if (status.User?.Username?.Split(':') is not ["system", "serviceaccount", { Length: > 0 } ns, var account]
            || Only(status.User, PodName) is not { } name || Only(status.User, PodUid) is not { } uid) throw new EndingException(Ending.TokenOfNoPod);
        return new ProvenPod(new ObjectKey(ns, name), uid, until) { ServiceAccount = account };
    }

    public void Dispose() => _places.Dispose();

    private async Task<V1TokenReview> AskAsync(string token, CancellationToken cancellationToken)
    {
        V1TokenReview review = new()
        {
            ApiVersion = "authentication.k8s.io/v1",
            Kind = "TokenReview",
            Spec = new V1TokenReviewSpec { Token = token, Audiences = [Marks.TokenAudience] },
        };
        await _places.WaitAsync(cancellationToken);
        try
        {
            return await connection.SendAsync<V1TokenReview>(HttpMethod.Post, "apis/authentication.k8s.io/v1/tokenreviews", review, cancellationToken: cancellationToken);
        }
        catch (Exception exception) when (!cancellationToken.IsCancellationRequested)
        {
            // Only the kind of error: a server's text may quote what it was sent.
            LogFailed(exception is ApiException api ? $"{(int)api.StatusCode} {api.Reason}" : exception.GetType().Name);
            throw new EndingException(Ending.ApiServerAway("about the token"));
        }
        finally
        {
            _places.Release();
        }
    }

    private static string? Only(V1UserInfo user, string key) =>
        user.Extra?.TryGetValue(key, out IList<string>? values) == true && values is [{ Length: > 0 } value] ? value : null;

    /// <summary>
    /// The claim <c>exp</c>, which a review does not say; null for what cannot be a pod's token for us. Nobody has verified the claims
    /// yet: they refuse what would only keep the API server busy, and let nobody in.
    /// </summary>
    private static DateTimeOffset? ExpiryOf(string token)
    {
        if (token.Split('.') is not [var header, var payload, var signature] || !IsPart(header) || !IsPart(payload) || !IsPart(signature)) return null;
        try
        {
            using JsonDocument claims = JsonDocument.Parse(Base64Url.DecodeFromChars(payload));
            JsonElement root = claims.RootElement;
            JsonElement pod = root.GetProperty("kubernetes.io").GetProperty("pod");
            return IsForUs(root.GetProperty("aud")) && pod.GetProperty("name").GetString() is { Length: > 0 } && pod.GetProperty("uid").GetString() is { Length: > 0 }
                ? DateTimeOffset.FromUnixTimeSeconds(root.GetProperty("exp").GetInt64()) : null;
        }
        catch (Exception exception) when (exception is JsonException or FormatException or ArgumentOutOfRangeException or InvalidOperationException or KeyNotFoundException)
        {
            return null;
        }

        static bool IsPart(string part) => part.Length > 0 && Base64Url.IsValid(part);

        static bool IsForUs(JsonElement audience) => audience.ValueKind == JsonValueKind.Array
            ? audience.EnumerateArray().Any(IsForUs)
            : audience.ValueEquals(Marks.TokenAudience);
    }

    [LoggerMessage(340, LogLevel.Warning, "A TokenReview failed ({Error}), so that a sidecar could not connect. The operator needs create on tokenreviews.authentication.k8s.io.")]
    private partial void LogFailed(string error);
}
