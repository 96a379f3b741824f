using System.IO.MemoryMappedFiles;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;
using Superserve.Protocol.Audit;

namespace Superserve.Sidecar.Events;

/// <summary>
/// The events of one log that the audit service has not acknowledged, in a mapped file of the state directory, which is in memory: what
/// is copied into the mapping outlives the process, however it ends, and takes no system call.
/// <code>
///   header │ ring of records:  … head ▓▓▓▓▓▓ tail …  │ slots: the begun events of requests under way
/// </code>
/// <para>
/// <b>One row for each request.</b> <see cref="Begin"/> writes the begun event into a slot before the request is forwarded.
/// <see cref="Complete"/>, under the lock, (1) writes the record, which has the slot's ticket, behind the tail; (2) moves the tail; (3)
/// frees the slot. A kill ahead of 2 leaves the slot alone: the next process makes an event of it, <c>interrupted</c>. Between 2 and 3
/// it leaves both: the next process finds the ticket among the records and drops the slot. After 3 it leaves the record. The record is
/// still there to be found, since <see cref="Peek"/> takes the lock too, so that nothing is sent, and in the end removed, whose slot
/// is not free. An interrupted event takes the same three steps, before anything is sent. After a kill between the service's storing and
/// <see cref="Acknowledge"/> the same records go out under the same boot and numbers, which the service has already.
/// </para>
/// <para>
/// <b>Memory.</b> Chunks of the file get their pages before they are written (a page that a full file system cannot give would kill the
/// process at the write) and give them back once they hold nothing. A slot's record has its room and pages from the beginning.
/// </para>
/// </summary>
internal sealed unsafe partial class Journal : IDisposable
{
    /// <summary>No record is longer.</summary>
    public const int MaxRecordLength = 16 * 1024;

    /// <summary>No begun event is longer.</summary>
    public const int MaxBegunLength = SlotLength - SlotHeaderLength;

    /// <summary>What <see cref="Complete"/> may add to a begun event.</summary>
    public const int MaxOutcomeLength = 96;

    public const int ChunkLength = 64 * 1024;

    private const int SlotLength = 2 * 1024;
    private const int SlotsPerChunk = ChunkLength / SlotLength;
    private const int SlotHeaderLength = 16;
    private const int HeaderLength = ChunkLength;

    /// <summary>Another layout gets another number.</summary>
    private const ulong Magic = 0x31_30_4c_4e_52_4a_53_53;

    private static readonly TimeSpan BetweenAttempts = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();
    private readonly FileStream _file;
    private readonly TimeProvider _time;
    private readonly Header* _header;
    private readonly byte* _ring;
    private readonly byte* _slots;
    private readonly ulong _capacity;
    private readonly int _slotCount;
    private readonly ulong[] _freeSlots;
    private readonly bool[] _slotChunks;
    private readonly (BootId Boot, ulong Overflowed) _earlier;

    /// <summary>Up to this position the ring has its pages; a multiple of the chunk's length.</summary>
    private ulong _allocated;

    /// <summary>Room that is kept for the records of occupied slots.</summary>
    private ulong _reserved;

    private ulong _sequence;
    private ulong _ticket;
    private long? _foundFullAt;
    private bool _isClosed;
    private TaskCompletionSource? _filled;

