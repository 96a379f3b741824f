using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.IO.Compression;
using System.Net.Http.Headers;
using Grpc.Core;
using Grpc.Net.Client;
using Superserve.Operator.Metrics;
using Superserve.Operator.Tests.Delivery.Fixture;
using Superserve.Protocol;

namespace Superserve.Operator.Tests.Delivery;

/// <summary>After streams of every kind, neither a credential, a stand-in nor a token stands anywhere but in its own message.</summary>
public sealed class LeakTests : DeliveryTest
{
    [Fact]
    public async Task Nothing_of_credentials_stand_ins_and_tokens_is_in_logs_statuses_objects_or_metrics()
    {
        List<string> said = [];
        HashSet<string> hidden = [Credential, "rotated-credential-0123456789"];
        string Hide(string token)
        {
            foreach (string part in token.Split('.')) hidden.Add(part);
            return token;
        }

        using MeterListener listener = new();
        ConcurrentBag<string> labels = [];
        listener.InstrumentPublished = (instrument, subscriber) =>
        {
            if (instrument.Meter.Name == OperatorMetrics.MeterName) subscriber.EnableMeasurementEvents(instrument);
        };
        listener.SetMeasurementEventCallback<long>((instrument, _, tags, _) => labels.Add($"{instrument.Name} {string.Join(' ', tags.ToArray())}"));
        listener.SetMeasurementEventCallback<double>((instrument, _, tags, _) => labels.Add($"{instrument.Name} {string.Join(' ', tags.ToArray())}"));
        listener.Start();

        await SecretAsync("github");
        await BindingAsync("agents", "GITHUB_TOKEN", "github");
        await PodAsync("agent", recorded: ("GITHUB_TOKEN", "github", "agents"));
        await PodAsync("plain", isInjected: false);
        foreach (string token in new[] { Token("plain"), Token("agent", audience: "vault"), Token("agent")[..^4] + "AAAA", "garbage-garbage-garbage" })
            said.Add((await RefusedAsync(Hide(token))).ToString());

        TestSidecar sidecar = Call(Hide(Token("agent")));
        await sidecar.HelloAsync();
        hidden.Add((await sidecar.SnapshotAsync()).Secrets[0].StandIn);
        await sidecar.SendAsync(new SidecarMessage { Renewal = new Renewal { Token = Hide(Token("agent")) } });
        await CredentialAsync("github", "rotated-credential-0123456789");
        await sidecar.SnapshotAsync();
        await sidecar.AcknowledgeAsync(error: Credential);
        await CredentialAsync("github", "bad\ncredential");
        await sidecar.SnapshotAsync(snapshot => snapshot.Secrets[0].CredentialCase == BoundSecret.CredentialOneofCase.Unavailable);
        await DeleteAsync(SecretPath("github"));
        await sidecar.SnapshotAsync();
        said.Add((await sidecar.EndedAsync(() => sidecar.SendAsync(new SidecarMessage { Renewal = new Renewal { Token = Hide(Token("agent")[..^4] + "AAAA") } }))).ToString());
        await Eventually(() => Registry.Count == 0, "it is gone");

        foreach (string path in new[] { PodPath("agent"), BindingPath("agents"), $"apis/events.k8s.io/v1/namespaces/{Ns}/events" }) said.Add((await GetAsync(path)).ToJsonString());
        string everything = string.Join('\n', [Logs, .. said, .. labels]);
        Assert.Contains("superserve.delivery.propagation", everything, StringComparison.Ordinal);
        Assert.Contains("superserve.delivery.refused [reason, not_injected]", everything, StringComparison.Ordinal);
        Assert.Contains("superserve.delivery.closed [reason, renewal_refused]", everything, StringComparison.Ordinal);
        Assert.All(hidden, text => Assert.False(everything.Contains(text, StringComparison.Ordinal), $"{text} stands in: {Around(everything, text)}"));
    }

    [Fact]
    public async Task A_compressed_message_is_not_unpacked()
    {
        await PodAsync("agent");
        using SocketsHttpHandler handler = TestSidecar.NewHandler();
        using GrpcChannel channel = GrpcChannel.ForAddress(Address, new GrpcChannelOptions { HttpHandler = handler, CompressionProviders = [new Grpc.Net.Compression.GzipCompressionProvider(CompressionLevel.Fastest)] });
        Grpc.Core.Metadata headers = new() { { "authorization", $"Bearer {Token("agent")}" }, { "grpc-internal-encoding-request", "gzip" } };
        using AsyncDuplexStreamingCall<SidecarMessage, OperatorMessage> call = new Protocol.Delivery.DeliveryClient(channel).Connect(headers);
        // What is still being sent may cut the answer short: the log has it for certain.
        await Assert.ThrowsAsync<RpcException>(async () =>
        {
            await call.RequestStream.WriteAsync(new SidecarMessage { Hello = new Hello { Protocol = 1, Capture = "Explicit", Version = new string('1', 10_000_000) } });
            while (await call.ResponseStream.MoveNext(CancellationToken.None)) continue;
        });
        await Eventually(() => Logs.Contains("agents/agent: a message is longer than 64 KiB, compressed", StringComparison.Ordinal), "it is refused");
        Assert.Equal(0, Registry.Count);
    }

    [Fact]
    public async Task Only_HTTP_2_is_spoken()
    {
        using SocketsHttpHandler handler = TestSidecar.NewHandler();
        using HttpMessageInvoker client = new(handler);
        using HttpRequestMessage request = new(HttpMethod.Get, Address) { Version = new Version(1, 1), VersionPolicy = HttpVersionPolicy.RequestVersionExact };
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", "x");
        await Assert.ThrowsAsync<HttpRequestException>(() => client.SendAsync(request, CancellationToken.None));
    }

    private static string Around(string text, string found)
    {
        int at = text.IndexOf(found, StringComparison.Ordinal);
        return at < 0 ? "" : text[Math.Max(0, at - 200)..at];
    }
}
