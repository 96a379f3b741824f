using Superserve.Testing;

namespace Superserve.Network.Tests.Clients;

/// <summary>What programs of several languages speak with, as tests/clients/README.md says.</summary>
[Collection(ClientCollection.Name)]
public sealed class LanguageTests(ClientSandbox sandbox)
{
    [Theory]
    [InlineData("python3 python/urllib_client.py", "HTTP/1.1")]
    [InlineData("python3 python/urllib_client.py strict", "HTTP/1.1")]
    [InlineData("python3 python/requests_client.py", "HTTP/1.1")]
    [InlineData("python3 python/httpx_client.py 1", "HTTP/1.1")]
    [InlineData("python3 python/httpx_client.py 2", "HTTP/2")]
    [InlineData("node node/fetch.mjs", "HTTP/1.1")]
    [InlineData("$DOTNET $DOTNET_CLIENT 1", "HTTP/1.1")]
    [InlineData("$DOTNET $DOTNET_CLIENT 2", "HTTP/2")]
    [InlineData("$HOME/go 1", "HTTP/1.1")]
    [InlineData("$HOME/go 2", "HTTP/2")]
    [InlineData("java -cp $HOME/java Client 1", "HTTP/1.1")]
    [InlineData("java -cp $HOME/java Client 2", "HTTP/2")]
    [InlineData("ruby ruby/net_http.rb", "HTTP/1.1")]
    public async Task A_client_asks_uploads_and_follows_a_stream_of_events(string command, string protocol)
    {
        (string output, IReadOnlyList<ReceivedRequest> requests) = await sandbox.RunAsync(command);
        Assert.Equal("hello\n3145728 same\ndata: one\ndata: two\n", output);
        Assert.Equal([$"{protocol} /hello", $"{protocol} /echo", $"{protocol} /events", $"{protocol} /release"], requests.Select(request => $"{request.Protocol} {request.Target}"));
    }

    [Theory]
    [InlineData("python3 python/grpc_client.py")]
    [InlineData("node node/grpc.mjs")]
    public async Task A_gRPC_client_makes_calls_of_each_kind_and_gets_what_is_in_the_trailers(string command)
    {
        (string output, IReadOnlyList<ReceivedRequest> requests) = await sandbox.RunAsync(command);
        Assert.Equal(
            """
            unary hello Unary
            server stream 1 2 3 ServerStream
            client stream one two three ClientStream
            both same same same Both
            failed FAILED_PRECONDITION not now Fail

            """, output);
        Assert.Equal(5, requests.Count);
        Assert.All(requests, request => Assert.Equal("HTTP/2", request.Protocol));
    }

    [Theory]
    [InlineData("python3 python/websockets_client.py", "1000 as you wish\n")]
    [InlineData("node node/ws.mjs", "1000\n")]
    public async Task A_WebSocket_opens_carries_messages_and_closes(string command, string closed)
    {
        (string output, IReadOnlyList<ReceivedRequest> requests) = await sandbox.RunAsync(command);
        Assert.Equal("5\n70000\n300\n" + closed, output);
        Assert.Equal("/live", Assert.Single(requests).Target);
    }
}
