using System.Text.Json.Nodes;
using Superserve.Testing;

namespace Superserve.Integration.Tests;

/// <summary>One test's namespace, and what an owner does in it.</summary>
public sealed class TestNamespace(TestCluster cluster, string name) : IAsyncDisposable
{
    public string Name => name;

    public Kubectl Kubectl => cluster.Kubectl;

    public async ValueTask DisposeAsync() => await Kubectl.TryAsync("", "delete", "namespace", name, "--wait=false");

    public Task<string> ApplyAsync(string yaml) => Kubectl.FeedAsync(yaml, "apply", "--server-side", "-n", name, "-f", "-");

    public Task<string> RunAsync(params string[] arguments) => Kubectl.RunAsync([.. arguments, "-n", name]);

    /// <summary>A core Secret with one key; the bytes are as they are.</summary>
    public Task<string> CredentialAsync(string secret, string key, byte[] value) => ApplyAsync($$"""
        apiVersion: v1
        kind: Secret
        metadata: {name: {{secret}} }
        data: { "{{key}}": "{{Convert.ToBase64String(value)}}" }
        """);

    public Task<string> CredentialAsync(string secret, string key, string value) => CredentialAsync(secret, key, System.Text.Encoding.UTF8.GetBytes(value));

    /// <summary>A Superserve Secret for the core Secret <c>credentials</c>, key <c>token</c>.</summary>
    public Task<string> SecretAsync(string secret, string host = "api.example.com") => ApplyAsync($$"""
        apiVersion: superserve.ai/v1alpha1
        kind: Secret
        metadata: {name: {{secret}} }
        spec:
          valueFrom: {secretKeyRef: {name: credentials, key: token} }
          hosts: [{{host}}]
          auth: {type: bearer}
        """);

    public Task<string> BindingAsync(string binding, string app, string rest) => ApplyAsync($$"""
        apiVersion: superserve.ai/v1alpha1
        kind: SandboxBinding
        metadata: {name: {{binding}} }
        spec:
          selector:
            matchLabels: {app: {{app}} }
          {{rest}}
        """);

    /// <summary>A pod; as a sandbox it looks as admission would have made it.</summary>
    public Task<string> PodAsync(string pod, string app, bool isSandbox = false) => ApplyAsync(Pod(pod, app, isSandbox));

    public static string Pod(string pod, string app, bool isSandbox) => $$"""
        apiVersion: v1
        kind: Pod
        metadata:
          name: {{pod}}
          labels: {app: {{app}}}
          annotations: { {{(isSandbox ? $"superserve.ai/sandbox-id: {Guid.NewGuid():N}" : "")}} }
        spec:
          {{(isSandbox ? "initContainers: [{name: superserve-sidecar, image: registry.k8s.io/pause, restartPolicy: Always}]" : "")}}
          containers: [{name: agent, image: registry.k8s.io/pause}]
        """;

    public Task ConnectAsync(string pod) => Kubectl.RunAsync(
        "patch", "pod", pod, "-n", name, "--subresource=status", "--type=strategic", "-p",
        """{"status": {"conditions": [{"type": "superserve.ai/SidecarConnected", "status": "True"}]}}""");

    public async Task<JsonNode> GetAsync(string kind, string objectName) =>
        JsonNode.Parse(await RunAsync("get", kind, objectName, "-o", "json"))!;

    /// <summary>Waits for the Ready condition to have a reason, and gives the object.</summary>
    public async Task<JsonNode> ReasonAsync(string kind, string objectName, string reason)
    {
        JsonNode? last = null;
        await Wait.UntilAsync(() => $"{kind} {objectName} has the reason {reason}; it is\n{last}", async () =>
        {
            last = await GetAsync(kind, objectName);
            return (string?)Ready(last)?["reason"] == reason;
        });
        return last!;
    }

    /// <summary>Waits for an Event about an object with a reason, and gives its note.</summary>
    public async Task<string> EventAsync(string objectName, string reason)
    {
        string note = "";
        await Wait.UntilAsync($"there is an Event {reason} about {objectName}", async () =>
        {
            note = await RunAsync("get", "events.events.k8s.io", "--field-selector", $"reason={reason}", "-o", $"jsonpath={{.items[?(@.regarding.name==\"{objectName}\")].note}}");
            return note.Length > 0;
        });
        return note;
    }

    public static JsonNode? Ready(JsonNode value) => value["status"]?["conditions"]?.AsArray().FirstOrDefault(condition => (string?)condition?["type"] == "Ready");

    public static string Message(JsonNode value) => (string)Ready(value)!["message"]!;
}
