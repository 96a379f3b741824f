using System.Net;
using System.Net.Sockets;
using Superserve.Core.Dns;
using Superserve.Core.Hosts;
using Superserve.Sidecar.Capture;

namespace Superserve.Sidecar.Dns;

/// <summary>
/// Resolves names, by DNS alone: /etc/hosts is one file for all containers of a pod, which root in the sandbox can write. It takes
/// no name for another one (no search list) but for the operator's.
/// </summary>
internal sealed class Resolver(ResolverFile file, EgressSockets sockets, TimeProvider time) : IDisposable
{
    /// <summary>The most addresses of one name.</summary>
    public const int MaxAddresses = 16;

    private const int MaxUnderWay = 128;
    private const int MaxWaiting = 1024;
    private const int MaxKept = 1024;

    /// <summary>However many servers and attempts the resolvers' file asks for.</summary>
    private static readonly TimeSpan MaxDuration = TimeSpan.FromSeconds(20);

    private static readonly TimeSpan MaxKeptFor = TimeSpan.FromSeconds(30);

    /// <summary>How long the second family is waited for when the first has addresses: some servers never answer for one.</summary>
    private static readonly TimeSpan OtherFamilyDelay = TimeSpan.FromSeconds(1);

    /// <summary>The other way round: a lost datagram is sent again after five seconds, where nothing else is set.</summary>
    private static readonly TimeSpan FirstFamilyDelay = TimeSpan.FromSeconds(6);

    private readonly DnsExchange _exchange = new(sockets);
    private readonly SemaphoreSlim _turns = new(MaxUnderWay);
    private readonly Lock _lock = new();
    private readonly Dictionary<(string Name, DnsType Type), Kept> _kept = [];
    private readonly Dictionary<(string Name, DnsType Type), Task<DnsAnswer>> _underWay = [];

    private readonly record struct Kept(DnsAnswer Answer, long Since, TimeSpan For);

    /// <summary>The addresses of a name, those of the family first that the machine has a way out by.</summary>
    /// <param name="name">The canonical name; it is absolute.</param>
    /// <param name="cancellationToken">When to give up.</param>
    /// <exception cref="ResolverException">There is none.</exception>
    public Task<IPAddress[]> LookUpAsync(string name, CancellationToken cancellationToken) => LookUpAsync(name, QueryAsync, cancellationToken);

    /// <summary>
    /// The addresses of a host of the installation, as <c>superserve-operator.superserve.svc</c>: by the search list, as libc would.
    /// It has no part in what is kept or counted for the sandbox, whose queries could crowd it out.
    /// </summary>
    /// <exception cref="ResolverException">There is none.</exception>
    public async Task<IPAddress[]> LookUpInClusterAsync(string host, CancellationToken cancellationToken)
    {
        if (HostName.TryParseAddress(host, out IPAddress? address)) return [address];
        if (!HostName.TryCanonicalize(host, out string? name)) throw new ResolverException(ResolverFailure.NoSuchName, $"'{host}' is not a host name.");
        ResolverSettings settings = file.Current;
        IEnumerable<string> candidates = host.EndsWith('.') ? [] : settings.Search.Select(suffix => $"{name}.{suffix}").Where(candidate => candidate.Length <= HostName.MaxLength);
        candidates = host.EndsWith('.') || name.Count(c => c == '.') >= settings.Dots ? candidates.Prepend(name) : candidates.Append(name);
        ResolverException? failure = null;
        foreach (string candidate in candidates)
        {
            try
            {
                return await LookUpAsync(candidate, AskAsync, cancellationToken);
            }
            catch (ResolverException exception) when (exception.Failure != ResolverFailure.Unanswered)
            {
                // Of several reasons the one that says most: a server's failure before a name that is not there.
                if (failure is null || exception.Failure is ResolverFailure.ServerFailed) failure = exception;
            }
        }

        throw failure!;
    }

    /// <summary>What is known of a query without asking.</summary>
    public bool TryGetKept(string name, DnsType type, out DnsAnswer answer)
    {
        lock (_lock)
        {
            bool isKept = _kept.TryGetValue((name, type), out Kept kept) && time.GetElapsedTime(kept.Since) < kept.For;
            answer = kept.Answer;
            return isKept;
        }
    }

    /// <summary>Answers a query, NXDOMAIN included. Who asks the same at once shares one query.</summary>
    /// <exception cref="ResolverException">No server answered it.</exception>
    public async Task<DnsAnswer> QueryAsync(string name, DnsType type, CancellationToken cancellationToken)
    {
        if (TryGetKept(name, type, out DnsAnswer kept)) return kept;
        Task<DnsAnswer> query;
        lock (_lock)
        {
            if (!_underWay.TryGetValue((name, type), out query!))
            {
                if (_underWay.Count >= MaxWaiting) throw new ResolverException(ResolverFailure.Busy, "Too many DNS queries are under way.");
                query = _underWay[(name, type)] = Task.Run(() => AskInTurnAsync(name, type), CancellationToken.None);
            }
        }

        return await query.WaitAsync(cancellationToken);
    }

    public void Dispose() => _turns.Dispose();

    private async Task<DnsAnswer> AskInTurnAsync(string name, DnsType type)
    {
        using CancellationTokenSource deadline = new(MaxDuration, time);
        try
        {
            await _turns.WaitAsync(deadline.Token);
            try
            {
                DnsAnswer answer = await AskAsync(name, type, deadline.Token);
                Keep(name, type, answer);
                return answer;
            }
            finally
            {
                _turns.Release();
            }
        }
        catch (OperationCanceledException)
        {
            throw Unanswered(name);
        }
        finally
        {
            lock (_lock) _underWay.Remove((name, type));
        }
    }

