using System.Security.Cryptography;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Operator.Configuration;
using Superserve.Operator.Delivery;

namespace Superserve.Operator.Certificates;

/// <summary>
/// The key that stand-ins are derived with. It never changes while any replica runs: with another key the stand-ins in the
/// environments of running sandboxes mean nothing.
/// </summary>
public sealed class StandInKey : KeptSecret<byte[]>, IStandInKey
{
    /// <summary>The Secret's name, in the operator's namespace.</summary>
    public const string SecretName = "superserve-stand-in-key";

    /// <summary>The Secret's one entry.</summary>
    public const string Entry = "key";

    private const int Length = 32;

    /// <summary>Reads and writes nothing before it is started.</summary>
    public StandInKey(KubernetesConnection connection, OperatorOptions options, KubernetesMetrics metrics, TimeProvider time, ILoggerFactory loggers)
        : base(SecretName, connection, options, metrics, time, loggers)
    {
    }

    /// <summary>Whether there is a key to derive with.</summary>
    public bool IsReady => Value is not null;

    /// <summary>The 32 bytes.</summary>
    /// <exception cref="InvalidOperationException">There is none yet; the message is <see cref="KeptSecret{T}.Problem"/>.</exception>
    public ReadOnlySpan<byte> Bytes => Value ?? throw new InvalidOperationException(Problem);

    private protected override bool IsImmutable => true;

    private protected override string Loss =>
        "With a new key every stand-in that a running sandbox holds is worth nothing, and all sandboxes have to be started again.";

    private protected override byte[] Make(DateTimeOffset now) => RandomNumberGenerator.GetBytes(Length);

    private protected override byte[] Read(IDictionary<string, byte[]> data, DateTimeOffset now)
    {
        if (!data.TryGetValue(Entry, out byte[]? key) || key is null) throw new UnusableSecretException($"it has no entry {Entry}");
        return key.Length == Length ? key : throw new UnusableSecretException($"its entry {Entry} has {key.Length} bytes instead of {Length}");
    }

    private protected override void Write(byte[] value, IDictionary<string, byte[]> data) => data[Entry] = value;

    private protected override bool Accepts(byte[] known, byte[] found, out string? problem)
    {
        bool isSame = CryptographicOperations.FixedTimeEquals(known, found);
        problem = isSame ? null
            : $"The Secret {SecretName} holds another key than this operator runs with, and a replica that starts now takes that one. "
            + "Delete the Secret, and the operator writes its own key again; or restart all replicas at once to take the new key. " + Loss;
        return isSame;
    }

    private protected override TimeSpan? Use(byte[] value, DateTimeOffset now) => null;
}
