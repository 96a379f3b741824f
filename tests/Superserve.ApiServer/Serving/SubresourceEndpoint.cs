using Microsoft.AspNetCore.Http;
using Superserve.ApiServer.Admission;
using Superserve.ApiServer.Authentication;
using Superserve.ApiServer.Resources;
using Superserve.ApiServer.Storage;

namespace Superserve.ApiServer.Serving;

/// <summary>Subresources that are no view of the object itself.</summary>
internal sealed class SubresourceEndpoint(ObjectStore store, ServiceAccountTokens tokens, PodEndpoint pods, ResourceWriter writer, AdmissionChain admission)
{
    /// <summary>False for those that are read and written like the object: status, ephemeralcontainers, finalize.</summary>
    public async Task<bool> TryHandleAsync(HttpContext context, ResourceRequest request, UserInfo user)
    {
        switch (request.Subresource)
        {
            case "token":
                if (request.Verb != "create") throw ApiErrors.MethodNotAllowed();
                JsonObject asked = await RequestBody.ReadObjectAsync(context.Request);
                await admission.ConnectAsync(
                    new AdmissionAttributes("CREATE", request.Type, "token", request.Namespace, request.Name, user, false)
                    {
                        Object = asked,
                        ObjectKind = ("authentication.k8s.io", "v1", "TokenRequest"),
                    },
                    [],
                    context.RequestAborted);
                await Responses.WriteAsync(context, 201, tokens.Issue(request.Namespace, request.Name, asked));
                return true;
            case "binding":
                await Responses.WriteAsync(context, 201, pods.Bind(request.Namespace, request.Name, await RequestBody.ReadObjectAsync(context.Request)));
                return true;
            case "eviction":
                await Responses.WriteAsync(context, 201, await pods.EvictAsync(context, request, user));
                return true;
            case "exec" or "attach" or "portforward":
                await pods.ConnectAsync(context, request, user);
                return true;
            case "log":
                if (store.Get(request.Type.Key(request.Namespace, request.Name)) is null) throw ApiErrors.NotFound(request.Type, request.Name);
                context.Response.ContentType = "text/plain";
                await context.Response.WriteAsync("");
                return true;
            case "scale":
                await ScaleAsync(context, request, user);
                return true;
            default:
                return false;
        }
    }

    private async Task ScaleAsync(HttpContext context, ResourceRequest request, UserInfo user)
    {
        JsonObject value = store.Get(request.Type.Key(request.Namespace, request.Name)) ?? throw ApiErrors.NotFound(request.Type, request.Name);
        if (request.Verb is "update" or "patch")
        {
            JsonObject sent = await RequestBody.ReadObjectAsync(context.Request);
            WriteRequest write = ResourceEndpoint.Write(context, request with { Subresource = "" }, user);
            value = await writer.UpdateAsync(write, live =>
            {
                JsonObject scaled = live.Copy();
                scaled.Child("spec")["replicas"] = sent.Number("spec", "replicas") ?? 0;
                return scaled;
            }, context.RequestAborted);
        }

        JsonObject metadata = new();
        foreach (string name in new[] { "name", "namespace", "uid", "resourceVersion", "creationTimestamp" }) metadata[name] = value.At("metadata", name)?.DeepClone();
        await Responses.WriteAsync(context, 200, new JsonObject
        {
            ["kind"] = "Scale",
            ["apiVersion"] = "autoscaling/v1",
            ["metadata"] = metadata,
            ["spec"] = new JsonObject { ["replicas"] = value.Number("spec", "replicas") ?? 0 },
            ["status"] = new JsonObject { ["replicas"] = value.Number("status", "replicas") ?? 0 },
        });
    }
}
