using Superserve.Testing;
using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;

namespace Superserve.ApiServer.Tests;

/// <summary>An API that another server answers.</summary>
public class AggregationTests : ServerTest
{
    private const string Rows = """
        {"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{},
        "columnDefinitions":[{"name":"Name","type":"string","format":"name","description":"","priority":0},{"name":"Host","type":"string","format":"","description":"","priority":0}],
        "rows":[{"cells":["r1","api.example.com"],"object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"r1","namespace":"default"}}}]}
        """;

    private readonly ConcurrentBag<(string Path, string User, string Groups, string Certificate)> _asked = [];
    private readonly X509Certificate2 _certificate = TestCertificate.Create("audit.system.svc");
    private WebApplication? _extension;

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        if (_extension is not null) await _extension.DisposeAsync();
        _certificate.Dispose();
    }

    [Fact]
    public async Task Its_resources_are_discovered_and_its_tables_shown()
    {
        await StartExtensionAsync();
        await Kubectl.RunAsync("wait", "--for=condition=Available", "apiservice/v1.audit.example.com", "--timeout=20s");
        Assert.Matches(@"records +rec +audit\.example\.com/v1 +true +Record", await Kubectl.RunAsync("api-resources"));
        string table = await Kubectl.RunAsync("get", "rec");
        Assert.Matches("NAME +HOST\nr1 +api.example.com", table);
        Assert.Contains("audit.example.com/v1", await Kubectl.RunAsync("api-versions"), StringComparison.Ordinal);
        Assert.All(_asked, asked => Assert.Equal("CN=front-proxy-client", asked.Certificate));
        (string _, string user, string groups, string _) = _asked.First(asked => asked.Path.StartsWith("/apis/audit.example.com/v1/namespaces/default/records?", StringComparison.Ordinal));
        Assert.Equal(("admin", "system:masters,system:authenticated"), (user, groups));
        Assert.Contains("requestheader-client-ca-file", Server.Get("v1", "ConfigMap", "kube-system", "extension-apiserver-authentication"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Its_requests_are_authorized_before_they_are_passed_on()
    {
        await StartExtensionAsync();
        Server.AddUser("ann");
        const string Records = "apis/audit.example.com/v1/namespaces/default/records";
        Assert.Equal(HttpStatusCode.Forbidden, await StatusOfAsync(Server.Client("ann"), Records));
        Assert.DoesNotContain(_asked, asked => asked.User == "ann");
        await Server.ApplyAsync("""
            apiVersion: rbac.authorization.k8s.io/v1
            kind: ClusterRole
            metadata: {name: auditors}
            rules: [{apiGroups: [audit.example.com], resources: [records], verbs: [list]}]
            ---
            apiVersion: rbac.authorization.k8s.io/v1
            kind: ClusterRoleBinding
            metadata: {name: auditors}
            roleRef: {kind: ClusterRole, name: auditors}
            subjects: [{kind: User, name: ann}]
            """);
        Assert.Equal(HttpStatusCode.OK, await StatusOfAsync(Server.Client("ann"), Records));
        Assert.Contains(_asked, asked => asked.User == "ann");
    }

    [Fact]
    public async Task A_server_that_is_away_is_unavailable()
    {
        await StartExtensionAsync();
        await _extension!.StopAsync();
        Assert.Equal(503, (await AskAsync(Http, HttpMethod.Get, "apis/audit.example.com/v1/namespaces/default/records")).Code);
        await Kubectl.RunAsync("wait", "--for=condition=Available=False", "apiservice/v1.audit.example.com", "--timeout=20s");
        await Kubectl.RunAsync("get", "pods");
    }

    private async Task StartExtensionAsync()
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen => listen.UseHttps(new HttpsConnectionAdapterOptions
        {
            ServerCertificate = _certificate,
            ClientCertificateMode = ClientCertificateMode.RequireCertificate,
            ClientCertificateValidation = (_, _, _) => true,
        })));
        _extension = builder.Build();
        _extension.Run(AnswerAsync);
        await _extension.StartAsync();
        string address = _extension.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();
        Server.Services.Map("system", "audit", new IPEndPoint(IPAddress.Loopback, new Uri(address).Port));
        await Server.ApplyAsync($$"""
            apiVersion: apiregistration.k8s.io/v1
            kind: APIService
            metadata: {name: v1.audit.example.com}
            spec:
              group: audit.example.com
              version: v1
              groupPriorityMinimum: 1000
              versionPriority: 15
              service: {name: audit, namespace: system}
              caBundle: {{Convert.ToBase64String(Encoding.ASCII.GetBytes(_certificate.ExportCertificatePem()))}}
            """);
    }

    private async Task AnswerAsync(HttpContext context)
    {
        HttpRequest request = context.Request;
        string path = request.Path.Value ?? "";
        _asked.Add(($"{path}{request.QueryString}", request.Headers["X-Remote-User"].ToString(), request.Headers["X-Remote-Group"].ToString(), context.Connection.ClientCertificate!.Subject));
        JsonNode? answer = path switch
        {
            "/apis/audit.example.com/v1" => JsonNode.Parse("""
                {"kind":"APIResourceList","apiVersion":"v1","groupVersion":"audit.example.com/v1",
                "resources":[{"name":"records","singularName":"record","namespaced":true,"kind":"Record","verbs":["get","list"],"shortNames":["rec"]}]}
                """),
            "/apis/audit.example.com/v1/namespaces/default/records" => JsonNode.Parse(Rows),
            _ => null,
        };
        if (answer is null)
        {
            context.Response.StatusCode = 404;
            return;
        }

        context.Response.ContentType = "application/json";
        await context.Response.WriteAsync(answer.ToJsonString());
    }
}
