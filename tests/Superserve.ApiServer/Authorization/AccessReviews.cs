using Superserve.ApiServer.Authentication;

namespace Superserve.ApiServer.Authorization;

/// <summary>SubjectAccessReview and its relatives.</summary>
internal sealed class AccessReviews(RbacAuthorizer authorizer)
{
    public JsonObject ReviewSubject(JsonObject review, string inNamespace)
    {
        if (review.Text("spec", "user") is null && review.Array("spec", "groups") is null)
        {
            throw ApiErrors.BadRequest("spec.user: Required value: at least one of user or group must be specified");
        }

        UserInfo user = new(review.Text("spec", "user") ?? "", review.Text("spec", "uid") ?? "", review.Texts("spec", "groups"));
        return Review(review, user, inNamespace);
    }

    public JsonObject ReviewSelf(JsonObject review, UserInfo user) => Review(review, user, "");

    public JsonObject ReviewRules(JsonObject review, UserInfo user)
    {
        JsonArray resources = [];
        JsonArray paths = [];
        string inNamespace = review.Text("spec", "namespace") ?? "";
        IEnumerable<JsonObject> rules = user.IsMaster
            ?
            [
                new JsonObject { ["verbs"] = new JsonArray("*"), ["apiGroups"] = new JsonArray("*"), ["resources"] = new JsonArray("*") },
                new JsonObject { ["verbs"] = new JsonArray("*"), ["nonResourceURLs"] = new JsonArray("*") },
            ]
            : authorizer.RulesFor(user, inNamespace);
        foreach (JsonObject rule in rules) (rule.ContainsKey("nonResourceURLs") ? paths : resources).Add(rule.DeepClone());
        JsonObject answer = review.Copy();
        answer["status"] = new JsonObject { ["resourceRules"] = resources, ["nonResourceRules"] = paths, ["incomplete"] = false };
        return answer;
    }

    public static JsonObject WhoAmI(JsonObject review, UserInfo user)
    {
        JsonObject answer = review.Copy();
        answer["status"] = new JsonObject { ["userInfo"] = user.ToJson() };
        return answer;
    }

    private JsonObject Review(JsonObject review, UserInfo user, string inNamespace)
    {
        AccessRequest request;
        if (review.Object("spec", "nonResourceAttributes") is { } path)
        {
            request = new AccessRequest(user, path.Text("verb") ?? "", "", "", "", "", "", path.Text("path") ?? "/");
        }
        else
        {
            JsonObject? attributes = review.Object("spec", "resourceAttributes") ?? throw ApiErrors.BadRequest("spec.resourceAttributes: Required value");
            string Value(string name) => attributes.Text(name) ?? "";
            string target = inNamespace.Length > 0 ? inNamespace : Value("namespace");
            request = new AccessRequest(user, Value("verb"), target, Value("group"), Value("resource"), Value("subresource"), Value("name"));
        }

        JsonObject answer = review.Copy();
        answer["status"] = new JsonObject { ["allowed"] = authorizer.Allows(request) };
        return answer;
    }
}
