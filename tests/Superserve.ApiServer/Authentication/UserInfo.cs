namespace Superserve.ApiServer.Authentication;

/// <summary>Who asks.</summary>
internal sealed record UserInfo(string Name, string Uid, IReadOnlyList<string> Groups)
{
    private const string Authenticated = "system:authenticated";

    public IReadOnlyDictionary<string, IReadOnlyList<string>> Extra { get; init; } = new Dictionary<string, IReadOnlyList<string>>();

    public bool IsMaster => Groups.Contains("system:masters");

    public static UserInfo Of(string name, IEnumerable<string> groups) => new(name, "", [.. groups.Append(Authenticated).Distinct()]);

    public static UserInfo ServiceAccount(string inNamespace, string name, string uid) => new(
        $"system:serviceaccount:{inNamespace}:{name}", uid, ["system:serviceaccounts", $"system:serviceaccounts:{inNamespace}", Authenticated]);

    /// <summary>As reviews and webhooks see it.</summary>
    public JsonObject ToJson()
    {
        JsonObject user = new() { ["username"] = Name, ["groups"] = Json.ToArray(Groups) };
        if (Uid.Length > 0) user["uid"] = Uid;
        if (Extra.Count == 0) return user;
        JsonObject extra = [];
        foreach ((string key, IReadOnlyList<string> values) in Extra) extra[key] = Json.ToArray(values);
        user["extra"] = extra;
        return user;
    }
}
