using System.Text;
using System.Threading.Channels;
using Grpc.Core;
using Superserve.Protocol;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests.Delivery;

/// <summary>The stream to the operator: whom the sidecar trusts, how it says what is wrong, and how it comes back.</summary>
public sealed class OperatorStreamTests
{
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(5);

    [Fact]
    public async Task An_operator_that_is_not_there_leaves_the_sidecar_unready_and_refusing()
    {
        await using Pod pod = new();
        await pod.StartSidecarAsync();
        await AssertWaitsAsync(pod, "ConnectionRefused");
        (await pod.ConnectAsync(Pod.Host)).AssertRefused(403, "host_not_allowed");
        await pod.StartOperatorAsync();
        OperatorCall call = await pod.Operator!.NextCallAsync();
        await call.DeliverAsync(pod.Snapshot());
        await pod.AssertSwapsAsync();
    }

    [Theory]
    [InlineData("another CA", "does not verify against the operator's CA")]
    [InlineData("another name", "is not for the name localhost")]
    [InlineData("a wildcard", "is not for the name localhost")]
    public async Task An_impostor_never_gets_the_token_and_is_told_apart(string fault, string said)
    {
        await using Pod pod = new();
        await pod.StartOperatorAsync(fault switch
        {
            "another CA" => TestAuthority.IssueUntrusted("localhost"),
            "another name" => TestAuthority.Issue("operator.test"),
            _ => TestAuthority.Issue("*"),
        });
        await pod.StartSidecarAsync();
        await AssertWaitsAsync(pod, said);
        await pod.Sidecar.LogAsync(said);
        Assert.Null(await pod.Operator!.TryNextCallAsync(TimeSpan.FromMilliseconds(1)));
        await AssertCountedAsync(pod, "reason=\"untrusted\"");
    }

    [Theory]
    [InlineData(StatusCode.Unauthenticated)]
    [InlineData(StatusCode.PermissionDenied)]
    public async Task A_refused_token_is_told_with_what_the_operator_says(StatusCode code)
    {
        await using Pod pod = new();
        await pod.StartOperatorAsync();
        pod.Operator!.Refusal = new Status(code, "the pod is gone\r\nor was not admitted");
        await pod.StartSidecarAsync();
        await AssertWaitsAsync(pod, "the pod is gone??or was not admitted");
        await pod.Sidecar.LogAsync($"refused the sidecar ({code})");
    }

    [Theory]
    [InlineData("", "is empty")]
    [InlineData("two words", "holds characters that no token has")]
    [InlineData(null, "cannot be read")]
    public async Task Without_a_token_nothing_is_sent(string? token, string said)
    {
        await using Pod pod = new();
        await pod.StartOperatorAsync();
        if (token is null) Directory.CreateDirectory(pod.TokenFile);
        else await File.WriteAllTextAsync(pod.TokenFile, token);
        await pod.StartSidecarAsync();
        await AssertWaitsAsync(pod, said);
        Assert.Null(await pod.Operator!.TryNextCallAsync(TimeSpan.FromMilliseconds(1)));
    }

    [Fact]
    public async Task A_new_token_is_shown_before_the_old_one_ends_and_the_one_in_the_file_at_each_stream()
    {
        await using Pod pod = Pod.WithFakeTime();
        long end = pod.Time!.GetUtcNow().AddSeconds(60).ToUnixTimeSeconds();
        string payload = Convert.ToBase64String(Encoding.ASCII.GetBytes($$"""{"aud":["superserve.ai"],"exp":{{end}}}""")).TrimEnd('=').Replace('+', '-').Replace('/', '_');
        await File.WriteAllTextAsync(pod.TokenFile, $"header.{payload}.first-token-of-the-pod\n");
        OperatorCall call = await pod.StartAsync();
        Assert.Equal($"Bearer header.{payload}.first-token-of-the-pod", call.Authorization);
        await call.NextAsync(SidecarMessage.MessageOneofCase.Hello);
        await File.WriteAllTextAsync(pod.TokenFile, "header.e30.second-token-of-the-pod");

        Renewal? renewal = null;
        DateTimeOffset start = pod.Time.GetUtcNow();
        for (int i = 0; i < 20 && renewal is null; i++)
        {
            // Acknowledged: so the sidecar does not take the operator for silent.
            await call.DeliverAsync(pod.Snapshot());
            pod.Time.Advance(TimeSpan.FromSeconds(10));
            if (pod.Time.GetUtcNow() < start.AddSeconds(40)) await call.NextAsync(SidecarMessage.MessageOneofCase.Heartbeat);
            else renewal = (await call.NextAsync(SidecarMessage.MessageOneofCase.Renewal)).Renewal;
        }

        Assert.Equal("header.e30.second-token-of-the-pod", renewal?.Token);
        call.Ended.SetResult(Status.DefaultSuccess);
        Assert.Equal("Bearer header.e30.second-token-of-the-pod", (await ReconnectAsync(pod)).Authorization);
    }

