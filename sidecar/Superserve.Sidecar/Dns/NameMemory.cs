using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net;

namespace Superserve.Sidecar.Dns;

/// <summary>
/// Which names the sidecar's DNS gave the pod an address for. A connection that says no name of its own is for one of those, and no
/// other: the sandbox's word for it is not taken. Reading takes no lock.
/// </summary>
internal sealed class NameMemory(TimeProvider time)
{
    private const int MaxAddresses = 4096;
    private const int MaxNames = 8;

    /// <summary>Of one answer; a service with more hands out a few of them at a time.</summary>
    private const int MaxAddressesPerAnswer = 64;

    /// <summary>Programs go on with an address for a while after its time to live.</summary>
    private static readonly TimeSpan MinKeptFor = TimeSpan.FromMinutes(5);

    private static readonly TimeSpan MaxKeptFor = TimeSpan.FromHours(1);

    private readonly ConcurrentDictionary<IPAddress, Entry> _entries = new();

    // The same addresses by when they were given last, the oldest first; under the lock.
    private readonly LinkedList<IPAddress> _order = new();
    private readonly Lock _lock = new();

    private sealed record Entry(LinkedListNode<IPAddress> Node, ImmutableArray<Given> Names);

    private readonly record struct Given(string Name, long At, TimeSpan For);

    /// <summary>The names of an address, the one that was given last first.</summary>
    public IReadOnlyList<string> NamesOf(IPAddress address)
    {
        if (!_entries.TryGetValue(Plain(address), out Entry? entry)) return [];
        List<string> names = new(entry.Names.Length);
        foreach (Given given in entry.Names)
            if (IsKept(given)) names.Add(given.Name);
        return names;
    }

    /// <summary>Addresses were given to the pod for a name.</summary>
    /// <param name="name">The name that was asked for, canonical.</param>
    /// <param name="addresses">What it was answered.</param>
    /// <param name="timeToLive">How long the answer holds.</param>
    public void Remember(string name, IEnumerable<IPAddress> addresses, TimeSpan timeToLive)
    {
        TimeSpan keptFor = timeToLive < MinKeptFor ? MinKeptFor : timeToLive > MaxKeptFor ? MaxKeptFor : timeToLive;
        Given given = new(name, time.GetTimestamp(), keptFor);
        lock (_lock)
        {
            foreach (IPAddress address in addresses.Take(MaxAddressesPerAnswer)) Add(Plain(address), given);
        }
    }

    private void Add(IPAddress address, Given given)
    {
        if (_entries.TryGetValue(address, out Entry? entry))
        {
            _order.Remove(entry.Node);
            _order.AddLast(entry.Node);
            _entries[address] = entry with { Names = [given, .. entry.Names.Where(other => other.Name != given.Name && IsKept(other)).Take(MaxNames - 1)] };
            return;
        }

        if (_order.Count == MaxAddresses)
        {
            _entries.TryRemove(_order.First!.Value, out _);
            _order.RemoveFirst();
        }

        _entries[address] = new Entry(_order.AddLast(address), [given]);
    }

    private bool IsKept(Given given) => time.GetElapsedTime(given.At) < given.For;

    private static IPAddress Plain(IPAddress address) => address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
}
