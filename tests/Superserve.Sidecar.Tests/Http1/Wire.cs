using System.Text;

namespace Superserve.Sidecar.Tests.Http1;

/// <summary>Bytes as they come over a wire: in pieces, and then the end.</summary>
internal sealed class PieceStream(IEnumerable<byte[]> pieces) : MemoryStream
{
    private readonly Queue<byte[]> _pieces = new(pieces.Where(piece => piece.Length > 0));

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (buffer.IsEmpty) throw new InvalidOperationException("Nothing was asked for, and nothing reads as the end.");
        if (!_pieces.TryPeek(out byte[]? piece)) return new(0);
        int length = Math.Min(piece.Length, buffer.Length);
        piece.AsSpan(0, length).CopyTo(buffer.Span);
        _pieces.Dequeue();
        if (length < piece.Length)
        {
            byte[][] rest = [piece[length..], .. _pieces];
            _pieces.Clear();
            foreach (byte[] next in rest) _pieces.Enqueue(next);
        }

        return new(length);
    }
}

/// <summary>Numbers that look random, and are the same in each run.</summary>
internal sealed class Dice(ulong seed)
{
    private ulong _state = seed;

    public int Next(int end) => Next(0, end);

    public int Next(int start, int end)
    {
        _state ^= _state << 13;
        _state ^= _state >> 7;
        _state ^= _state << 17;
        return start + (int)(_state % (ulong)(end - start));
    }

    public void NextBytes(byte[] bytes)
    {
        for (int i = 0; i < bytes.Length; i++) bytes[i] = (byte)Next(256);
    }
}

/// <summary>Bytes as text, and in pieces.</summary>
internal static class Wire
{
    public static byte[] Bytes(string latin1) => Encoding.Latin1.GetBytes(latin1);

    public static string Text(ReadOnlySpan<byte> bytes) => Encoding.Latin1.GetString(bytes);

    /// <summary>Cut at random places, now and then into single bytes.</summary>
    public static List<byte[]> Cut(this Dice dice, byte[] bytes) => dice.Cut(bytes, dice.Next(4) switch { 0 => 1, 1 => 7, 2 => 1000, _ => int.MaxValue });

    /// <summary>Cut at random places.</summary>
    public static List<byte[]> Cut(this Dice dice, byte[] bytes, int longest)
    {
        List<byte[]> pieces = [];
        for (int at = 0; at < bytes.Length;)
        {
            int length = dice.Next(1, Math.Min(longest, bytes.Length - at) + 1);
            pieces.Add(bytes[at..(at + length)]);
            at += length;
        }

        return pieces;
    }
}
