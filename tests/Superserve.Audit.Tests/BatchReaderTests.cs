using Google.Protobuf;
using Microsoft.Extensions.Time.Testing;
using Superserve.Audit.Ingest;
using Superserve.Audit.Tests.Fixture;
using Superserve.Protocol;
using Superserve.Protocol.Audit;

namespace Superserve.Audit.Tests;

/// <summary>Batches as an attacker would write them.</summary>
public sealed class BatchReaderTests
{
    private static readonly (string Words, Action<RequestRecord> Change)[] BadRequests =
    [
        ("path is longer", record => record.Path = new string('a', AuditLimits.Path + 1)),
        ("path holds a control character", record => record.Path = "/a\nb"),
        ("host holds a control character", record => record.Host = "a\u001b[2J"),
        ("host is longer", record => record.Host = new string('a', AuditLimits.Name + 1)),
        ("method holds a control character", record => record.Method = "GET\0"),
        ("method is longer", record => record.Method = new string('A', AuditLimits.Word + 1)),
        ("error holds a control character", record => record.Error = "\u2028"),
        ("protocol is longer", record => record.Protocol = new string('a', AuditLimits.Word + 1)),
        ("env holds a control character", record => record.Uses[0].Env = "A\rB"),
        ("secret has to be the name", record => record.Uses[0].Secret = ""),
        ("secret has to be the name", record => record.Uses[0].Secret = "A secret"),
        ("secret has to be the name", record => record.Uses[0].Secret = new string('a', 254)),
        ($"it has more than {AuditLimits.Uses} uses", record => record.Uses.AddRange(Enumerable.Repeat(record.Uses[0], AuditLimits.Uses).ToArray())),
        ("port is none", record => record.Port = 65536),
        ("status has to be", record => record.Status = 99),
        ("status has to be", record => record.Status = uint.MaxValue),
        ("upstream_status has to be", record => record.UpstreamStatus = 1000),
        ("verdict is none", record => record.Verdict = Verdict.Unspecified),
        ("verdict is none", record => record.Verdict = (Verdict)77),
        ("duration_microseconds is below 0", record => record.DurationMicroseconds = -1),
        ("bytes_sent or bytes_received", record => record.BytesSent = ulong.MaxValue),
        ("bytes_sent or bytes_received", record => record.BytesReceived = 1UL << 63),
        ("count is more", record => record.Count = ulong.MaxValue),
    ];

    private static readonly (string Words, Action<NetworkRecord> Change)[] BadConnections =
    [
        ("kind has to be one of: connection, dns", record => record.Kind = "request"),
        ("kind has to be one of", record => record.Kind = ""),
        ("protocol has to be one of", record => record.Protocol = "sctp"),
        ("handling has to be one of", record => record.Handling = "tunneled"),
        ("address holds a control character", record => record.Address = "\u007f"),
        ("rule is longer", record => record.Rule = new string('a', AuditLimits.Name + 1)),
        ("query_type is longer", record => record.QueryType = new string('A', AuditLimits.Word + 1)),
        ("response holds a control character", record => record.Response = "NO\tERROR"),
        ("verdict is none", record => record.Verdict = (Verdict)(-1)),
        ("port is none", record => record.Port = uint.MaxValue),
    ];

    private static readonly (string Words, Action<Batch> Change)[] BadBatches =
    [
        ("boot has to be 16 bytes", batch => batch.Boot = ByteString.Empty),
        ("boot has to be 16 bytes", batch => batch.Boot = ByteString.CopyFrom(new byte[17])),
        ("log has to be", batch => batch.Log = Log.Unspecified),
        ("log has to be", batch => batch.Log = (Log)9),
        ("records of the other log", batch => batch.Network.Add(Some.Connection())),
        ("records of the other log", batch => batch.Log = Log.Network),
        ("more than 5000 records", batch => batch.Requests.AddRange(Enumerable.Repeat(Some.Request(), 5000))),
        ("first_sequence has to be", batch => batch.FirstSequence = 0),
        ("first_sequence has to be", batch => batch.FirstSequence = ulong.MaxValue),
        ("overflowed is more", batch => batch.Overflowed = ulong.MaxValue),
    ];

    public static TheoryData<int> RequestCases => [.. Enumerable.Range(0, BadRequests.Length)];

    public static TheoryData<int> ConnectionCases => [.. Enumerable.Range(0, BadConnections.Length)];

    public static TheoryData<int> BatchCases => [.. Enumerable.Range(0, BadBatches.Length)];

