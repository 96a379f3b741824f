using Superserve.Testing;

namespace Superserve.Network.Tests.Clients;

/// <summary>Which variable it is by which a client trusts the pod's own authority: docs/clients.md says so.</summary>
[Collection(ClientCollection.Name)]
public sealed class TrustTests(ClientSandbox sandbox)
{
    [Theory]
    [InlineData("SSL_CERT_FILE", "curl -sSf -m 20 " + CommandTests.AsApi + "/hello")]
    [InlineData("CURL_CA_BUNDLE", "curl -sSf -m 20 " + CommandTests.AsApi + "/hello")]
    [InlineData("GIT_SSL_CAINFO", "GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0 git -c http.extraHeader=\"Authorization: Bearer $API_TOKEN\" ls-remote https://api.example.com/repository")]
    [InlineData("SYSTEM_WGETRC", CommandTests.Wget)]
    [InlineData("PIP_CERT", CommandTests.Pip + " --upgrade")]
    [InlineData("AWS_CA_BUNDLE", CommandTests.Aws)]
    [InlineData("SSL_CERT_FILE", "python3 python/urllib_client.py strict")]
    [InlineData("SSL_CERT_FILE", "python3 python/httpx_client.py 2")]
    [InlineData("SSL_CERT_FILE", "python3 python/websockets_client.py")]
    [InlineData("REQUESTS_CA_BUNDLE", "python3 python/requests_client.py")]
    [InlineData("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "timeout 30 python3 python/grpc_client.py")]
    [InlineData("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "timeout 30 node node/grpc.mjs")]
    [InlineData("NODE_EXTRA_CA_CERTS", "node node/fetch.mjs")]
    [InlineData("NODE_EXTRA_CA_CERTS", "node node/ws.mjs")]
    [InlineData("NODE_EXTRA_CA_CERTS", "node node/anthropic.mjs")]
    [InlineData("NODE_EXTRA_CA_CERTS", "node node/openai.mjs")]
    [InlineData("NODE_EXTRA_CA_CERTS", "node node/octokit.mjs")]
    [InlineData("NODE_EXTRA_CA_CERTS", "node node/stripe.mjs")]
    [InlineData("NODE_EXTRA_CA_CERTS", CommandTests.Npm)]
    [InlineData("SSL_CERT_FILE", "$DOTNET $DOTNET_CLIENT 2")]
    [InlineData("SSL_CERT_FILE", "$HOME/go 2")]
    [InlineData("SSL_CERT_FILE", "ruby ruby/net_http.rb")]
    [InlineData("JAVA_TOOL_OPTIONS", "java -cp $HOME/java Client 2")]
    public async Task A_client_trusts_by_the_variable_that_its_documentation_names_and_not_without(string variable, string command)
    {
        int before = sandbox.Service.Requests.Count;
        string[] standIns = [.. sandbox.Sandbox.Variables.Where(line => Vendor.All.Any(vendor => line.StartsWith(vendor.Env + '=', StringComparison.Ordinal)))];
        Outcome without = await sandbox.TryAsync(command, standIns);
        Assert.NotEqual(0, without.Status);
        Assert.Equal(before, sandbox.Service.Requests.Count);
        Outcome with = await sandbox.TryAsync(command, [.. standIns, sandbox.Sandbox.Variables.Single(line => line.StartsWith(variable + '=', StringComparison.Ordinal))]);
        Assert.True(with.Status == 0, with.ToString());
        Assert.NotEqual(before, sandbox.Service.Requests.Count);
    }
}
