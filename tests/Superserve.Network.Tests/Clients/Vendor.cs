using System.Text;
using Superserve.Testing;

namespace Superserve.Network.Tests.Clients;

/// <summary>A service that the sandbox has a credential for.</summary>
/// <param name="Env">The variable that holds the stand-in.</param>
/// <param name="Host">The service's name.</param>
/// <param name="Secret">Of the configuration's secret, where it goes: a provider of the catalog, or host and scheme.</param>
/// <param name="Header">Where the service looks for the credential; null where it answers anybody.</param>
/// <param name="Prefix">What stands ahead of the credential there.</param>
internal sealed record Vendor(string Env, string Host, string Secret, string? Header = "Authorization", string Prefix = "Bearer ")
{
    public static IReadOnlyList<Vendor> All { get; } =
    [
        new("API_TOKEN", "api.example.com", """{"hosts": ["api.example.com"], "auth": {"type": "bearer"}}"""),
        new("ANTHROPIC_API_KEY", "api.anthropic.com", """{"provider": "anthropic"}"""),
        new("OPENAI_API_KEY", "api.openai.com", """{"provider": "openai"}"""),
        new("GITHUB_TOKEN", "api.github.com", """{"provider": "github"}""", Prefix: "token "),
        new("STRIPE_SECRET_KEY", "api.stripe.com", """{"provider": "stripe"}"""),
        new("NPM_TOKEN", "registry.npmjs.org", """{"provider": "npm"}"""),
        new("INDEX_TOKEN", "index.example.com", """{"hosts": ["index.example.com"], "auth": {"type": "basic", "username": "__token__"}}""", Prefix: "Basic "),
        new("STORAGE_KEY", "storage.example.com", """{"hosts": ["storage.example.com"], "auth": {"type": "api-key", "header": "x-storage-key"}}""", Header: null),
    ];

    /// <summary>What the sandbox is never to see.</summary>
    public string Credential => $"the-credential-for-{Host}";

    /// <summary>Whether the service answers a request: it carries the credential, in its place.</summary>
    public bool Knows(ReceivedRequest request) =>
        Header is null || request[Header] == Prefix + (Prefix == "Basic " ? Convert.ToBase64String(Encoding.ASCII.GetBytes($"__token__:{Credential}")) : Credential);
}
