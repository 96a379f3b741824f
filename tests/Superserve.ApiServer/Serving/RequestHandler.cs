using Microsoft.AspNetCore.Http;
using Superserve.ApiServer.Aggregation;
using Superserve.ApiServer.Authentication;
using Superserve.ApiServer.Authorization;
using Superserve.ApiServer.Discovery;
using Superserve.ApiServer.Resources;
using Superserve.ApiServer.Selectors;

namespace Superserve.ApiServer.Serving;

/// <summary>The way of every request: who is it, may they, and to the one that answers.</summary>
internal sealed class RequestHandler(
    Authenticator authenticator, RbacAuthorizer authorizer, ResourceRegistry registry, AggregatedApis aggregated, DiscoveryEndpoint discovery, ResourceEndpoint resources, RequestLog log)
{
    public async Task HandleAsync(HttpContext context)
    {
        try
        {
            await AnswerAsync(context);
        }
        catch (ApiException exception) when (!context.Response.HasStarted)
        {
            await Responses.WriteAsync(context, exception);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // The client left.
        }
        catch (Exception exception) when (!context.Response.HasStarted)
        {
            // Whatever else goes wrong is a defect in here: the client that met it says where.
            await Responses.WriteAsync(context, ApiErrors.Internal(exception.ToString()));
        }
    }

    private async Task AnswerAsync(HttpContext context)
    {
        UserInfo user = authenticator.Authenticate(context.Request);
        string path = context.Request.Path.Value ?? "/";
        if (aggregated.Find(path) is { } api)
        {
            if (ResourcePath.Parse(path) is { } target)
            {
                string verb = ResourceRequest.VerbOf(context.Request, target.Name);
                Fail(new RequestRecord(user.Name, verb, target.Group, target.Resource, target.Subresource, target.Namespace, target.Name, path));
                authorizer.Demand(new AccessRequest(user, verb, target.Namespace, target.Group, target.Resource, target.Subresource, target.Name));
            }

            await aggregated.ForwardAsync(context, api, user);
            return;
        }

        ResourceRequest? request = ResourceRequest.Parse(context.Request, registry);
        if (request is null)
        {
            string method = context.Request.Method.ToLowerInvariant();
            Fail(new RequestRecord(user.Name, method, "", "", "", "", "", path));
            if (method is not ("get" or "head")) throw ApiErrors.MethodNotAllowed();
            if (!await discovery.TryHandleAsync(context)) throw ApiErrors.NoSuchPath();
            return;
        }

        Fail(new RequestRecord(user.Name, request.Verb, request.Type.Group, request.Type.Resource, request.Subresource, request.Namespace, request.Name, path));
        authorizer.Demand(Access(context.Request, request, user));
        await resources.HandleAsync(context, request, user);
    }

    private static AccessRequest Access(HttpRequest http, ResourceRequest request, UserInfo user)
    {
        // A list of the one object of a name is authorized like that object.
        string name = request.Name.Length > 0 || request.Verb == "create" ? request.Name : FieldSelector.Parse(http.Query["fieldSelector"], request.Type).Name ?? "";
        string inNamespace = request.Type.Is("", "namespaces") ? request.Name : request.Namespace;
        return new AccessRequest(user, request.Verb, inNamespace, request.Type.Group, request.Type.Resource, request.Subresource, name);
    }

    private void Fail(RequestRecord record)
    {
        if (log.Add(record) is { } code) throw new ApiException(code, "InternalError", $"a test has this request fail with {code}");
    }
}
