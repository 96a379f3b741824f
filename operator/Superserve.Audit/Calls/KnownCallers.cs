using System.Security.Cryptography;
using System.Text;
using Grpc.Core;

namespace Superserve.Audit.Calls;

/// <summary>
/// Remembers for a short time what was said of a token, by its hash: a sidecar calls every few seconds. Calls that come together with one
/// token ask once. A refusal is remembered too, for a shorter time, and nothing that says no more than that nobody could be asked.
/// </summary>
internal sealed class KnownCallers(ICallerReviewer reviewer, TimeProvider time)
{
    /// <summary>A pod that was deleted may go on for so long.</summary>
    public static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(1);

    /// <summary>What is refused is asked about again after this.</summary>
    public static readonly TimeSpan RefusalLifetime = TimeSpan.FromSeconds(5);

    /// <summary>Tokens that are remembered.</summary>
    public const int Most = 50_000;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    private readonly Lock _lock = new();
    private readonly Dictionary<string, Known> _known = [];

    /// <summary>Whose the token is.</summary>
    /// <exception cref="CallerRefusedException">Nobody's that may call.</exception>
    public async Task<Caller> OfAsync(string token, CancellationToken cancellationToken)
    {
        string hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(token)));
        Task<Caller> answer;
        lock (_lock)
        {
            if (!_known.TryGetValue(hash, out Known? known) || known.Until <= time.GetTimestamp())
            {
                MakeRoom();
                known = new Known(AskAsync(hash, token)) { Until = After(Patience) };
                // With no room left each call asks for itself.
                if (_known.Count < Most) _known[hash] = known;
            }

            answer = known.Answer;
        }

        Caller caller = await answer.WaitAsync(cancellationToken);
        // By the wall clock, as whoever issued it meant it.
        return caller.Until > time.GetUtcNow() ? caller
            : throw new CallerRefusedException("token_expired", StatusCode.Unauthenticated, "the token has expired. Read the projected token file again");
    }

    private async Task<Caller> AskAsync(string hash, string token)
    {
        // Whoever waits may leave; the answer serves the others.
        await Task.Yield();
        using CancellationTokenSource deadline = new(Patience, time);
        try
        {
            Caller caller = await reviewer.ReviewAsync(token, deadline.Token);
            Remember(hash, After(Lifetime));
            return caller;
        }
        catch (CallerRefusedException refused) when (refused.Status != StatusCode.Unavailable)
        {
            Remember(hash, After(RefusalLifetime));
            throw;
        }
        catch (Exception exception)
        {
            Remember(hash, 0);
            throw exception as CallerRefusedException
                ?? new CallerRefusedException("reviewer_away", StatusCode.Unavailable, "nobody could be asked about the token in time. Try again, later each time");
        }
    }

    private void Remember(string hash, long until)
    {
        lock (_lock)
        {
            if (_known.TryGetValue(hash, out Known? known)) known.Until = until;
        }
    }

    private void MakeRoom()
    {
        if (_known.Count < Most) return;
        long now = time.GetTimestamp();
        foreach ((string hash, Known known) in _known)
            if (known.Until <= now) _known.Remove(hash);
    }

    private long After(TimeSpan span) => time.GetTimestamp() + (long)(span.TotalSeconds * time.TimestampFrequency);

    private sealed class Known(Task<Caller> answer)
    {
        public Task<Caller> Answer => answer;

        public long Until { get; set; }
    }
}
