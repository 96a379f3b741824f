using Superserve.Core.Events;
using Superserve.Sidecar.Events;

namespace Superserve.Sidecar.Dns;

/// <summary>
/// The events of look-ups. A name that is refused again soon is counted, and becomes one more row: resolvers try again at once, with
/// every suffix that they have.
/// </summary>
internal sealed class LookUpLog : IDisposable
{
    /// <summary>How long refusals of a name are counted together.</summary>
    public static readonly TimeSpan Window = TimeSpan.FromSeconds(10);

    /// <summary>Refusals of more names at once get a row each.</summary>
    private const int MaxCounted = 1024;

    private readonly EventLog _events;
    private readonly Lock _lock = new();
    private readonly ITimer _timer;
    private Dictionary<(string Host, string QueryType, string Response), DnsEvent?> _counted = [];

    public LookUpLog(EventLog events, TimeProvider time)
    {
        _events = events;
        _timer = time.CreateTimer(_ => Flush(), null, Window, Window);
    }

    public void Add(DnsEvent lookUp)
    {
        if (lookUp.Verdict == ConnectionVerdict.Blocked && IsRepeated(lookUp)) return;
        _events.Add(lookUp);
    }

    /// <summary>Writes what was counted.</summary>
    public void Flush()
    {
        Dictionary<(string, string, string), DnsEvent?> counted;
        lock (_lock) (counted, _counted) = (_counted, []);
        foreach (DnsEvent? repeated in counted.Values)
            if (repeated is not null) _events.Add(repeated);
    }

    public void Dispose() => _timer.Dispose();

    private bool IsRepeated(DnsEvent lookUp)
    {
        (string, string, string) key = (lookUp.Host, lookUp.QueryType, lookUp.Response);
        lock (_lock)
        {
            if (_counted.TryGetValue(key, out DnsEvent? repeated))
            {
                _counted[key] = repeated is null ? lookUp : repeated with { Count = repeated.Count + 1 };
                return true;
            }

            if (_counted.Count < MaxCounted) _counted[key] = null;
            return false;
        }
    }
}