    /// <summary>Opens the file, or makes it; what an earlier process left in it comes first.</summary>
    /// <param name="log">The log.</param>
    /// <param name="path">The file.</param>
    /// <param name="capacity">The ring's length, whole chunks.</param>
    /// <param name="slots">How many requests may be under way, whole chunks of slots.</param>
    /// <param name="interrupted">What to add to the begun event of a request that the earlier process did not end.</param>
    /// <param name="time">The clock.</param>
    /// <exception cref="IOException">There is no such directory, or no room.</exception>
    public Journal(Log log, string path, int capacity, int slots, ReadOnlySpan<byte> interrupted, TimeProvider time)
    {
        (Log, _capacity, _slotCount, _time) = (log, (ulong)capacity, slots, time);
        _freeSlots = new ulong[(slots + 63) / 64];
        for (int slot = 0; slot < slots; slot++) SetFree(slot);
        _slotChunks = new bool[slots / SlotsPerChunk];
        _file = new FileStream(path, new FileStreamOptions
        {
            Mode = FileMode.OpenOrCreate,
            Access = FileAccess.ReadWrite,
            Share = FileShare.None,
            BufferSize = 0,
            UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        });
        bool isUsable = IsUsable();
        if (!isUsable)
        {
            if (_file.Length > 0) Problem = "it is of another version, or was damaged, and what was in it is lost";
            _file.SetLength(0);
        }

        long length = HeaderLength + (long)capacity + ((long)slots * SlotLength);
        _file.SetLength(length);
        if (!TryAllocate(0, sizeof(Header))) throw new IOException($"{path} gets no room: make some in the state directory.");
        using MemoryMappedFile mapping = MemoryMappedFile.CreateFromFile(_file, null, length, MemoryMappedFileAccess.ReadWrite, HandleInheritability.None, leaveOpen: true);
        MemoryMappedViewAccessor view = mapping.CreateViewAccessor(0, length, MemoryMappedFileAccess.ReadWrite);
        byte* start = null;
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        _header = (Header*)start;
        _ring = start + HeaderLength;
        _slots = _ring + capacity;
        if (isUsable) _earlier = (_header->Boot, _header->Overflowed);
        else *_header = new Header { Capacity = _capacity, Slots = (ulong)slots };
        RandomNumberGenerator.Fill(MemoryMarshal.AsBytes(new Span<BootId>(ref _header->Boot)));
        _header->Overflowed = 0;
        Volatile.Write(ref _header->Magic, Magic);
        Recover(interrupted);
    }

    /// <summary>Which log's events these are.</summary>
    public Log Log { get; }

    /// <summary>What was lost of an earlier process's events, and why; null for nothing.</summary>
    public string? Problem { get; private set; }

    /// <summary>How many requests the earlier process did not end.</summary>
    public int Interrupted { get; private set; }

    /// <summary>This process's numbering.</summary>
    public BootId Boot => _header->Boot;

    /// <summary>How many events this process has recorded, and how many found no room.</summary>
    public (ulong Recorded, ulong Overflowed) Counts
    {
        get
        {
            lock (_lock) return (_sequence, _header->Overflowed);
        }
    }

    /// <summary>Bytes of the ring that are taken, and since when the oldest record is in it.</summary>
    public (long Used, DateTimeOffset? Since) State
    {
        get
        {
            lock (_lock) return ((long)Used, Used == 0 ? null : new DateTimeOffset(ReadHeader(_header->Head).Time, TimeSpan.Zero));
        }
    }

    private ulong Used => _header->Tail - _header->Head;

    /// <summary>Adds a record; false where there is no room, which is counted.</summary>
    /// <param name="payload">The record.</param>
    /// <param name="kept">How much of the ring it may not take.</param>
    public bool TryAppend(ReadOnlySpan<byte> payload, int kept = 0)
    {
        uint checksum = Checksum(0, payload);
        TaskCompletionSource? filled;
        lock (_lock)
        {
            if (payload.Length > MaxRecordLength || !TryMakeRoom(payload.Length + sizeof(RecordHeader), kept))
            {
                _header->Overflowed++;
                return false;
            }

            filled = Append(checksum, 0, payload, default);
        }

        filled?.TrySetResult();
        return true;
    }

