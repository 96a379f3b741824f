using Superserve.ApiServer.Authentication;

namespace Superserve.ApiServer.Resources;

/// <summary>One write: what, by whom, and with which of the query's options.</summary>
internal sealed record WriteRequest(ResourceType Type, string Namespace, string Name, string Subresource, UserInfo User)
{
    public string FieldManager { get; init; } = "unknown";

    public bool Force { get; init; }

    public bool DryRun { get; init; }

    /// <summary>Strict, Warn or Ignore.</summary>
    public string FieldValidation { get; init; } = "Warn";

    /// <summary>Asked before an apply creates what is not there: that takes the right to create too.</summary>
    public Action? BeforeCreate { get; init; }

    public List<string> Warnings { get; } = [];

    /// <summary>CreateOptions and the like, for webhooks.</summary>
    public JsonObject OptionsOf(string kind)
    {
        JsonObject options = new() { ["kind"] = kind, ["apiVersion"] = "meta.k8s.io/v1", ["fieldManager"] = FieldManager };
        if (DryRun) options["dryRun"] = new JsonArray("All");
        if (Force) options["force"] = true;
        return options;
    }
}
