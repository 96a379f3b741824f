using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Superserve.ApiServer.Admission;
using Superserve.ApiServer.Aggregation;
using Superserve.ApiServer.Authentication;
using Superserve.ApiServer.Authorization;
using Superserve.ApiServer.Discovery;
using Superserve.ApiServer.Resources;
using Superserve.ApiServer.Services;
using Superserve.ApiServer.Storage;
using Superserve.ApiServer.Watching;

namespace Superserve.ApiServer;

/// <summary>
/// A small Kubernetes API server in this process, on the loopback address. It stores, validates, admits, authorizes and
/// watches; no controller, scheduler or kubelet is behind it. README.md says what it does and what not.
/// </summary>
public sealed class EmbeddedApiServer : IAsyncDisposable
{
    /// <summary>The user of <see cref="KubeconfigPath"/>, who may do everything.</summary>
    public const string Admin = "admin";

    private readonly EmbeddedApiServerOptions _options;
    private readonly ObjectStore _store;
    private readonly ResourceRegistry _registry = new();
    private readonly ServerCertificates _certificates = new();
    private readonly Users _users = new();
    private readonly ServiceAccountTokens _tokens;
    private readonly ServiceClients _webhooks;
    private readonly ServiceClients _aggregated;
    private readonly Availability _availability;
    private readonly Janitor _janitor;
    private readonly RequestHandler _handler;
    private readonly string? _ownDirectory;
    private WebApplication? _app;

    private EmbeddedApiServer(EmbeddedApiServerOptions options)
    {
        _options = options;
        _store = new ObjectStore(options.HistoryLimit);
        Services = new ServiceRoutes(_store);
        RbacAuthorizer authorizer = new(_store);
        _store.Committed += new CustomResourceDefinitions(_store, _registry, options.Time).OnChange;
        _store.Committed += new NamespaceContents(_store, _certificates.AuthorityPem, options.Time).OnChange;
        _store.Committed += new RoleAggregation(_store, authorizer).OnChange;
        _janitor = new Janitor(_store, _registry, options.Time);

        _tokens = new ServiceAccountTokens(_store, options.Time);
        _webhooks = new ServiceClients(Services);
        _aggregated = new ServiceClients(Services, _certificates.FrontProxy);
        AggregatedApis aggregated = new(_store, _aggregated);
        _availability = new Availability(_store, aggregated, options.Time);
        AdmissionChain admission = new(_store, new WebhookCaller(_webhooks, options.Time));
        Authenticator authenticator = new(_users, _tokens, authorizer);
        ResourceWriter writer = new(_store, admission, options.Time);
        PodEndpoint pods = new(_store, writer, admission, options.Time);
        ResourceEndpoint resources = new(
            _store,
            authorizer,
            new ResourceReader(_store, Watches, options),
            writer,
            new SubresourceEndpoint(_store, _tokens, pods, writer, admission),
            new ReviewEndpoint(authenticator, new AccessReviews(authorizer), pods),
            options.Time);
        _handler = new RequestHandler(authenticator, authorizer, _registry, aggregated, new DiscoveryEndpoint(_registry, aggregated), resources, Requests);

        if (options.KubeconfigPath is null) _ownDirectory = Directory.CreateTempSubdirectory("superserve-apiserver-").FullName;
        KubeconfigPath = options.KubeconfigPath ?? Path.Combine(_ownDirectory!, "kubeconfig");
    }

    /// <summary>Where the server listens.</summary>
    public Uri BaseAddress { get; private set; } = new("https://127.0.0.1/");

    /// <summary>The admin's kubeconfig.</summary>
    public string KubeconfigPath { get; }

    /// <summary>The server's CA in PEM.</summary>
    public string AuthorityPem => _certificates.AuthorityPem;

    /// <summary>What a test can do to open watches.</summary>
    public WatchHooks Watches { get; } = new();

    /// <summary>What was asked so far, and faults.</summary>
    public RequestLog Requests { get; } = new();

    /// <summary>Where the services are that webhook configurations and APIServices name.</summary>
    public ServiceRoutes Services { get; }

    /// <summary>The revision of the latest change.</summary>
    public long Revision => _store.Revision;

    /// <summary>Starts a server.</summary>
    public static async Task<EmbeddedApiServer> StartAsync(EmbeddedApiServerOptions? options = null, CancellationToken cancellation = default)
    {
        EmbeddedApiServer server = new(options ?? new EmbeddedApiServerOptions());
        try
        {
            await server.ListenAsync(cancellation);
            server.AddUser(Admin, "system:masters");
            await server.ApplyAsync(Seeds.Yaml, "kube-apiserver", cancellation);
            await server.ApplyAsync(Seeds.Authentication(server._certificates), "kube-apiserver", cancellation);
            await server.ApplyAsync(DefaultRoles.Yaml, "kube-apiserver", cancellation);
            server.WriteKubeconfig(Admin, server.KubeconfigPath);
            return server;
        }
        catch
        {
            await server.DisposeAsync();
            throw;
        }
    }

    /// <summary>Adds a user with groups; system:authenticated comes by itself. The result is the bearer token.</summary>
    public string AddUser(string name, params IEnumerable<string> groups) => _users.Add(name, groups);

