using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using Superserve.ApiServer.Resources;
using Superserve.ApiServer.Storage;

namespace Superserve.ApiServer.Authentication;

/// <summary>Signed tokens of service accounts, bound to what they were issued for.</summary>
internal sealed class ServiceAccountTokens(ObjectStore store, TimeProvider time) : IDisposable
{
    public const string DefaultAudience = "https://kubernetes.default.svc.cluster.local";

    private static readonly ResourceType Accounts = BuiltInTypes.Get("", "serviceaccounts");

    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    /// <summary>Answers a TokenRequest: the same object with its status.</summary>
    public JsonObject Issue(string inNamespace, string name, JsonObject request)
    {
        JsonObject account = store.Get(Accounts.Key(inNamespace, name)) ?? throw ApiErrors.NotFound(Accounts, name);
        IReadOnlyList<string> audiences = request.Texts("spec", "audiences");
        if (audiences.Count == 0) audiences = [DefaultAudience];
        long seconds = request.Number("spec", "expirationSeconds") ?? 3600;
        if (seconds < 600) throw ApiErrors.Invalid(Accounts, name, [Schema.Violation.Invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")]);

        DateTimeOffset now = time.GetUtcNow();
        JsonObject kubernetes = new()
        {
            ["namespace"] = inNamespace,
            ["serviceaccount"] = new JsonObject { ["name"] = name, ["uid"] = account.Uid() },
        };
        if (request.Object("spec", "boundObjectRef") is { } bound) Bind(kubernetes, bound, inNamespace, name);

        JsonObject claims = new()
        {
            ["aud"] = Json.ToArray(audiences),
            ["exp"] = now.ToUnixTimeSeconds() + seconds,
            ["iat"] = now.ToUnixTimeSeconds(),
            ["iss"] = DefaultAudience,
            ["jti"] = Guid.NewGuid().ToString(),
            ["kubernetes.io"] = kubernetes,
            ["nbf"] = now.ToUnixTimeSeconds(),
            ["sub"] = $"system:serviceaccount:{inNamespace}:{name}",
        };
        JsonObject answer = request.Copy();
        answer["apiVersion"] = "authentication.k8s.io/v1";
        answer["kind"] = "TokenRequest";
        answer.Metadata()["name"] = name;
        answer.Metadata()["namespace"] = inNamespace;
        JsonObject spec = answer.Child("spec");
        spec["audiences"] = Json.ToArray(audiences);
        spec["expirationSeconds"] = seconds;
        answer["status"] = new JsonObject { ["token"] = Sign(claims), ["expirationTimestamp"] = now.AddSeconds(seconds).ToTimestamp() };
        return answer;
    }

    /// <summary>Who a token speaks for, and for which of the wanted audiences; null where it is not valid now.</summary>
    public (UserInfo User, IReadOnlyList<string> Audiences)? Authenticate(string token, IReadOnlyList<string> wanted)
    {
        if (Verify(token) is not { } claims || claims.Number("exp") <= time.GetUtcNow().ToUnixTimeSeconds()) return null;
        IReadOnlyList<string> audiences = [.. claims.Texts("aud").Intersect(wanted.Count > 0 ? wanted : [DefaultAudience])];
        if (audiences.Count == 0) return null;

        JsonObject? kubernetes = claims.Object("kubernetes.io");
        string inNamespace = kubernetes.Text("namespace") ?? "";
        string name = kubernetes.Text("serviceaccount", "name") ?? "";
        string uid = kubernetes.Text("serviceaccount", "uid") ?? "";
        if (store.Get(Accounts.Key(inNamespace, name))?.Uid() != uid) return null;

        Dictionary<string, IReadOnlyList<string>> extra = new() { ["authentication.kubernetes.io/credential-id"] = [$"JTI={claims.Text("jti")}"] };
        if (kubernetes.Object("pod") is { } pod)
        {
            if (store.Get(BuiltInTypes.Get("", "pods").Key(inNamespace, pod.Text("name") ?? ""))?.Uid() != pod.Text("uid")) return null;
            extra["authentication.kubernetes.io/pod-name"] = [pod.Text("name") ?? ""];
            extra["authentication.kubernetes.io/pod-uid"] = [pod.Text("uid") ?? ""];
        }

        if (kubernetes.Object("secret") is { } secret && store.Get(BuiltInTypes.Get("", "secrets").Key(inNamespace, secret.Text("name") ?? ""))?.Uid() != secret.Text("uid")) return null;
        return (UserInfo.ServiceAccount(inNamespace, name, uid) with { Extra = extra }, audiences);
    }

    public void Dispose() => _key.Dispose();

    private void Bind(JsonObject kubernetes, JsonObject bound, string inNamespace, string account)
    {
        string kind = bound.Text("kind") ?? "";
        if (kind is not ("Pod" or "Secret")) throw ApiErrors.BadRequest($"cannot bind token for serviceaccount \"{account}\" to object of kind {kind}");
        ResourceType type = BuiltInTypes.Get("", kind == "Pod" ? "pods" : "secrets");
        string name = bound.Text("name") ?? "";
        JsonObject target = store.Get(type.Key(inNamespace, name)) ?? throw ApiErrors.NotFound(type, name);
        if (bound.Text("uid") is { Length: > 0 } uid && uid != target.Uid())
        {
            throw ApiErrors.Conflict(type, name, $"the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated");
        }

        if (kind == "Pod" && (target.Text("spec", "serviceAccountName") ?? "default") != account)
        {
            throw ApiErrors.BadRequest($"cannot bind token for serviceaccount \"{account}\" to pod running with different serviceaccount name.");
        }

        kubernetes[kind.ToLowerInvariant()] = new JsonObject { ["name"] = name, ["uid"] = target.Uid() };
        if (target.Text("spec", "nodeName") is { Length: > 0 } node) kubernetes["node"] = new JsonObject { ["name"] = node };
    }

    private string Sign(JsonObject claims)
    {
        string body = $"{Encode("""{"alg":"ES256","kid":"superserve-tests"}"""u8)}.{Encode(claims.ToUtf8())}";
        return $"{body}.{Encode(_key.SignData(Encoding.ASCII.GetBytes(body), HashAlgorithmName.SHA256))}";
    }

    private JsonObject? Verify(string token)
    {
        string[] parts = token.Split('.');
        if (parts.Length != 3) return null;
        try
        {
            bool genuine = _key.VerifyData(Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}"), Base64Url.DecodeFromChars(parts[2]), HashAlgorithmName.SHA256);
            return genuine ? Json.Parse(Base64Url.DecodeFromChars(parts[1])) as JsonObject : null;
        }
        catch (FormatException)
        {
            return null;
        }
    }

    private static string Encode(ReadOnlySpan<byte> bytes) => Base64Url.EncodeToString(bytes);
}