    [Fact]
    public async Task An_operator_that_falls_silent_is_left_for_another_stream()
    {
        await using Pod pod = Pod.WithFakeTime();
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot());
        pod.Time!.Advance(TimeSpan.FromSeconds(31));
        await call.Closed.WaitAsync(TimeSpan.FromSeconds(20), TimeProvider.System);
        await pod.Sidecar.LogAsync("was not heard for 30 s");
        await pod.AssertSwapsAsync();
        OperatorCall next = await ReconnectAsync(pod);
        await next.DeliverAsync(pod.Snapshot());
        await AssertCountedAsync(pod, "reason=\"silent\"");
    }

    [Fact]
    public async Task A_goodbye_leads_to_another_replica_and_what_was_delivered_stays()
    {
        await using Pod pod = new();
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot());
        await call.SendAsync(new OperatorMessage { Goodbye = new Goodbye { DelayMilliseconds = 100 } });
        await call.Closed.WaitAsync(TimeSpan.FromSeconds(20), TimeProvider.System);
        await pod.AssertSwapsAsync();
        OperatorCall next = await pod.Operator!.NextCallAsync();
        // Revisions count within a stream.
        Superserve.Protocol.Snapshot restarted = pod.Snapshot(usual => usual with { Secrets = [Pod.Bound("rotated-credential")] });
        restarted.Revision = 1;
        Assert.Equal("", (await next.DeliverAsync(restarted)).Error);
        await pod.AssertSwapsAsync("rotated-credential");
        await AssertCountedAsync(pod, "reason=\"goodbye\"");
    }

    [Theory]
    [InlineData("page")]
    [InlineData("frame")]
    [InlineData("bytes")]
    [InlineData("bomb")]
    public async Task Garbage_changes_nothing_and_the_stream_is_opened_anew(string kind)
    {
        await using Pod pod = new();
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot());
        int garbled = 0;
        pod.Operator!.Garbage = async context =>
        {
            Interlocked.Increment(ref garbled);
            context.Response.ContentType = kind == "page" ? "text/html" : "application/grpc";
            await context.Response.Body.WriteAsync(kind switch
            {
                "page" => "<h1>Welcome</h1>"u8.ToArray(),
                // A gRPC frame of five bytes that are no message.
                "frame" => [0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0xff],
                "bytes" => [.. Enumerable.Repeat((byte)0x5a, 100_000)],
                // One that says to be 2 GB long.
                _ => [0, 0x7f, 0xff, 0xff, 0xff, 1],
            });
        };
        call.Ended.SetResult(Status.DefaultSuccess);
        await TestSidecar.WaitAsync(() => Volatile.Read(ref garbled) >= 2, () => pod.Sidecar.Log);
        await pod.AssertSwapsAsync();
        pod.Operator.Garbage = null;
        await (await pod.Operator.NextCallAsync()).DeliverAsync(pod.Snapshot(usual => usual with { Secrets = [Pod.Bound("rotated-credential")] }));
        await pod.AssertSwapsAsync("rotated-credential");
    }

    [Fact]
    public async Task A_message_beyond_the_limit_ends_the_stream_and_changes_nothing()
    {
        await using Pod pod = new();
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot());
        Superserve.Protocol.Snapshot huge = pod.Snapshot();
        huge.Secrets[0].Unavailable = new string('x', SnapshotMapping.MaxMessageLength);
        // The sidecar may break the stream off while it is being written.
        await call.SendAsync(new OperatorMessage { Snapshot = huge }).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
        await pod.Sidecar.LogAsync("ResourceExhausted");
        await pod.Operator!.NextCallAsync();
        await pod.AssertSwapsAsync();
    }

    [Fact]
    public async Task With_the_operator_away_the_last_snapshot_stays_and_a_restarted_sidecar_waits()
    {
        await using Pod pod = new();
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot());
        await pod.StopOperatorAsync();
        await pod.Sidecar.LogAsync("No stream to the operator");
        await pod.AssertSwapsAsync();
        Assert.Equal(200, (await pod.Sidecar.ReadyAsync()).Status);

        await pod.StopSidecarAsync();
        string authority = await File.ReadAllTextAsync(pod.Sidecar.InTrust("ca.crt"));
        await pod.StartSidecarAsync();
        await AssertWaitsAsync(pod, "ConnectionRefused");
        (await pod.ConnectAsync(Pod.Host)).AssertRefused(403, "host_not_allowed");
        Assert.Equal(authority, await File.ReadAllTextAsync(pod.Sidecar.InTrust("ca.crt")));
        // What processes have loaded stays in the file: it counts again once the operator is back.
        Assert.Equal(Pod.StandIn, pod.Sidecar.StandIn("KEY"));
    }

    [Fact]
    public async Task Credentials_are_unavailable_once_the_operator_was_away_for_too_long_until_it_is_back()
    {
        await using Pod pod = Pod.WithFakeTime(options => options with { MaxSnapshotAge = TimeSpan.FromMinutes(30) });
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot());
        pod.Operator!.Refusal = new Status(StatusCode.Unavailable, "the operator starts");
        call.Ended.SetResult(Status.DefaultSuccess);
        await pod.Sidecar.LogAsync("No stream to the operator");
        pod.Time!.Advance(TimeSpan.FromMinutes(29));
        await pod.AssertSwapsAsync();
        pod.Time.Advance(TimeSpan.FromMinutes(2));
        Assert.Contains("1800 s", (await pod.AskAsync()).AssertRefused(503, "credential_unavailable").GetProperty("detail").GetString(), StringComparison.Ordinal);
        (await pod.AskAsync(Pod.Other, standIn: null)).AssertOk();
        Assert.Contains("superserve_sidecar_operator_connected{} 0", await pod.Sidecar.MetricsAsync(), StringComparison.Ordinal);
        Assert.Contains("superserve_sidecar_operator_silence_seconds{} 1860", await pod.Sidecar.MetricsAsync(), StringComparison.Ordinal);

        pod.Operator.Refusal = null;
        await (await ReconnectAsync(pod)).DeliverAsync(pod.Snapshot());
        await pod.AssertSwapsAsync();
    }

    [Fact]
    public async Task A_heartbeat_confirms_the_snapshot_only_while_the_last_one_is_in_force()
    {
        await using Pod pod = Pod.WithFakeTime(options => options with { MaxSnapshotAge = TimeSpan.FromSeconds(25) });
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot());
        pod.Time!.Advance(TimeSpan.FromSeconds(20));
        // The refused snapshot is acknowledged after the heartbeat was heard.
        await call.SendAsync(new OperatorMessage { Heartbeat = new Heartbeat() });
        Superserve.Protocol.Snapshot bad = pod.Snapshot();
        bad.Audit = "Sometimes";
        await call.DeliverAsync(bad);
        pod.Time.Advance(TimeSpan.FromSeconds(20));
        await pod.AssertSwapsAsync();
        await call.SendAsync(new OperatorMessage { Heartbeat = new Heartbeat() });
        bad.Revision++;
        await call.DeliverAsync(bad);
        pod.Time.Advance(TimeSpan.FromSeconds(10));
        (await pod.AskAsync()).AssertRefused(503, "credential_unavailable");
    }

    [Fact]
    public async Task Successors_of_the_operator_s_CA_are_trusted_instead_by_a_restarted_sidecar_too()
    {
        await using Pod pod = new();
        OperatorCall call = await pod.StartAsync();
        (System.Security.Cryptography.X509Certificates.X509Certificate2 certificate, string pem) = TestAuthority.IssueByAnother("localhost");
        await call.SendAsync(new OperatorMessage { Trust = new Protocol.Trust { Authorities = pem } });
        await call.DeliverAsync(pod.Snapshot());
        // None of these takes the place of good ones.
        foreach (string bad in (string[])["", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----", TestAuthority.Issue("leaf.test").ExportCertificatePem(), string.Concat(Enumerable.Repeat(pem + "\n", 9))])
            await call.SendAsync(new OperatorMessage { Trust = new Protocol.Trust { Authorities = bad } });
        await call.DeliverAsync(pod.Snapshot());
        await pod.StopOperatorAsync();
        await pod.StartOperatorAsync(certificate);
        await (await pod.Operator!.NextCallAsync()).DeliverAsync(pod.Snapshot());

        await pod.StopSidecarAsync();
        await pod.StartSidecarAsync();
        await (await pod.Operator.NextCallAsync()).DeliverAsync(pod.Snapshot());
        await pod.StopOperatorAsync();
        // The first CA is not trusted any more.
        await pod.StartOperatorAsync();
        await pod.Sidecar.LogAsync("does not verify against the operator's CA");
    }

    /// <summary>How often is not the test's to say: attempts go on.</summary>
    private static async Task AssertCountedAsync(Pod pod, string label) => await TestSidecar.WaitAsync(
        async () => (await pod.Sidecar.MetricsAsync()).Contains($"superserve_sidecar_operator_streams_ended_total{{{label}}}", StringComparison.Ordinal), () => $"{label} is not counted");

    private static async Task AssertWaitsAsync(Pod pod, string reason)
    {
        (int Status, string Body) answer = default;
        await TestSidecar.WaitAsync(async () => (answer = await pod.Sidecar.ReadyAsync()).Body.Contains(reason, StringComparison.Ordinal), () => $"'{reason}' was expected, but: {answer}");
        Assert.Equal(503, answer.Status);
        Assert.StartsWith("waiting for the operator: ", answer.Body, StringComparison.Ordinal);
    }

    /// <summary>Moves the time until the wait ahead of the next stream is over, and not so far that the new stream is silent for too long.</summary>
    private static async Task<OperatorCall> ReconnectAsync(Pod pod)
    {
        await pod.Sidecar.LogAsync("The next attempt is in");
        for (int i = 0; i < 20; i++)
        {
            pod.Time!.Advance(TimeSpan.FromSeconds(2));
            if (await pod.Operator!.TryNextCallAsync(i < 3 ? TimeSpan.FromSeconds(1) : Soon) is { } call) return call;
        }

        throw new ChannelClosedException($"There is no other stream:\n{pod.Sidecar.Log}");
    }
}
