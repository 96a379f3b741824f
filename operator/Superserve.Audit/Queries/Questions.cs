using System.Buffers.Binary;
using System.Globalization;
using Google.Protobuf;
using Superserve.Audit.Storing;
using Superserve.Protocol.Audit;

namespace Superserve.Audit.Queries;

/// <summary>A question that cannot be answered, with words for whoever asked.</summary>
internal sealed class BadQuestionException(string message) : Exception(message);

/// <summary>
/// Answers questions about the logs. One index is walked, newest first; filters on outcomes choose its parts, and the others are looked up
/// in the rows that it leads to. Each statement reads a bounded number of rows, and an answer takes a bounded time: where few of many rows
/// match, a page is short or even empty, and its cursor goes on from where the walk has come to.
/// </summary>
internal sealed class Questions(EventStore store, AuditMetrics metrics, TimeProvider time)
{
    private const int MaxLimit = 1000;
    private const int MaxFilters = 32;

    /// <summary>Rows that are looked into at a time, where only some will match.</summary>
    private const int Walk = 4000;

    /// <summary>How far indexes are compared before the one that leads to fewer rows is taken.</summary>
    private const int Compared = 5000;

    /// <summary>An answer begins no further walk after this.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    // What a batch brought beside the fields that this version knows was never looked at.
    private static readonly MessageParser<RequestRow> RequestParser = RequestRow.Parser.WithDiscardUnknownFields(true);
    private static readonly MessageParser<NetworkRow> NetworkParser = NetworkRow.Parser.WithDiscardUnknownFields(true);

    /// <summary>Rows of a log.</summary>
    /// <exception cref="BadQuestionException">The request is not in order.</exception>
    public async Task<ListReply> ListAsync(ListRequest request, CancellationToken cancellationToken)
    {
        long began = time.GetTimestamp();
        try
        {
            if (request.Log is not (Log.Requests or Log.Network)) throw new BadQuestionException("log has to be LOG_REQUESTS or LOG_NETWORK");
            return request.Name.Length > 0 ? await GetAsync(request, cancellationToken) : await WalkAsync(request, began, cancellationToken);
        }
        finally
        {
            metrics.Asked(time.GetElapsedTime(began));
        }
    }

    /// <summary>The secrets whose counts have changed.</summary>
    /// <exception cref="BadQuestionException">The request is not in order.</exception>
    public Task<UsageReply> UsageAsync(UsageRequest request, CancellationToken cancellationToken) =>
        request.Since < 0 ? throw new BadQuestionException("since is none that this service has given") : store.UsageAsync(request.Since, cancellationToken);

    /// <summary>The name of a row.</summary>
    internal static string NameOf(long id) => id.ToString("x", CultureInfo.InvariantCulture);

    private async Task<ListReply> GetAsync(ListRequest request, CancellationToken cancellationToken)
    {
        ListReply reply = new();
        if (!long.TryParse(request.Name, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out long id) || NameOf(id) != request.Name) return reply;
        if (await store.GetAsync(request.Log, id, cancellationToken) is not { } found) return reply;
        Row row = Row.Of(request.Log, found);
        if (request.Namespace.Length == 0 || row.Origin.Namespace == request.Namespace) row.AddTo(reply);
        return reply;
    }

    private async Task<ListReply> WalkAsync(ListRequest request, long began, CancellationToken cancellationToken)
    {
        ListReply reply = new();
        int limit = request.Limit is 0 or > MaxLimit ? MaxLimit : (int)request.Limit;
        if (request.Limit > MaxLimit) throw new BadQuestionException($"limit is at most {MaxLimit}");
        short[] outcomes = OutcomesOf(request);
        List<Filter> others = [.. request.Filters.Where(filter => Outcomes.ValuesOf(request.Log, filter.Field) is null)];
        List<IndexKey> indexes = [.. others.Where(filter => !filter.Negated).Select(filter => IndexOf(request, filter)).Distinct()];
        if (indexes.Count == 0) indexes.Add(request.Namespace.Length == 0
            ? new IndexKey(EventStore.TableOf(request.Log), null, 0)
            : new IndexKey(EventStore.TableOf(request.Log), "namespace", Keys.Of(request.Namespace)));
        Place place = Cursor.Read(request, request.Before == 0 ? Place.Newest : new Place(request.Before, 0));
        if (outcomes.Length == 0) return reply;

        IndexKey index = indexes[0];
        if (indexes.Count > 1)
        {
            long fewest = long.MaxValue;
            foreach (IndexKey candidate in indexes)
            {
                long rows = await store.CountAsync(candidate, outcomes, request.Since, place, Compared, cancellationToken);
                if (rows < fewest) (fewest, index) = (rows, candidate);
            }
        }

        // Beyond the walked index itself nothing is left to look for: one more than asked for tells whether there are more.
        int step = !others.Any(filter => filter.Negated) && indexes.Count <= 1 ? limit + 1 : Math.Max(Walk, limit + 1);
        int count = 0;
        while (true)
        {
            List<FoundRow> page = await store.PageAsync(request.Log, index, outcomes, request.Since, place, step, cancellationToken);
            foreach (FoundRow found in page)
            {
                Row row = Row.Of(request.Log, found);
                if ((request.Namespace.Length == 0 || row.Origin.Namespace == request.Namespace) && others.All(row.Matches))
                {
                    if (count == limit)
                    {
                        reply.Continue = Cursor.Write(request, place);
                        return reply;
                    }

                    row.AddTo(reply);
                    count++;
                }

                place = new Place(found.Time, found.Id);
            }

            if (page.Count < step) return reply;
            if (count < limit && time.GetElapsedTime(began) < Patience) continue;
            reply.Continue = Cursor.Write(request, place);
            return reply;
        }
    }

