using Superserve.Kubernetes;
using Superserve.Operator.Resources;

namespace Superserve.Operator.Secrets;

/// <summary>How a Superserve Secret was used so far, as the audit log knows.</summary>
/// <param name="LastUsedAt">When a request last carried the credential; null for never.</param>
/// <param name="Used">Requests that carried it.</param>
/// <param name="Refused">Requests that were refused, or failed.</param>
public sealed record UseSoFar(DateTimeOffset? LastUsedAt, long Used, long Refused);

/// <summary>
/// What status shows of use. A busy secret is used all the time: what was heard is shown once per <see cref="Pace"/>, so that status is
/// not written with every request.
/// </summary>
/// <param name="isThere">Whether there is a Superserve Secret of that name.</param>
/// <param name="time">The clock.</param>
public sealed class SecretUses(Func<ObjectKey, bool> isThere, TimeProvider time)
{
    /// <summary>Between two changes of what one secret's status shows.</summary>
    public static readonly TimeSpan Pace = TimeSpan.FromMinutes(1);

    private readonly Lock _gate = new();
    private readonly Dictionary<ObjectKey, UseSoFar> _heard = [];
    private readonly Dictionary<ObjectKey, (UseSoFar Use, DateTimeOffset At)> _shown = [];

    /// <summary>Raised when status shows something else of a secret. Handlers are quick and do not throw.</summary>
    public event Action<ObjectKey>? Changed;

    /// <summary>What status shows of a secret; null where nothing is known.</summary>
    public UseSoFar? Of(ObjectKey secret)
    {
        lock (_gate) return _shown.TryGetValue(secret, out (UseSoFar Use, DateTimeOffset At) shown) ? shown.Use : null;
    }

    /// <summary>What was heard; of secrets that are there, so that this stays as small as they are few.</summary>
    public void Tell(IEnumerable<(ObjectKey Secret, UseSoFar Use)> heard)
    {
        lock (_gate)
        {
            foreach ((ObjectKey secret, UseSoFar use) in heard)
                if (isThere(secret)) _heard[secret] = use with { LastUsedAt = use.LastUsedAt is { } at ? Conditions.Seconds(at) : null };
        }
    }

    /// <summary>Shows what is due.</summary>
    public void Publish()
    {
        List<ObjectKey> changed = [];
        lock (_gate)
        {
            DateTimeOffset now = time.GetUtcNow();
            foreach (ObjectKey gone in _heard.Keys.Concat(_shown.Keys).Where(secret => !isThere(secret)).ToList())
            {
                _heard.Remove(gone);
                _shown.Remove(gone);
            }

            foreach ((ObjectKey secret, UseSoFar use) in _heard.ToList())
            {
                if (_shown.TryGetValue(secret, out (UseSoFar Use, DateTimeOffset At) shown) && now - shown.At < Pace && now >= shown.At) continue;
                _heard.Remove(secret);
                if (shown.Use == use) continue;
                _shown[secret] = (use, now);
                changed.Add(secret);
            }
        }

        foreach (ObjectKey secret in changed) Changed?.Invoke(secret);
    }
}
