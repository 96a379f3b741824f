using Microsoft.AspNetCore.Http;
using Superserve.ApiServer.Authorization;

namespace Superserve.ApiServer.Authentication;

/// <summary>From a request's bearer token, and from impersonation, to a user.</summary>
internal sealed class Authenticator(Users users, ServiceAccountTokens tokens, RbacAuthorizer authorizer)
{
    /// <summary>The user, or 401: there is no anonymous access.</summary>
    public UserInfo Authenticate(HttpRequest request)
    {
        const string Scheme = "Bearer ";
        string header = request.Headers.Authorization.ToString();
        if (!header.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase)) throw ApiErrors.Unauthorized();
        UserInfo user = Find(header[Scheme.Length..].Trim(), [])?.User ?? throw ApiErrors.Unauthorized();
        string impersonated = request.Headers["Impersonate-User"].ToString();
        return impersonated.Length == 0 ? user : Impersonate(user, impersonated, [.. request.Headers["Impersonate-Group"].OfType<string>()]);
    }

    /// <summary>Answers a TokenReview.</summary>
    public JsonObject Review(JsonObject review)
    {
        IReadOnlyList<string> audiences = review.Texts("spec", "audiences");
        JsonObject answer = review.Copy();
        answer["status"] = Find(review.Text("spec", "token") ?? "", audiences) is { } found
            ? new JsonObject { ["authenticated"] = true, ["user"] = found.User.ToJson(), ["audiences"] = Json.ToArray(found.Audiences) }
            : new JsonObject { ["user"] = new JsonObject(), ["error"] = "[invalid bearer token, token lookup failed]" };
        return answer;
    }

    private (UserInfo User, IReadOnlyList<string> Audiences)? Find(string token, IReadOnlyList<string> audiences)
    {
        if (users.Find(token) is { } user)
        {
            IReadOnlyList<string> mine = [.. new[] { ServiceAccountTokens.DefaultAudience }.Where(audience => audiences.Count == 0 || audiences.Contains(audience))];
            return mine.Count > 0 ? (user, mine) : null;
        }

        return tokens.Authenticate(token, audiences);
    }

    private UserInfo Impersonate(UserInfo user, string name, IReadOnlyList<string> groups)
    {
        void Check(string resource, string target)
        {
            AccessRequest access = new(user, "impersonate", "", "", resource, "", target);
            if (!authorizer.Allows(access)) throw ApiErrors.Forbidden(access.Refusal);
        }

        if (name.Split(':') is ["system", "serviceaccount", var inNamespace, var account])
        {
            Check("serviceaccounts", account);
            return UserInfo.ServiceAccount(inNamespace, account, "");
        }

        Check("users", name);
        foreach (string group in groups) Check("groups", group);
        return UserInfo.Of(name, groups);
    }
}