    /// <summary>Access as a user that was added.</summary>
    public ClientAccess Client(string user = Admin) =>
        new(BaseAddress, user, _users.TokenOf(user) ?? throw new ArgumentException($"There is no user {user}: add it first.", nameof(user)), _certificates.Authority);

    /// <summary>Access with a token of a service account, bound to a pod where one is named.</summary>
    public ClientAccess ServiceAccountClient(string inNamespace, string name, string? audience = null, string? pod = null)
    {
        JsonObject spec = [];
        if (audience is not null) spec["audiences"] = new JsonArray(audience);
        if (pod is not null) spec["boundObjectRef"] = new JsonObject { ["kind"] = "Pod", ["apiVersion"] = "v1", ["name"] = pod };
        JsonObject answer = _tokens.Issue(inNamespace, name, new JsonObject { ["spec"] = spec });
        return new ClientAccess(BaseAddress, $"system:serviceaccount:{inNamespace}:{name}", answer.Text("status", "token")!, _certificates.Authority);
    }

    /// <summary>Writes a kubeconfig for a user that was added.</summary>
    public void WriteKubeconfig(string user, string file) => Kubeconfig.Write(file, BaseAddress, AuthorityPem, user, Client(user).Token);

    /// <summary>Writes a kubeconfig for anybody with a token.</summary>
    public void WriteKubeconfig(ClientAccess access, string file)
    {
        ArgumentNullException.ThrowIfNull(access);
        Kubeconfig.Write(file, BaseAddress, AuthorityPem, access.User, access.Token);
    }

    /// <summary>Applies every document of a YAML text as the admin, server-side and with force; status too, where a document has one.</summary>
    public async Task ApplyAsync(string yaml, string fieldManager = "seed", CancellationToken cancellation = default)
    {
        using HttpClient client = Client().CreateHttpClient();
        foreach (JsonObject document in Yaml.ReadAll(yaml))
        {
            ResourceType type = _registry.FindKind(document.Text("apiVersion") ?? "", document.Text("kind") ?? "")
                ?? throw new ArgumentException($"No such kind is served: {document.Text("apiVersion")} {document.Text("kind")}", nameof(yaml));
            string path = PathOf(type, document.Namespace().Length > 0 ? document.Namespace() : "default", document.Name());
            await PatchAsync(client, $"{path}?fieldManager={fieldManager}&force=true&fieldValidation=Strict", document, cancellation);
            if (document.ContainsKey("status") && type.HasStatus) await PatchAsync(client, $"{path}/status?fieldManager={fieldManager}&force=true", document, cancellation);
        }
    }

    /// <summary>An object as JSON, or null; the namespace is empty for what has none.</summary>
    public string? Get(string apiVersion, string kind, string inNamespace, string name) =>
        _registry.FindKind(apiVersion, kind) is { } type && _store.Get(type.Key(inNamespace, name)) is { } value ? value.ToText() : null;

    /// <summary>Forgets the history: watches and exact lists from before get 410.</summary>
    public void Compact() => _store.Compact();

    /// <inheritdoc />
    public async ValueTask DisposeAsync()
    {
        if (_app is not null)
        {
            Watches.Drop();
            using CancellationTokenSource soon = new(TimeSpan.FromSeconds(2), TimeProvider.System);
            await _app.StopAsync(soon.Token);
            await _app.DisposeAsync();
        }

        await _availability.DisposeAsync();
        await _janitor.DisposeAsync();
        _webhooks.Dispose();
        _aggregated.Dispose();
        _tokens.Dispose();
        _certificates.Dispose();
        if (_ownDirectory is not null) Directory.Delete(_ownDirectory, recursive: true);
    }

    private async Task ListenAsync(CancellationToken cancellation)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        TlsHandshakeCallbackOptions tls = new()
        {
            OnConnection = _ => ValueTask.FromResult(new SslServerAuthenticationOptions
            {
                ServerCertificateContext = _certificates.Context,
                ApplicationProtocols = [SslApplicationProtocol.Http2, SslApplicationProtocol.Http11],
            }),
        };
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.Http2.MaxStreamsPerConnection = 1000;
            kestrel.Listen(IPAddress.Loopback, _options.Port, listen => listen.UseHttps(tls));
        });
        _app = builder.Build();
        _app.Run(_handler.HandleAsync);
        await _app.StartAsync(cancellation);
        string address = _app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();
        BaseAddress = new Uri(address.TrimEnd('/') + "/");
    }

    private static async Task PatchAsync(HttpClient client, string path, JsonObject document, CancellationToken cancellation)
    {
        using StringContent content = new(document.ToText(), Encoding.UTF8, new MediaTypeHeaderValue("application/apply-patch+yaml"));
        using HttpResponseMessage answer = await client.PatchAsync(new Uri(path, UriKind.Relative), content, cancellation);
        if (answer.IsSuccessStatusCode) return;
        string text = await answer.Content.ReadAsStringAsync(cancellation);
        throw new InvalidOperationException($"{document.Text("kind")} {document.Name()} was refused: {Json.Parse(text).Text("message") ?? text}");
    }

    private static string PathOf(ResourceType type, string inNamespace, string name)
    {
        string root = type.Group.Length == 0 ? $"api/{type.Version}" : $"apis/{type.Group}/{type.Version}";
        return type.Namespaced ? $"{root}/namespaces/{inNamespace}/{type.Resource}/{name}" : $"{root}/{type.Resource}/{name}";
    }
}
