using Microsoft.AspNetCore.Http;
using Superserve.ApiServer.Apply;
using Superserve.ApiServer.Authentication;
using Superserve.ApiServer.Authorization;
using Superserve.ApiServer.Resources;
using Superserve.ApiServer.Storage;

namespace Superserve.ApiServer.Serving;

/// <summary>The verbs on stored objects.</summary>
internal sealed class ResourceEndpoint(
    ObjectStore store, RbacAuthorizer authorizer, ResourceReader reader, ResourceWriter writer, SubresourceEndpoint subresources, ReviewEndpoint reviews, TimeProvider time)
{
    /// <summary>Resources whose deletion answers with the object; the others answer with a Status.</summary>
    private static readonly string[] AnsweredWhole = ["/pods", "/services", "/serviceaccounts", "/persistentvolumeclaims", "/persistentvolumes", "/resourcequotas"];

    public async Task HandleAsync(HttpContext context, ResourceRequest request, UserInfo user)
    {
        if (request.Type.IsReview)
        {
            if (request.Verb != "create" || request.Name.Length > 0) throw ApiErrors.MethodNotAllowed();
            await reviews.HandleAsync(context, request, user);
            return;
        }

        if (await subresources.TryHandleAsync(context, request, user)) return;
        switch (request.Verb)
        {
            case "get":
                await reader.GetAsync(context, request);
                break;
            case "list":
                await reader.ListAsync(context, request);
                break;
            case "watch":
                await reader.WatchAsync(context, request);
                break;
            case "create" when request.Name.Length == 0:
                if (request.Type.Namespaced && request.Namespace.Length == 0) throw ApiErrors.MethodNotAllowed();
                await CreateAsync(context, request, user);
                break;
            case "update" when request.Name.Length > 0:
                await UpdateAsync(context, request, user);
                break;
            case "patch" when request.Name.Length > 0:
                await PatchAsync(context, request, user);
                break;
            case "delete" when request.Subresource.Length == 0:
                await DeleteAsync(context, request, user);
                break;
            case "deletecollection":
                await DeleteCollectionAsync(context, request, user);
                break;
            default:
                throw ApiErrors.MethodNotAllowed();
        }
    }

    /// <summary>The options that a write's query has.</summary>
    public static WriteRequest Write(HttpContext context, ResourceRequest request, UserInfo user)
    {
        IQueryCollection query = context.Request.Query;
        string agent = context.Request.Headers.UserAgent.ToString().Split('/')[0];
        return new WriteRequest(request.Type, request.Namespace, request.Name, request.Subresource, user)
        {
            FieldManager = query["fieldManager"].ToString() is { Length: > 0 } manager ? manager : agent.Length > 0 ? agent : "unknown",
            Force = ResourceRequest.IsTrue(query["force"]),
            DryRun = query["dryRun"].Contains("All"),
            FieldValidation = query["fieldValidation"].ToString() is { Length: > 0 } validation ? validation : "Warn",
        };
    }

    private async Task CreateAsync(HttpContext context, ResourceRequest request, UserInfo user)
    {
        WriteRequest write = Write(context, request, user);
        JsonObject sent = await RequestBody.ReadObjectAsync(context.Request);
        await AnswerAsync(context, write, 201, await writer.CreateAsync(write, sent, context.RequestAborted));
    }

    private async Task UpdateAsync(HttpContext context, ResourceRequest request, UserInfo user)
    {
        WriteRequest write = Write(context, request, user);
        JsonObject sent = await RequestBody.ReadObjectAsync(context.Request);
        await AnswerAsync(context, write, 200, await writer.UpdateAsync(write, live => WithUid(request, live, sent), context.RequestAborted));
    }

    private async Task PatchAsync(HttpContext context, ResourceRequest request, UserInfo user)
    {
        WriteRequest write = Write(context, request, user);
        string type = RequestBody.MediaType(context.Request);
        JsonNode patch = await RequestBody.ReadAsync(context.Request) ?? throw ApiErrors.BadRequest("the patch is empty");
        if (type is "application/apply-patch+yaml" or "application/apply-patch+json")
        {
            if (context.Request.Query["fieldManager"].ToString().Length == 0) throw ApiErrors.BadRequest("PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch");
            JsonObject configuration = patch as JsonObject ?? throw ApiErrors.BadRequest("the configuration must be an object");
            AccessRequest create = new(user, "create", request.Namespace, request.Type.Group, request.Type.Resource, "", request.Name);
            write = write with { BeforeCreate = () => authorizer.Demand(create) };
            (JsonObject applied, bool created) = await writer.ApplyAsync(write, configuration, context.RequestAborted);
            await AnswerAsync(context, write, created ? 201 : 200, applied);
            return;
        }

        Func<JsonObject, JsonNode?> change = type switch
        {
            "application/merge-patch+json" => live => MergePatch.Apply(live, patch),
            "application/json-patch+json" => live => JsonPatch.Apply(live, patch as JsonArray ?? throw ApiErrors.BadRequest("a JSON patch must be a list")),
            "application/strategic-merge-patch+json" when request.Type.Custom is null => live => StrategicMergePatch.Apply(live, patch as JsonObject ?? []),
            _ => throw ApiErrors.UnsupportedMediaType(type),
        };
        await AnswerAsync(context, write, 200, await writer.UpdateAsync(write, live => WithUid(request, live, change(live) as JsonObject ?? []), context.RequestAborted));
    }

    private async Task DeleteAsync(HttpContext context, ResourceRequest request, UserInfo user)
    {
        JsonObject options = await RequestBody.ReadAsync(context.Request) as JsonObject ?? [];
        if (context.Request.Query["propagationPolicy"].ToString() is { Length: > 0 } propagation) options["propagationPolicy"] = propagation;
        WriteRequest write = Write(context, request, user);
        if (options.Texts("dryRun").Contains("All")) write = write with { DryRun = true };
        JsonObject last = await writer.DeleteAsync(write, options, context.RequestAborted);
        bool whole = AnsweredWhole.Contains(request.Type.StorageResource) || last.IsBeingDeleted();
        await AnswerAsync(context, write, 200, whole ? last : Deleted(request, last));
    }

    private async Task DeleteCollectionAsync(HttpContext context, ResourceRequest request, UserInfo user)
    {
        JsonObject options = await RequestBody.ReadAsync(context.Request) as JsonObject ?? [];
        JsonObject[] selected = [.. store.List(request.Type.StorageResource, request.Namespace).Items.Where(ResourceReader.Selection(context.Request.Query, request.Type))];
        foreach (JsonObject value in selected)
        {
            WriteRequest write = Write(context, request with { Namespace = value.Namespace(), Name = value.Name() }, user);
            await writer.DeleteAsync(write, options, context.RequestAborted);
        }

        JsonObject metadata = new() { ["resourceVersion"] = store.Revision.ToString(System.Globalization.CultureInfo.InvariantCulture) };
        await Responses.WriteAsync(context, 200, Representation.Of(context.Request, time.GetUtcNow()).List(request.Type, selected, metadata));
    }

    private static JsonObject WithUid(ResourceRequest request, JsonObject live, JsonObject changed)
    {
        if (changed.Uid() is { Length: > 0 } uid && uid != live.Uid())
        {
            throw ApiErrors.Conflict(request.Type, request.Name, $"Precondition failed: UID in precondition: {uid}, UID in object meta: {live.Uid()}");
        }

        return changed;
    }

    private Task AnswerAsync(HttpContext context, WriteRequest write, int code, JsonObject value)
    {
        JsonNode shown = value.Text("kind") == "Status" ? value : Representation.Of(context.Request, time.GetUtcNow()).One(write.Type, value);
        return Responses.WriteAsync(context, code, shown, write.Warnings);
    }

    private static JsonObject Deleted(ResourceRequest request, JsonObject last) => new()
    {
        ["kind"] = "Status",
        ["apiVersion"] = "v1",
        ["metadata"] = new JsonObject(),
        ["status"] = "Success",
        ["details"] = new JsonObject { ["name"] = request.Name, ["group"] = request.Type.Group, ["kind"] = request.Type.Resource, ["uid"] = last.Uid() },
    };
}
