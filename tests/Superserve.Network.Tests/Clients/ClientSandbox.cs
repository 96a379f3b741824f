using System.Net;
using Superserve.Testing;

namespace Superserve.Network.Tests.Clients;

/// <summary>
/// One sandbox for all clients, and the services that they ask. The services' names lead to an address at the node, where this process
/// listens.
/// </summary>
public sealed class ClientSandbox : IAsyncLifetime
{
    private const string Services = "45.83.1.3";

    private readonly VendorService _vendors = new();

    internal Sandbox Sandbox { get; private set; } = null!;

    /// <summary>What reached the services is here.</summary>
    internal TestService Service { get; private set; } = null!;

    /// <summary>A folder for what the programs write.</summary>
    public string Folder => Sandbox.Setup.Directory;

    public async ValueTask InitializeAsync()
    {
        Sandbox = await Sandbox.StartAsync(more: setup =>
        {
            setup.Json["secrets"]!.AsArray().Clear();
            foreach (Vendor vendor in Vendor.All) setup.Secret(vendor.Env, vendor.Credential, vendor.Secret);
        });
        string[] hosts = [.. Vendor.All.Select(vendor => vendor.Host)];
        await Sandbox.Network.Node.RunAsync("ip", "address", "add", $"{Services}/32", "dev", "lo");
        Service = await TestService.StartInAsync(Sandbox.Network.Node, IPAddress.Parse(Services), hosts);
        Service.ReadsBody = false;
        Service.Answer = _vendors.AnswerAsync;
        Sandbox.Lead([.. hosts.Select(host => (host, (string[])[Services]))]);

        string clients = Repository.PathTo("tests/clients");
        // What Go has compiled of its own library it finds again.
        await Task.WhenAll(
            Sandbox.Network.Upstream.RunAsync("env", $"HOME={Folder}", $"GOCACHE={Repository.PathTo("artifacts/clients/go")}", "go", "build", "-o", $"{Folder}/go", $"{clients}/go/main.go"),
            Sandbox.Network.Upstream.RunAsync("javac", "-d", $"{Folder}/java", $"{clients}/java/Client.java"));
    }

    public async ValueTask DisposeAsync()
    {
        if (Service is not null) await Service.DisposeAsync();
        if (Sandbox is not null) await Sandbox.DisposeAsync();
    }

    /// <summary>
    /// Runs a shell command in the sandbox, with an environment of the sandbox's variables and next to nothing else. It must succeed, and
    /// whatever reached a service with a secret had its credential.
    /// </summary>
    internal async Task<(string Output, IReadOnlyList<ReceivedRequest> Requests)> RunAsync(string command)
    {
        int before = Service.Requests.Count;
        Outcome outcome = await TryAsync(command, Sandbox.Variables);
        IReadOnlyList<ReceivedRequest> requests = [.. Service.Requests.Skip(before)];
        Assert.True(outcome.Status == 0, $"{outcome}\n{string.Join('\n', requests)}");
        Assert.All(requests, request => Assert.True(Vendor.All.Single(vendor => vendor.Host == request["Host"]).Knows(request), request.ToString()));
        return (outcome.Output, requests);
    }

    /// <summary>Runs a shell command in the sandbox, with an environment of these variables and next to nothing else.</summary>
    internal Task<Outcome> TryAsync(string command, IEnumerable<string> variables) =>
        Sandbox.Network.SandboxCommandAsync(["env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin", $"HOME={Folder}", $"DOTNET={Rules.Dotnet}", $"DOTNET_CLIENT={Path.Combine(AppContext.BaseDirectory, "Superserve.Client.dll")}", .. variables, "sh", "-c", $"cd {Repository.PathTo("tests/clients")}; {command}"]);
}

/// <summary>The classes that share it.</summary>
[CollectionDefinition(Name)]
public sealed class ClientCollection : ICollectionFixture<ClientSandbox>
{
    public const string Name = "clients";
}
