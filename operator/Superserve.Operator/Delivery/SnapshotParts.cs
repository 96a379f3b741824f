using System.Security.Cryptography;
using System.Text;
using Google.Protobuf;
using Superserve.Protocol;

namespace Superserve.Operator.Delivery;

/// <summary>What a snapshot was made of, as digests: to compare the next one with, no credential has to be kept.</summary>
internal sealed class SnapshotParts
{
    private readonly byte[] _frame;
    private readonly (byte[] StandIn, byte[] Whole)[] _secrets;

    public SnapshotParts(Snapshot message)
    {
        Snapshot frame = message.Clone();
        frame.Secrets.Clear();
        _frame = SHA256.HashData(frame.ToByteArray());
        _secrets = [.. message.Secrets.Select(secret => (DigestOf(secret.StandIn), SHA256.HashData(secret.ToByteArray())))];
    }

    /// <summary>Whether it is the same, but for the secrets of some stand-ins.</summary>
    public bool IsLike(SnapshotParts other, IReadOnlyCollection<string> except)
    {
        byte[][] left = [.. except.Select(DigestOf)];
        return _frame.AsSpan().SequenceEqual(other._frame) && Rest(this).SequenceEqual(Rest(other), ByContent);

        IEnumerable<byte[]> Rest(SnapshotParts parts) => parts._secrets.Where(secret => !left.Contains(secret.StandIn, ByContent)).Select(secret => secret.Whole);
    }

    private static readonly IEqualityComparer<byte[]> ByContent = EqualityComparer<byte[]>.Create((one, other) => one.AsSpan().SequenceEqual(other), bytes => BitConverter.ToInt32(bytes));

    private static byte[] DigestOf(string standIn) => SHA256.HashData(Encoding.UTF8.GetBytes(standIn));
}
