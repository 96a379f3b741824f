namespace Superserve.ApiServer.Serving;

/// <summary>What was asked, for tests that hold a client to asking for no more than it needs; and faults that answer in its place.</summary>
public sealed class RequestLog
{
    private const int Limit = 20_000;

    private readonly Lock _gate = new();
    private readonly Queue<RequestRecord> _records = [];
    private Func<RequestRecord, int?>? _fault;

    /// <summary>The requests so far, the oldest first.</summary>
    public IReadOnlyList<RequestRecord> All
    {
        get { lock (_gate) return [.. _records]; }
    }

    /// <summary>Forgets what was asked so far.</summary>
    public void Clear()
    {
        lock (_gate) _records.Clear();
    }

    /// <summary>From now on requests for which the function gives a status code get that; null ends it.</summary>
    public void FailWith(Func<RequestRecord, int?>? fault)
    {
        lock (_gate) _fault = fault;
    }

    internal int? Add(RequestRecord record)
    {
        Func<RequestRecord, int?>? fault;
        lock (_gate)
        {
            if (_records.Count == Limit) _records.Dequeue();
            _records.Enqueue(record);
            fault = _fault;
        }

        return fault?.Invoke(record);
    }
}