    /// <summary>Keeps a begun event; the slot it is in, or <see cref="IEventSink.NoPlace"/> where there is none or no room for its record.</summary>
    public int Begin(ReadOnlySpan<byte> begun)
    {
        if (begun.Length > MaxBegunLength) return IEventSink.NoPlace;
        uint checksum = Checksum(0, begun);
        lock (_lock)
        {
            int slot = LowestFree();
            if (slot < 0 || !TryAllocateSlot(slot) || !TryMakeRoom(RoomFor(begun.Length), 0)) return IEventSink.NoPlace;
            _reserved += (ulong)RoomFor(begun.Length);
            SetOccupied(slot);
            SlotHeader* at = SlotAt(slot);
            (at->Length, at->Checksum) = (begun.Length, checksum);
            begun.CopyTo(new Span<byte>(at + 1, begun.Length));
            Volatile.Write(ref at->Ticket, ++_ticket);
            return slot;
        }
    }

    /// <summary>Makes a record of a begun event and what is added to it, and frees the slot.</summary>
    public void Complete(int slot, ReadOnlySpan<byte> outcome)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(outcome.Length, MaxOutcomeLength);
        TaskCompletionSource? filled;
        lock (_lock)
        {
            if (_isClosed) return;
            SlotHeader* at = SlotAt(slot);
            ReadOnlySpan<byte> begun = new(at + 1, at->Length);
            filled = Append(Checksum(at->Checksum, outcome), at->Ticket, begun, outcome);
            Volatile.Write(ref at->Ticket, 0);
            SetFree(slot);
            _reserved -= (ulong)RoomFor(begun.Length);
        }