    private void Keep(string name, DnsType type, DnsAnswer answer)
    {
        if (answer.Code != DnsCode.NoError || answer.TimeToLive == 0 || answer.Authority is not null) return;
        TimeSpan wanted = TimeSpan.FromSeconds(answer.TimeToLive);
        lock (_lock)
        {
            if (_kept.Count >= MaxKept)
            {
                foreach (KeyValuePair<(string, DnsType), Kept> old in _kept)
                    if (time.GetElapsedTime(old.Value.Since) >= old.Value.For) _kept.Remove(old.Key);
                if (_kept.Count >= MaxKept) _kept.Clear();
            }

            _kept[(name, type)] = new Kept(answer, time.GetTimestamp(), wanted < MaxKeptFor ? wanted : MaxKeptFor);
        }
    }

    /// <summary>Asks one server after the other, and all of them again.</summary>
    private async Task<DnsAnswer> AskAsync(string name, DnsType type, CancellationToken cancellationToken)
    {
        ResolverSettings settings = file.Current;
        bool isAnswered = false;
        for (int attempt = 0; attempt < settings.Attempts; attempt++)
        {
            foreach (IPEndPoint server in settings.Servers)
            {
                using CancellationTokenSource timeout = new(settings.Timeout, time);
                using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, cancellationToken);
                try
                {
                    DnsAnswer? answer = await _exchange.AskAsync(server, name, type, either.Token);
                    if (answer is { Code: DnsCode.NoError or DnsCode.NXDomain }) return answer;
                    isAnswered = true;
                }
                catch (Exception exception) when (exception is SocketException or IOException || (exception is OperationCanceledException && !cancellationToken.IsCancellationRequested))
                {
                    // The next server, or this one again.
                }
            }
        }

        throw isAnswered ? new ResolverException(ResolverFailure.ServerFailed, $"The DNS servers could not answer for {name}.") : Unanswered(name);
    }

    private async Task<IPAddress[]> LookUpAsync(string name, Func<string, DnsType, CancellationToken, Task<DnsAnswer>> ask, CancellationToken cancellationToken)
    {
        if (LookUpRules.IsLoopback(name)) return [IPAddress.Loopback, IPAddress.IPv6Loopback];
        // What is left behind ends by itself, and is not waited for.
        using CancellationTokenSource ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        bool isIPv6First = HasIPv6();
        Task<DnsAnswer> first = ask(name, isIPv6First ? DnsType.AAAA : DnsType.A, ended.Token);
        Task<DnsAnswer> second = ask(name, isIPv6First ? DnsType.A : DnsType.AAAA, ended.Token);
        try
        {
            Task<DnsAnswer> early = await Task.WhenAny(first, second);
            Task<DnsAnswer> late = early == first ? second : first;
            if (HasAddress(early)) await Task.WhenAny(late, Task.Delay(early == first ? OtherFamilyDelay : FirstFamilyDelay, time, ended.Token));
            else await ((Task)late).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            cancellationToken.ThrowIfCancellationRequested();
            if (HasAddress(first) || HasAddress(second)) return Interleave(AddressesOf(first), AddressesOf(second));
        }
        finally
        {
            await ended.CancelAsync();
        }

        // Neither has an address, so both have ended.
        if (IsNoName(first) || IsNoName(second)) throw new ResolverException(ResolverFailure.NoSuchName, $"There is no name {name} (NXDOMAIN).");
        await first;
        await second;
        throw new ResolverException(ResolverFailure.NoAddress, $"The name {name} has no address.");
    }

    private static bool HasAddress(Task<DnsAnswer> query) => AddressesOf(query).Any();

    private static bool IsNoName(Task<DnsAnswer> query) => query is { IsCompletedSuccessfully: true, Result.Code: DnsCode.NXDomain };

    private static IEnumerable<IPAddress> AddressesOf(Task<DnsAnswer> query) => query is { IsCompletedSuccessfully: true, Result.Code: DnsCode.NoError } ? query.Result.Addresses : [];

    private static IPAddress[] Interleave(IEnumerable<IPAddress> first, IEnumerable<IPAddress> second)
    {
        List<IPAddress> addresses = [];
        using IEnumerator<IPAddress> one = first.GetEnumerator(), other = second.GetEnumerator();
        bool hasOne = true, hasOther = true;
        while (hasOne || hasOther)
        {
            if (hasOne && (hasOne = one.MoveNext())) addresses.Add(one.Current);
            if (hasOther && (hasOther = other.MoveNext())) addresses.Add(other.Current);
        }

        return [.. addresses.Take(MaxAddresses)];
    }

    /// <summary>Whether there is a way to the IPv6 internet. Connecting a datagram socket sends nothing: it looks for a route.</summary>
    private bool HasIPv6()
    {
        if (!Socket.OSSupportsIPv6) return false;
        try
        {
            using Socket socket = sockets.Create(AddressFamily.InterNetworkV6, SocketType.Dgram, ProtocolType.Udp);
            socket.Connect(new IPEndPoint(IPAddress.Parse("2000::1"), 53));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private static ResolverException Unanswered(string name) => new(ResolverFailure.Unanswered, $"No DNS server answered for {name} in time.");
}