    private static short[] OutcomesOf(ListRequest request)
    {
        if (request.Filters.Count > MaxFilters) throw new BadQuestionException($"there are more than {MaxFilters} filters");
        if (request.Since < 0 || request.Before < 0) throw new BadQuestionException("since and before are microseconds since 1970");
        if (request.Namespace.Length > 253) throw new BadQuestionException("namespace is longer than a namespace's name");
        IEnumerable<short> outcomes = Outcomes.All(request.Log);
        foreach (Filter filter in request.Filters)
        {
            if (filter.Value.Length > Protocol.AuditLimits.Name) throw new BadQuestionException("a filter's value is longer than any");
            if (Outcomes.ValuesOf(request.Log, filter.Field) is not { } values) continue;
            if (!values.Contains(filter.Value)) throw new BadQuestionException($"{filter.Field} is one of: {string.Join(", ", values)}");
            outcomes = outcomes.Where(outcome => Outcomes.Has(outcome, filter.Field, filter.Value) != filter.Negated);
        }

        foreach (Filter filter in request.Filters.Where(filter => Outcomes.ValuesOf(request.Log, filter.Field) is null))
        {
            if (filter.Field is not (Field.Sandbox or Field.Host) && (filter.Field, request.Log) is not (Field.Secret, Log.Requests))
                throw new BadQuestionException($"rows of this log have no {filter.Field}");
        }

        return [.. outcomes];
    }

    private static IndexKey IndexOf(ListRequest request, Filter filter)
    {
        string column = filter.Field switch { Field.Secret => "secret", Field.Sandbox => "pod", _ => "host" };
        return new IndexKey(
            filter.Field == Field.Secret ? "request_uses" : EventStore.TableOf(request.Log),
            request.Namespace.Length == 0 ? column : $"namespace_{column}",
            Keys.Of(filter.Field, request.Namespace, filter.Value));
    }

    /// <summary>A row of either log.</summary>
    private sealed record Row(Origin Origin, RequestRow? Request, NetworkRow? Network)
    {
        public static Row Of(Log log, FoundRow found)
        {
            RequestRow? request = log == Log.Requests ? RequestParser.ParseFrom(found.Bytes) : null;
            NetworkRow? network = log == Log.Network ? NetworkParser.ParseFrom(found.Bytes) : null;
            Row row = new((request?.Origin ?? network?.Origin)!, request, network);
            row.Origin.Name = NameOf(found.Id);
            return row;
        }

        public bool Matches(Filter filter) => filter.Negated != filter.Field switch
        {
            Field.Secret => Request!.Record.Uses.Any(use => use.Secret == filter.Value),
            Field.Sandbox => Origin.Pod == filter.Value,
            _ => (Request?.Record.Host ?? Network!.Record.Host) == filter.Value,
        };

        public void AddTo(ListReply reply)
        {
            if (Request is not null) reply.Requests.Add(Request);
            else reply.Network.Add(Network);
        }
    }

    /// <summary>
    /// Where a list goes on: behind which row, and a sum over the question, so that another question's cursor is found out. The bounds of time
    /// are not in it: "the last hour" is another one on each page.
    /// </summary>
    private static class Cursor
    {
        private const byte Version = 1;
        private const int Length = 1 + (3 * sizeof(long));

        public static ByteString Write(ListRequest request, Place place)
        {
            Span<byte> bytes = stackalloc byte[Length];
            bytes[0] = Version;
            BinaryPrimitives.WriteInt64BigEndian(bytes[1..], SumOf(request));
            BinaryPrimitives.WriteInt64BigEndian(bytes[9..], place.Time);
            BinaryPrimitives.WriteInt64BigEndian(bytes[17..], place.Id);
            return ByteString.CopyFrom(bytes);
        }

        /// <summary>The later of the two places that a list begins behind.</summary>
        public static Place Read(ListRequest request, Place start)
        {
            if (request.Continue.IsEmpty) return start;
            ReadOnlySpan<byte> bytes = request.Continue.Span;
            if (bytes.Length != Length || bytes[0] != Version || BinaryPrimitives.ReadInt64BigEndian(bytes[1..]) != SumOf(request))
                throw new BadQuestionException("continue is not from the page before of this question; ask again without it");
            Place place = new(BinaryPrimitives.ReadInt64BigEndian(bytes[9..]), BinaryPrimitives.ReadInt64BigEndian(bytes[17..]));
            return (place.Time, place.Id).CompareTo((start.Time, start.Id)) < 0 ? place : start;
        }

        private static long SumOf(ListRequest request)
        {
            ListRequest question = new() { Log = request.Log, Namespace = request.Namespace };
            question.Filters.AddRange(request.Filters);
            return BinaryPrimitives.ReadInt64BigEndian(System.Security.Cryptography.SHA256.HashData(question.ToByteArray()));
        }
    }
}