        filled?.TrySetResult();
    }

    /// <summary>Completes once there is something to send.</summary>
    public Task WhenFilled()
    {
        lock (_lock) return Used > 0 ? Task.CompletedTask : (_filled ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
    }

    /// <summary>The oldest records, of one boot, the same each time until they are acknowledged; there has to be one. For the one who sends.</summary>
    public JournalBatch Peek(int maxRecords, int maxLength)
    {
        ulong tail;
        lock (_lock) tail = _header->Tail;
        ulong position = _header->Head;
        RecordHeader first = ReadHeader(position);
        (int count, int length) = (0, 0);
        while (position < tail && count < maxRecords && ReadHeader(position) is var record && record.Boot == first.Boot && (count == 0 || length + record.Length <= maxLength))
        {
            position += SizeOf(record);
            length += record.Length;
            count++;
        }

        ulong overflowed = first.Boot == Boot ? Counts.Overflowed : first.Boot == _earlier.Boot ? _earlier.Overflowed : 0;
        return new JournalBatch(this, first.Boot, first.Sequence, count, _header->Head, overflowed);
    }

    /// <summary>Calls with each record of a batch, which is in two parts where the ring ends in it.</summary>
    public void Visit(JournalBatch batch, RecordVisitor visitor)
    {
        ulong position = batch.Position;
        for (int i = 0; i < batch.Count; i++)
        {
            RecordHeader record = ReadHeader(position);
            Locate(position + (ulong)sizeof(RecordHeader), record.Length, out Span<byte> first, out Span<byte> second);
            visitor(first, second);
            position += SizeOf(record);
        }
    }

    /// <summary>Removes the records of a batch up to a number; false where that is none.</summary>
    public bool Acknowledge(JournalBatch batch, ulong sequence)
    {
        ulong position = batch.Position;
        for (int i = 0; i < batch.Count && ReadHeader(position) is var record && record.Sequence <= sequence; i++) position += SizeOf(record);
        lock (_lock)
        {
            if (_isClosed || position == batch.Position) return position != batch.Position;
            ulong from = _header->Head / ChunkLength;
            Volatile.Write(ref _header->Head, position);
            // A chunk that the tail has come to again, or is to, keeps its pages.
            for (ulong chunk = from; chunk < position / ChunkLength; chunk++)
                if (_allocated <= (chunk * ChunkLength) + _capacity) GiveBack(HeaderLength + (long)(chunk * ChunkLength % _capacity));
            if (Used == 0) GiveBackSlots(1);
            return true;
        }
    }

    /// <summary>Gives back all pages that hold nothing; for when it is quiet.</summary>
    public void Trim()
    {
        lock (_lock)
        {
            if (_isClosed) return;
            GiveBackSlots(0);
            if (Used + _reserved > 0) return;
            ulong first = _header->Tail / ChunkLength * ChunkLength;
            for (; _allocated > first; _allocated -= ChunkLength) GiveBack(HeaderLength + (long)((_allocated - ChunkLength) % _capacity));
        }
    }

    /// <summary>From now on nothing is taken. The mapping stays until nobody holds this any more: a late event must not hit unmapped memory.</summary>
    public void Dispose()
    {
        lock (_lock) _isClosed = true;
        _file.Dispose();
    }

    // ---- an earlier process -------------------------------------------------------------------------------------------------

    private bool IsUsable()
    {
        Header header = default;
        if (RandomAccess.Read(_file.SafeFileHandle, MemoryMarshal.AsBytes(new Span<Header>(ref header)), 0) < sizeof(Header)) return false;
        return header.Magic == Magic && header.Capacity == _capacity && header.Slots == (ulong)_slotCount && header.Head <= header.Tail && header.Tail - header.Head <= _capacity;
    }

    private void Recover(ReadOnlySpan<byte> interrupted)
    {
        HashSet<ulong> tickets = [];
        ulong position = _header->Head;
        // By hand: the checksums of what a killed process left are right, and anything else may be wrong in any way.
        while (position < _header->Tail && IsWhole(position, out RecordHeader record))
        {
            if (record.Ticket != 0) tickets.Add(record.Ticket);
            _ticket = Math.Max(_ticket, record.Ticket);
            position += SizeOf(record);
        }

        if (position != _header->Tail) Problem = "it was damaged, and what follows the damage is lost";
        _header->Tail = position;
        ulong firstChunk = _header->Head / ChunkLength, chunks = _capacity / ChunkLength;
        _allocated = position / ChunkLength * ChunkLength;
        ulong taken = Used == 0 ? 0 : ((position - 1) / ChunkLength) - firstChunk + 1;
        for (ulong chunk = firstChunk + taken; chunk < firstChunk + chunks; chunk++) GiveBack(HeaderLength + (long)(chunk % chunks * ChunkLength));

        List<int> occupied = [];
        for (int slot = 0; slot < _slotCount; slot++)
        {
            if (!TryReadSlot(slot, tickets, out SlotHeader header)) continue;
            SetOccupied(slot);
            _slotChunks[slot / SlotsPerChunk] = true;
            _ticket = Math.Max(_ticket, header.Ticket);
            _reserved += (ulong)RoomFor(header.Length);
            occupied.Add(slot);
        }

        for (int chunk = 0; chunk < _slotChunks.Length; chunk++)
            if (!_slotChunks[chunk]) GiveBack(HeaderLength + (long)_capacity + ((long)chunk * ChunkLength));
        // The pages were there when they were taken; only damage can have cost them.
        if (!TryMakeRoom(0, 0)) Problem = "there is no room for the requests that were under way";
        else foreach (int slot in occupied) Complete(slot, interrupted);
        Interrupted = occupied.Count;
    }

    private bool IsWhole(ulong position, out RecordHeader record)
    {
        record = default;
        ulong left = _header->Tail - position;
        if (left < (ulong)sizeof(RecordHeader)) return false;
        record = ReadHeader(position);
        if (record.Length is < 0 or > MaxRecordLength + MaxOutcomeLength || SizeOf(record) > left) return false;
        Locate(position + (ulong)sizeof(RecordHeader), record.Length, out Span<byte> first, out Span<byte> second);
        return record.Checksum == Seal(Checksum(Checksum(0, first), second), record);
    }

    /// <summary>Reads an occupied slot: by the file, since a mapping would give pages to slots that have none.</summary>
    private bool TryReadSlot(int slot, HashSet<ulong> tickets, out SlotHeader header)
    {
        Span<byte> bytes = stackalloc byte[SlotLength];
        int length = RandomAccess.Read(_file.SafeFileHandle, bytes, HeaderLength + (long)_capacity + ((long)slot * SlotLength));
        header = MemoryMarshal.Read<SlotHeader>(bytes);
        if (length != SlotLength || header.Ticket == 0) return false;
        if (tickets.Contains(header.Ticket))
        {
            // Step 3, which the process before did not come to: once the record is sent, nothing would tell that the slot is done with.
            Volatile.Write(ref SlotAt(slot)->Ticket, 0);
            return false;
        }

        return header.Length is >= 0 and <= MaxBegunLength && header.Checksum == Checksum(0, bytes.Slice(SlotHeaderLength, header.Length));
    }

    // ---- the ring -----------------------------------------------------------------------------------------------------------

    private static int RoomFor(int begun) => sizeof(RecordHeader) + begun + MaxOutcomeLength;

    private static ulong SizeOf(in RecordHeader record) => (ulong)(sizeof(RecordHeader) + record.Length);

    private bool TryMakeRoom(int size, int kept)
    {
        if (_isClosed || Used + _reserved + (ulong)size + (ulong)kept > _capacity) return false;
        for (ulong end = _header->Tail + _reserved + (ulong)size; _allocated < end; _allocated += ChunkLength)
            if (!TryAllocate(HeaderLength + (long)(_allocated % _capacity), ChunkLength)) return false;
        return true;
    }

    private TaskCompletionSource? Append(uint checksum, ulong ticket, ReadOnlySpan<byte> begun, ReadOnlySpan<byte> outcome)
    {
        RecordHeader record = new() { Length = begun.Length + outcome.Length, Sequence = ++_sequence, Ticket = ticket, Time = _time.GetUtcNow().UtcTicks, Boot = _header->Boot };
        record.Checksum = Seal(checksum, record);
        ulong tail = _header->Tail;
        Write(ref tail, MemoryMarshal.AsBytes(new ReadOnlySpan<RecordHeader>(in record)));
        Write(ref tail, begun);
        Write(ref tail, outcome);
        Volatile.Write(ref _header->Tail, tail);
        TaskCompletionSource? filled = _filled;
        _filled = null;
        return filled;
    }

    private void Write(ref ulong position, ReadOnlySpan<byte> bytes)
    {
        Locate(position, bytes.Length, out Span<byte> first, out Span<byte> second);
        bytes[..first.Length].CopyTo(first);
        bytes[first.Length..].CopyTo(second);
        position += (ulong)bytes.Length;
    }

    private RecordHeader ReadHeader(ulong position)
    {
        RecordHeader record = default;
        Span<byte> bytes = MemoryMarshal.AsBytes(new Span<RecordHeader>(ref record));
        Locate(position, bytes.Length, out Span<byte> first, out Span<byte> second);
        first.CopyTo(bytes);
        second.CopyTo(bytes[first.Length..]);
        return record;
    }

    private void Locate(ulong position, int length, out Span<byte> first, out Span<byte> second)
    {
        int at = (int)(position % _capacity);
        int firstLength = Math.Min(length, (int)_capacity - at);
        first = new Span<byte>(_ring + at, firstLength);
        second = new Span<byte>(_ring, length - firstLength);
    }

    private static uint Seal(uint checksum, in RecordHeader record)
    {
        checksum = BitOperations.Crc32C(~checksum, (uint)record.Length);
        ReadOnlySpan<ulong> rest = MemoryMarshal.Cast<RecordHeader, ulong>(new ReadOnlySpan<RecordHeader>(in record))[1..];
        foreach (ulong part in rest) checksum = BitOperations.Crc32C(checksum, part);
        return checksum;
    }

    private static uint Checksum(uint checksum, ReadOnlySpan<byte> bytes)
    {
        for (; bytes.Length >= sizeof(ulong); bytes = bytes[sizeof(ulong)..]) checksum = BitOperations.Crc32C(checksum, MemoryMarshal.Read<ulong>(bytes));
        foreach (byte part in bytes) checksum = BitOperations.Crc32C(checksum, part);
        return checksum;
    }

    // ---- slots, the lowest first, so that few pages are in use -----------------------------------------------------------------

    private SlotHeader* SlotAt(int slot) => (SlotHeader*)(_slots + ((nint)slot * SlotLength));

    private int LowestFree()
    {
        for (int word = 0; word < _freeSlots.Length; word++)
            if (_freeSlots[word] != 0) return (word * 64) + BitOperations.TrailingZeroCount(_freeSlots[word]);
        return -1;
    }

    private void SetFree(int slot) => _freeSlots[slot / 64] |= 1UL << (slot % 64);

    private void SetOccupied(int slot) => _freeSlots[slot / 64] &= ~(1UL << (slot % 64));

    private bool TryAllocateSlot(int slot)
    {
        int chunk = slot / SlotsPerChunk;
        return _slotChunks[chunk] || (!_isClosed && (_slotChunks[chunk] = TryAllocate(HeaderLength + (long)_capacity + ((long)chunk * ChunkLength), ChunkLength)));
    }

    private void GiveBackSlots(int firstChunk)
    {
        for (int chunk = firstChunk; chunk < _slotChunks.Length; chunk++)
        {
            uint free = (uint)(_freeSlots[chunk * SlotsPerChunk / 64] >> (chunk * SlotsPerChunk % 64));
            if (!_slotChunks[chunk] || free != uint.MaxValue) continue;
            GiveBack(HeaderLength + (long)_capacity + ((long)chunk * ChunkLength));
            _slotChunks[chunk] = false;
        }
    }

    // ---- pages ----------------------------------------------------------------------------------------------------------------

    private bool TryAllocate(long offset, int length)
    {
        // To find that a file system is full takes it as long as many requests.
        if (_foundFullAt is { } at && _time.GetElapsedTime(at) < BetweenAttempts) return false;
        int error;
        // On a file system in memory a signal ends it, and the runtime sends signals to collect garbage.
        do error = posix_fallocate(_file.SafeFileHandle, offset, length);
        while (error == Interrupt);
        _foundFullAt = error == 0 ? null : _time.GetTimestamp();
        return error == 0;
    }

    /// <summary>Where the file system cannot, the pages stay.</summary>
    private void GiveBack(long offset) => _ = fallocate(_file.SafeFileHandle, PunchHole | KeepSize, offset, ChunkLength);

    private const int Interrupt = 4;
    private const int KeepSize = 1;
    private const int PunchHole = 2;

    [LibraryImport("libc")]
    private static partial int posix_fallocate(SafeFileHandle file, long offset, long length);

    [LibraryImport("libc")]
    private static partial int fallocate(SafeFileHandle file, int mode, long offset, long length);

    private struct Header
    {
        public ulong Magic;
        public ulong Capacity;
        public ulong Slots;
        public ulong Overflowed;
        public BootId Boot;
        public ulong Head;
        public ulong Tail;
    }

    private struct RecordHeader
    {
        public int Length;
        public uint Checksum;
        public ulong Sequence;
        public ulong Ticket;
        public long Time;
        public BootId Boot;
    }

    private struct SlotHeader
    {
        public ulong Ticket;
        public int Length;
        public uint Checksum;
    }
}

/// <summary>A process's numbering of its events: 16 random bytes.</summary>
internal readonly record struct BootId(ulong First, ulong Second);

/// <summary>Is given one record in one or two parts.</summary>
internal delegate void RecordVisitor(ReadOnlySpan<byte> first, ReadOnlySpan<byte> second);

/// <summary>Some records of one boot, in a row.</summary>
/// <param name="Journal">They are in it until they are acknowledged.</param>
/// <param name="Boot">Whose numbers they have.</param>
/// <param name="FirstSequence">The number of the first one.</param>
/// <param name="Count">How many.</param>
/// <param name="Position">Where the first one is.</param>
/// <param name="Overflowed">How many events of that boot had no room.</param>
internal sealed record JournalBatch(Journal Journal, BootId Boot, ulong FirstSequence, int Count, ulong Position, ulong Overflowed);
