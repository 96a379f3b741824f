using Superserve.Testing;

namespace Superserve.Network.Tests.Clients;

/// <summary>
/// The vendors' own packages, with nothing set but the variable that their documentation names, which holds a stand-in of the catalog's shape.
/// </summary>
[Collection(ClientCollection.Name)]
public sealed class VendorPackageTests(ClientSandbox sandbox)
{
    [Fact]
    public async Task Anthropics_package_lists_models_and_gets_messages_whole_and_in_a_stream()
    {
        (string output, IReadOnlyList<ReceivedRequest> requests) = await sandbox.RunAsync("node node/anthropic.mjs");
        Assert.Equal("model claude-test\nHello at once.\npart Hello\npart  there.\nHello there. end_turn 7\n", output);
        Assert.Equal(["/v1/models", "/v1/messages", "/v1/messages", "/v1/models"], requests.Select(request => request.Target));
    }

    [Fact]
    public async Task OpenAIs_package_lists_models_uploads_and_gets_completions_whole_and_in_a_stream()
    {
        (string output, IReadOnlyList<ReceivedRequest> requests) = await sandbox.RunAsync("node node/openai.mjs");
        Assert.Equal("model gpt-test\nHello at once.\nfile-1 true\npart Hello\npart  there.\npart \nHello there.\n", output);
        Assert.Equal(["/v1/models", "/v1/chat/completions", "/v1/files", "/v1/chat/completions", "/v1/models"], requests.Select(request => request.Target));
    }

    [Fact]
    public async Task GitHubs_package_follows_pages_writes_and_reads_errors()
    {
        (string output, IReadOnlyList<ReceivedRequest> requests) = await sandbox.RunAsync("node node/octokit.mjs");
        Assert.Equal("octocat\none, two, three\n201 from the sandbox\n404 Not Found\n", output);
        Assert.Equal(["/user", "/repos/acme/demo/issues?per_page=2", "/repos/acme/demo/issues?per_page=2&page=2", "/repos/acme/demo/issues", "/repos/acme/gone"], requests.Select(request => request.Target));
    }

    [Fact]
    public async Task Stripes_package_follows_pages_and_sends_forms()
    {
        (string output, IReadOnlyList<ReceivedRequest> requests) = await sandbox.RunAsync("node node/stripe.mjs");
        Assert.Equal("one@example.com\ntwo@example.com\ncus_3 new@example.com\n", output);
        Assert.Equal(["/v1/customers?limit=1", "/v1/customers?limit=1&starting_after=cus_1", "/v1/customers"], requests.Select(request => request.Target));
    }
}
