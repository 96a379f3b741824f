using Microsoft.AspNetCore.Http;
using Superserve.ApiServer.Admission;
using Superserve.ApiServer.Authentication;
using Superserve.ApiServer.Resources;
using Superserve.ApiServer.Storage;

namespace Superserve.ApiServer.Serving;

/// <summary>What only pods have: binding to a node, eviction, and connections, which are admitted and then not made.</summary>
internal sealed class PodEndpoint(ObjectStore store, ResourceWriter writer, AdmissionChain admission, TimeProvider time)
{
    private static readonly ResourceType Pods = BuiltInTypes.Get("", "pods");

    /// <summary>What the scheduler does.</summary>
    public JsonObject Bind(string inNamespace, string name, JsonObject binding)
    {
        JsonObject live = store.Get(Pods.Key(inNamespace, name)) ?? throw ApiErrors.NotFound(Pods, name);
        if (live.Text("spec", "nodeName") is { Length: > 0 } node) throw ApiErrors.Conflict(Pods, name, $"pod {name} is already assigned to node \"{node}\"");
        JsonObject bound = live.Copy();
        bound.Child("spec")["nodeName"] = binding.Text("target", "name");
        ObjectMeta.SetCondition(bound.Child("status"), "PodScheduled", "True", "Scheduled", "", time.GetUtcNow());
        if (store.Replace(Pods.Key(inNamespace, name), live, bound) is null) throw ApiErrors.Modified(Pods, name);
        return Success();
    }

    public async Task<JsonObject> EvictAsync(HttpContext context, ResourceRequest request, UserInfo user)
    {
        JsonObject eviction = await RequestBody.ReadObjectAsync(context.Request);
        WriteRequest write = ResourceEndpoint.Write(context, request with { Subresource = "" }, user);
        await writer.DeleteAsync(write, eviction.Object("deleteOptions")?.Copy() ?? [], context.RequestAborted);
        return Success();
    }

    /// <summary>exec, attach and portforward: CONNECT webhooks are asked; an admitted connection ends with 501.</summary>
    public async Task ConnectAsync(HttpContext context, ResourceRequest request, UserInfo user)
    {
        if (store.Get(Pods.Key(request.Namespace, request.Name)) is null) throw ApiErrors.NotFound(Pods, request.Name);
        string kind = request.Subresource switch
        {
            "exec" => "PodExecOptions",
            "attach" => "PodAttachOptions",
            _ => "PodPortForwardOptions",
        };
        JsonObject options = new() { ["kind"] = kind, ["apiVersion"] = "v1" };
        IQueryCollection query = context.Request.Query;
        foreach (string flag in new[] { "stdin", "stdout", "stderr", "tty" })
        {
            if (query.ContainsKey(flag)) options[flag] = ResourceRequest.IsTrue(query[flag]);
        }

        if (query["container"].ToString() is { Length: > 0 } container) options["container"] = container;
        if (query["command"].Count > 0) options["command"] = Json.ToArray(query["command"].OfType<string>());
        AdmissionAttributes attributes = new("CONNECT", Pods, request.Subresource, request.Namespace, request.Name, user, false)
        {
            Object = options,
            ObjectKind = ("", "v1", kind),
        };
        await admission.ConnectAsync(attributes, [], context.RequestAborted);
        throw new ApiException(501, "NotImplemented", $"{request.Subresource} was admitted, but there is no container to connect to");
    }

    private static JsonObject Success() => new() { ["kind"] = "Status", ["apiVersion"] = "v1", ["metadata"] = new JsonObject(), ["status"] = "Success", ["code"] = 201 };
}
