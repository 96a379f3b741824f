using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;

namespace Superserve.Kubernetes.Caching;

/// <summary>The lines of a watch. Only what ends in a line feed is a line: a connection may die anywhere.</summary>
internal static class WatchLines
{
    /// <summary>Far above what etcd stores of one object; a stream without line feeds ends here, not in the last free memory.</summary>
    private const int MaxLength = 16 * 1024 * 1024;

    /// <exception cref="EndOfStreamException">The stream ended in the middle of a line.</exception>
    public static async IAsyncEnumerable<ReadOnlySequence<byte>> ReadAsync(Stream stream, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        PipeReader reader = PipeReader.Create(stream);
        try
        {
            while (true)
            {
                ReadResult read = await reader.ReadAsync(cancellationToken);
                ReadOnlySequence<byte> rest = read.Buffer;
                while (rest.PositionOf((byte)'\n') is { } end)
                {
                    yield return rest.Slice(0, end);
                    rest = rest.Slice(rest.GetPosition(1, end));
                }

                if (rest.Length > MaxLength) throw new InvalidDataException($"A watch event is longer than {MaxLength} bytes.");
                if (read.IsCompleted && !rest.IsEmpty) throw new EndOfStreamException();
                if (read.IsCompleted) yield break;
                reader.AdvanceTo(rest.Start, rest.End);
            }
        }
        finally
        {
            await reader.CompleteAsync();
        }
    }
}
