using System.Net;
using System.Text;
using System.Text.Json.Nodes;

namespace Superserve.Testing;

/// <summary>A sidecar's configuration while a test writes it; relative paths are in <see cref="Directory"/>.</summary>
public sealed class Setup
{
    public Setup()
    {
        Directory = System.IO.Directory.CreateTempSubdirectory("sidecar-").FullName;
        File.WriteAllText(Path.Combine(Directory, "roots.pem"), TestAuthority.Pem);
    }

    public string Directory { get; }

    public string FilePath => Path.Combine(Directory, "config.json");

    public JsonObject Json { get; } = new()
    {
        ["sandbox"] = "demo",
        ["proxyAddress"] = $"127.0.0.1:{FreePort.Next()}",
        ["healthAddress"] = $"127.0.0.1:{FreePort.Next()}",
        ["metricsAddress"] = $"127.0.0.1:{FreePort.Next()}",
        ["trustDirectory"] = "trust",
        ["eventsFile"] = "events.jsonl",
        ["upstream"] = new JsonObject { ["trustedRootsFile"] = "roots.pem", ["hosts"] = new JsonObject() },
        ["secrets"] = new JsonArray(),
    };

    /// <summary>Names that lead to a service.</summary>
    public Setup Pin(IPEndPoint service, params string[] names)
    {
        foreach (string name in names) Json["upstream"]!["hosts"]![name] = service.ToString();
        return this;
    }

    /// <summary>A secret; <paramref name="rest"/> is the JSON of its other fields.</summary>
    public Setup Secret(string env, string credential, string rest)
    {
        JsonObject secret = JsonNode.Parse(rest)!.AsObject();
        secret["env"] = env;
        secret["name"] = NameOf(env);
        secret["valueFile"] = FileOf(env);
        Json["secrets"]!.AsArray().Add(secret);
        File.WriteAllText(CredentialFile(env), credential, Encoding.Latin1);
        return this;
    }

    /// <summary>The usual one: bearer, for one host.</summary>
    public Setup Bearer(string env, string credential, string host) => Secret(env, credential, $$$"""{"hosts": ["{{{host}}}"], "auth": {"type": "bearer"}}""");

    /// <summary>Sets a field at the top.</summary>
    public Setup With(string field, string json)
    {
        Json[field] = JsonNode.Parse(json);
        return this;
    }

    public string CredentialFile(string env) => Path.Combine(Directory, FileOf(env));

    public void Save() => File.WriteAllText(FilePath, Json.ToJsonString());

    private static string NameOf(string env) => env.ToLowerInvariant().Replace('_', '-');

    private static string FileOf(string env) => NameOf(env) + ".credential";
}
