using System.Runtime.InteropServices;

namespace Superserve.Sidecar.Configuration;

/// <summary>
/// Tells whether a file is still the one that was read: inode, size, and the times of its last write and change. A file that
/// is not there has a stamp too.
/// </summary>
internal readonly partial record struct FileStamp(ulong Inode, ulong Size, long Modified, long Changed, ushort Mode)
{
    private const int KindMask = 0xF000;
    private const int Regular = 0x8000;
    private const int Pipe = 0x1000;

    private const int AtCurrentDirectory = -100;
    private const uint BasicStats = 0x7ff;

    /// <summary>Follows symbolic links, as Kubernetes uses for mounted Secrets.</summary>
    public static unsafe FileStamp Of(string path)
    {
        Statx buffer;
        return statx(AtCurrentDirectory, path, 0, BasicStats, &buffer) != 0
            ? default
            : new FileStamp(buffer.Inode, buffer.Size, Nanoseconds(buffer.Modified), Nanoseconds(buffer.Changed), buffer.Mode);
    }

    /// <summary>The stamp of a file that could not be read: none is equal to it, so that it is read again.</summary>
    public static FileStamp Unread { get; } = new(ulong.MaxValue, 0, 0, 0, 0);

    /// <summary>Whether it is a named pipe, whose opening waits for the other end.</summary>
    public bool IsPipe => (Mode & KindMask) == Pipe;

    /// <summary>Whether something is there that is no regular file: a directory, or a pipe or device, whose reading may never end.</summary>
    public bool IsSpecial => this != default && (Mode & KindMask) != Regular;

    private static long Nanoseconds(StatxTime time) => unchecked((time.Seconds * 1_000_000_000) + time.Nanoseconds);

    // struct statx of statx(2): its layout is the same on every architecture.
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct Statx
    {
        [FieldOffset(28)] public ushort Mode;
        [FieldOffset(32)] public ulong Inode;
        [FieldOffset(40)] public ulong Size;
        [FieldOffset(96)] public StatxTime Changed;
        [FieldOffset(112)] public StatxTime Modified;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct StatxTime
    {
        public long Seconds;
        public uint Nanoseconds;
        public int Reserved;
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static unsafe partial int statx(int directory, string path, int flags, uint mask, Statx* buffer);
}