    [Theory]
    [MemberData(nameof(RequestCases))]
    public void A_bad_request_refuses_the_whole_batch(int number)
    {
        RequestRecord record = Some.Request();
        BadRequests[number].Change(record);
        Assert.Contains("record 1: " + BadRequests[number].Words, Refusal(Some.Batch(Some.Boot(), 1, Some.Request(), record)), StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(ConnectionCases))]
    public void A_bad_connection_refuses_the_whole_batch(int number)
    {
        NetworkRecord record = Some.Connection();
        BadConnections[number].Change(record);
        Assert.Contains("record 0: " + BadConnections[number].Words, Refusal(Some.Batch(Some.Boot(), 1, record)), StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(BatchCases))]
    public void A_bad_batch_is_refused(int number)
    {
        Batch batch = Some.Batch(Some.Boot(), 1, Some.Request());
        BadBatches[number].Change(batch);
        Assert.Contains(BadBatches[number].Words, Refusal(batch), StringComparison.Ordinal);
    }

    [Fact]
    public void Fields_that_nobody_knows_count_for_the_length_of_a_record()
    {
        // Field 100, of a version to come, as long as an attacker likes.
        byte[] unknown = [0xa2, 0x06, 0x80, 0x80, 0x04, .. new byte[65536]];
        RequestRecord record = Some.Request();
        record.MergeFrom(unknown);
        Assert.Contains("record 0: it is longer than", Refusal(Some.Batch(Some.Boot(), 1, record)), StringComparison.Ordinal);
    }

    [Fact]
    public void A_refusal_quotes_nothing_of_the_batch()
    {
        RequestRecord record = Some.Request(path: "/sk-ant-secret\n", host: "sk-ant-secret");
        Assert.DoesNotContain("sk-ant", Refusal(Some.Batch(Some.Boot(), 1, record)), StringComparison.Ordinal);
    }

    [Theory]
    // As long as clocks differ by minutes, what the sidecar says counts.
    [InlineData(0, false)]
    [InlineData(4 * 60, false)]
    [InlineData(6 * 60, true)]
    [InlineData(365 * 86400, true)]
    // A spool that waited for weeks, and a clock that was stepped back.
    [InlineData(-29 * 86400, false)]
    [InlineData(-400L * 86400, false)]
    // No clock at all.
    [InlineData(-56L * 365 * 86400, true)]
    public void A_time_that_cannot_be_right_becomes_the_time_at_which_it_came(long secondsFromNow, bool isCorrected)
    {
        long time = Some.NowMicroseconds + (secondsFromNow * 1_000_000);
        TakenBatch batch = Some.Taken(Some.Batch(Some.Boot(), 1, Some.Request(time)));
        Assert.Equal((isCorrected ? Some.NowMicroseconds : time, isCorrected ? 1 : 0), (batch.Rows[0].Time, batch.Corrected));
        Assert.Equal(batch.Rows[0].Time, RequestRow.Parser.ParseFrom(batch.Rows[0].Bytes).Record.Time);
    }

    [Fact]
    public void Whose_a_batch_is_comes_from_the_token()
    {
        TakenBatch batch = Some.Taken(Some.Batch(Some.Boot(), 7, Some.Request(), Some.Request()), Some.Pod("p", "n", "u"));
        Assert.All(batch.Rows, row => Assert.Equal(("n", "p", "u"), (((RequestRow)row.Row).Origin.Namespace, ((RequestRow)row.Row).Origin.Pod, ((RequestRow)row.Row).Origin.PodUid)));
        Assert.Equal(("u", 7, 8), (batch.Numbering.PodUid, batch.First, batch.Last));
    }

    [Fact]
    public void Any_bytes_are_a_batch_or_are_refused()
    {
        BatchReader reader = new(new FakeTimeProvider(Some.Now));
        byte[] good = Some.Batch(Some.Boot(), 1, Some.Request(), Some.Request(secrets: ["a", "b"])).ToByteArray();
        for (int at = 0; at < good.Length; at++)
        {
            foreach (byte other in (byte[])[0, 1, 0x0a, 0x7f, 0x80, 0xff])
            {
                byte[] bytes = [.. good];
                bytes[at] = other;
                Batch batch;
                try
                {
                    batch = Batch.Parser.ParseFrom(bytes);
                }
                catch (InvalidProtocolBufferException)
                {
                    continue;
                }

                if (Record.Exception(() => reader.Read(batch, Some.Pod())) is { } exception) Assert.IsType<BadBatchException>(exception);
            }
        }
    }

    private static string Refusal(Batch batch) => Assert.Throws<BadBatchException>(() => Some.Taken(batch)).Message;
}
