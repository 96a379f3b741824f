using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Time.Testing;
using Superserve.Protocol.Audit;
using Superserve.Sidecar.Events;

namespace Superserve.Sidecar.Tests.Audit;

/// <summary>What a journal keeps, and what it makes of a file that an earlier process left.</summary>
public sealed class JournalTests : IDisposable
{
    private const int Capacity = 2 * Journal.ChunkLength;
    private const int Slots = 64;

    internal const int RecordHeaderLength = 48;

    private readonly string _directory = Directory.CreateTempSubdirectory("journal-").FullName;
    private readonly FakeTimeProvider _time = new();

    private string File => Path.Combine(_directory, "requests.journal");

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private Journal Open(int capacity = Capacity, int slots = Slots) => new(Log.Requests, File, capacity, slots, "!"u8, _time);

    internal static string[] Read(JournalBatch batch)
    {
        List<string> records = [];
        batch.Journal.Visit(batch, (first, second) => records.Add(Encoding.ASCII.GetString(first) + Encoding.ASCII.GetString(second)));
        return [.. records];
    }

    /// <summary>All records, a boot after the other, each acknowledged.</summary>
    internal static string[] Drain(Journal journal)
    {
        List<string> records = [];
        while (journal.WhenFilled().IsCompleted)
        {
            JournalBatch batch = journal.Peek(7, int.MaxValue);
            records.AddRange(Read(batch));
            Assert.True(journal.Acknowledge(batch, batch.FirstSequence + (ulong)batch.Count - 1));
        }

        return [.. records];
    }

    private static byte[] Bytes(string text) => Encoding.ASCII.GetBytes(text);

    [Fact]
    public void Records_stay_the_same_until_they_are_acknowledged()
    {
        using Journal journal = Open();
        Assert.False(journal.WhenFilled().IsCompleted);
        foreach (string text in (string[])["one", "two", "three"]) Assert.True(journal.TryAppend(Bytes(text)));
        Assert.True(journal.WhenFilled().IsCompleted);
        JournalBatch batch = journal.Peek(2, int.MaxValue);
        Assert.Equal((1UL, 2), (batch.FirstSequence, batch.Count));
        Assert.Equal(["one", "two"], Read(batch));
        Assert.Equal(["one", "two"], Read(journal.Peek(2, int.MaxValue)));
        Assert.False(journal.Acknowledge(batch, 0));
        Assert.True(journal.Acknowledge(batch, 1));
        JournalBatch rest = journal.Peek(9, int.MaxValue);
        Assert.Equal((2UL, 2), (rest.FirstSequence, rest.Count));
        Assert.Equal(["two", "three"], Drain(journal));
    }

    [Fact]
    public void A_batch_is_bounded_by_its_length_too_and_has_one_record_at_least()
    {
        using Journal journal = Open();
        foreach (string text in (string[])["aaaa", "bbbb", "cccc"]) journal.TryAppend(Bytes(text));
        Assert.Equal(2, journal.Peek(9, 8).Count);
        Assert.Equal(1, journal.Peek(9, 1).Count);
    }

    [Fact]
    public void What_an_earlier_process_left_comes_first_under_its_own_boot_and_numbers()
    {
        BootId first;
        using (Journal journal = Open())
        {
            first = journal.Boot;
            journal.TryAppend(Bytes("gone"));
            journal.Acknowledge(journal.Peek(1, 99), 1);
            journal.TryAppend(Bytes("left"));
        }

        using Journal next = Open();
        Assert.NotEqual(first, next.Boot);
        Assert.Null(next.Problem);
        next.TryAppend(Bytes("new"));
        JournalBatch batch = next.Peek(9, 99);
        Assert.Equal((first, 2UL, 1), (batch.Boot, batch.FirstSequence, batch.Count));
        next.Acknowledge(batch, 2);
        batch = next.Peek(9, 99);
        Assert.Equal((next.Boot, 1UL, 1), (batch.Boot, batch.FirstSequence, batch.Count));
    }

    [Fact]
    public void What_a_boot_had_no_room_for_is_told_with_its_records()
    {
        using (Journal journal = Open())
        {
            journal.TryAppend(Bytes("left"));
            Assert.False(journal.TryAppend(new byte[Journal.MaxRecordLength + 1]));
            Assert.Equal(1UL, journal.Peek(9, 99).Overflowed);
        }

        using Journal next = Open();
        next.TryAppend(Bytes("new"));
        Assert.Equal(1UL, next.Peek(9, 99).Overflowed);
        next.Acknowledge(next.Peek(9, 99), 1);
        Assert.Equal(0UL, next.Peek(9, 99).Overflowed);
    }

    [Fact]
    public void A_request_that_began_and_ended_is_one_record()
    {
        using Journal journal = Open();
        int slot = journal.Begin("begun"u8);
        Assert.False(journal.WhenFilled().IsCompleted);
        journal.Complete(slot, " ended"u8);
        Assert.Equal(["begun ended"], Drain(journal));
    }

    [Fact]
    public void A_request_that_did_not_end_is_interrupted_once()
    {
        using (Journal journal = Open())
        {
            journal.Begin("a"u8);
            journal.Complete(journal.Begin("b"u8), " ended"u8);
            journal.Begin("c"u8);
        }

        using (Journal next = Open()) Assert.Equal(2, next.Interrupted);
        using Journal last = Open();
        Assert.Equal(0, last.Interrupted);
        Assert.Equal(["b ended", "a!", "c!"], Drain(last));
    }

    /// <summary>The two files are what the process's death between the last two steps of an end leaves.</summary>
    [Fact]
    public void A_slot_whose_record_is_there_is_dropped()
    {
        byte[] begun;
        using (Journal journal = Open())
        {
            int slot = journal.Begin("request"u8);
            begun = ReadAll();
            journal.Complete(slot, " ended"u8);
        }

        byte[] ended = ReadAll();
        begun.AsSpan(Journal.ChunkLength + Capacity).CopyTo(ended.AsSpan(Journal.ChunkLength + Capacity));
        System.IO.File.WriteAllBytes(File, ended);
        using (Journal next = Open()) Assert.Equal(0, next.Interrupted);
        using Journal last = Open();
        Assert.Equal(["request ended"], Drain(last));
    }

    [Fact]
    public void A_slot_whose_record_is_there_stays_dropped_when_that_was_sent()
    {
        byte[] begun;
        using (Journal journal = Open())
        {
            // One more that is under way keeps the pages of both.
            journal.Begin("other"u8);
            int slot = journal.Begin("request"u8);
            begun = ReadAll();
            journal.Complete(slot, " ended"u8);
        }

        byte[] ended = ReadAll();
        begun.AsSpan(Journal.ChunkLength + Capacity).CopyTo(ended.AsSpan(Journal.ChunkLength + Capacity));
        System.IO.File.WriteAllBytes(File, ended);
        using (Journal next = Open()) Assert.Equal(["request ended", "other!"], Drain(next));
        using Journal last = Open();
        Assert.Empty(Drain(last));
    }

    /// <summary>Each moment of an end at which the process may die is one of the file's states.</summary>
    [Fact]
    public void A_tail_that_has_not_moved_leaves_the_slot_alone()
    {
        byte[] begun;
        using (Journal journal = Open())
        {
            int slot = journal.Begin("request"u8);
            begun = ReadAll();
            journal.Complete(slot, " ended"u8);
        }

        // The record is written, in whole or in part; header and slots are as before.
        byte[] ended = ReadAll();
        for (int written = 0; written < 80; written++)
        {
            byte[] dying = [.. begun];
            ended.AsSpan(Journal.ChunkLength, written).CopyTo(dying.AsSpan(Journal.ChunkLength));
            System.IO.File.WriteAllBytes(File, dying);
            using Journal next = Open();
            Assert.Equal(["request!"], Drain(next));
        }
    }

    [Fact]
    public void A_file_that_is_cut_anywhere_in_its_last_record_gives_the_ones_before()
    {
        int end;
        using (Journal journal = Open())
        {
            journal.TryAppend(Bytes("first"));
            journal.TryAppend(Bytes("second"));
            end = Journal.ChunkLength + (int)journal.State.Used;
        }

        byte[] whole = ReadAll();
        int start = end - RecordLength("second");
        Assert.Equal("second", Encoding.ASCII.GetString(whole, end - 6, 6));
        for (int cut = start; cut < end; cut++)
        {
            System.IO.File.WriteAllBytes(File, whole[..cut]);
            using Journal next = Open();
            Assert.NotNull(next.Problem);
            next.TryAppend(Bytes("third"));
            Assert.Equal(["first", "third"], Drain(next));
        }

        System.IO.File.WriteAllBytes(File, whole[..end]);
        using Journal uncut = Open();
        Assert.Null(uncut.Problem);
        Assert.Equal(["first", "second"], Drain(uncut));
    }

    [Fact]
    public void A_flipped_bit_anywhere_in_a_record_ends_what_can_be_read()
    {
        int end;
        using (Journal journal = Open())
        {
            journal.TryAppend(Bytes("first"));
            end = Journal.ChunkLength + (int)journal.State.Used;
        }

        byte[] whole = ReadAll();
        for (int bit = Journal.ChunkLength * 8; bit < end * 8; bit++)
        {
            byte[] damaged = [.. whole];
            damaged[bit / 8] ^= (byte)(1 << (bit % 8));
            System.IO.File.WriteAllBytes(File, damaged);
            using Journal next = Open();
            Assert.NotNull(next.Problem);
            Assert.Empty(Drain(next));
        }
    }

    public static TheoryData<string> Garbage => ["empty", "short", "text", "zeros", "random", "other version", "head beyond tail", "wild tail", "wild slots"];

    [Theory]
    [MemberData(nameof(Garbage))]
    public void Garbage_in_the_file_keeps_nothing_from_working(string kind)
    {
        using (Journal journal = Open()) journal.TryAppend(Bytes("record"));
        byte[] whole = ReadAll();
        byte[] random = new byte[whole.Length];
        RandomNumberGenerator.Fill(random);
        switch (kind)
        {
            case "empty": whole = []; break;
            case "short": whole = whole[..9]; break;
            case "text": whole = Bytes(string.Concat(Enumerable.Repeat("not a journal\n", 10_000))); break;
            case "zeros": whole = new byte[whole.Length]; break;
            case "random": whole = random; break;
            case "other version": whole[7]++; break;
            case "head beyond tail": whole[48] = 0xff; break;
            case "wild tail": whole.AsSpan(56, 8).Fill(0xff); break;
            default: random.AsSpan(Journal.ChunkLength + Capacity).CopyTo(whole.AsSpan(Journal.ChunkLength + Capacity)); break;
        }

        System.IO.File.WriteAllBytes(File, whole);
        using Journal next = Open();
        if (kind is not ("wild slots" or "empty")) Assert.NotNull(next.Problem);
        Drain(next);
        next.TryAppend("after"u8);
        next.Complete(next.Begin("begun"u8), "."u8);
        Assert.Equal(["after", "begun."], Drain(next));
    }

    [Fact]
    public void A_journal_of_another_size_is_begun_anew()
    {
        using (Journal journal = Open()) journal.TryAppend(Bytes("record"));
        using Journal next = Open(capacity: 2 * Capacity);
        Assert.NotNull(next.Problem);
        Assert.Empty(Drain(next));
    }

    [Fact]
    public void What_is_under_way_can_be_recorded_whatever_else_comes()
    {
        using Journal journal = Open();
        List<int> slots = [];
        for (int i = 0; i < 10; i++) slots.Add(journal.Begin(new byte[1000]));
        int appended = 0;
        while (journal.TryAppend(new byte[1000])) appended++;
        Assert.InRange(appended, 100, 125);
        Assert.Equal(IEventSink.NoPlace, journal.Begin(new byte[1000]));
        foreach (int slot in slots) journal.Complete(slot, new byte[Journal.MaxOutcomeLength]);
        Assert.Equal((ulong)(appended + 10), journal.Counts.Recorded);
        Assert.Equal(1UL, journal.Counts.Overflowed);
        Assert.True(journal.State.Used <= Capacity);
        // Once there is room again, all goes on.
        Assert.Equal(appended + 10, Drain(journal).Length);
        Assert.NotEqual(IEventSink.NoPlace, journal.Begin(new byte[1000]));
    }

    [Fact]
    public void A_full_journal_survives_with_its_requests_under_way()
    {
        int appended = 0;
        using (Journal journal = Open())
        {
            for (int i = 0; i < Slots; i++) Assert.Equal(i, journal.Begin(Bytes($"{i:00}")));
            while (journal.TryAppend("x"u8)) appended++;
        }

        using Journal next = Open();
        Assert.Null(next.Problem);
        Assert.Equal(Slots, next.Interrupted);
        string[] records = Drain(next);
        Assert.Equal(appended + Slots, records.Length);
        Assert.Equal(Enumerable.Range(0, Slots).Select(i => $"{i:00}!"), records[appended..]);
    }

    [Fact]
    public void There_are_so_many_slots_and_the_lowest_is_taken_first()
    {
        using Journal journal = Open();
        for (int i = 0; i < Slots; i++) Assert.Equal(i, journal.Begin("x"u8));
        Assert.Equal(IEventSink.NoPlace, journal.Begin("x"u8));
        journal.Complete(40, default);
        journal.Complete(3, default);
        Assert.Equal(3, journal.Begin("x"u8));
        Assert.Equal(40, journal.Begin("x"u8));
        Assert.Equal(IEventSink.NoPlace, journal.Begin(new byte[Journal.MaxBegunLength + 1]));
    }

    [Fact]
    public void Some_room_can_be_left_to_others()
    {
        using Journal journal = Open();
        while (journal.TryAppend(new byte[100], Capacity / 2))
        {
        }

        Assert.InRange(journal.State.Used, (Capacity / 2) - 200, Capacity / 2);
        Assert.True(journal.TryAppend(new byte[100]));
    }

    [Fact]
    public void Pages_are_taken_as_they_are_needed_and_given_back()
    {
        const int Large = 64 * Journal.ChunkLength;
        using Journal journal = Open(Large, 1024);
        long atFirst = Allocated();
        Assert.InRange(atFirst, 0, Journal.ChunkLength);
        for (int round = 0; round < 3; round++)
        {
            List<int> slots = [];
            for (int i = 0; i < 500; i++) slots.Add(journal.Begin(new byte[200]));
            foreach (int slot in slots) journal.Complete(slot, default);
            while (journal.TryAppend(new byte[1000]))
            {
            }

            Assert.InRange(Allocated(), Large, Large + (20 * Journal.ChunkLength));
            Drain(journal);
            Assert.InRange(Allocated(), 0, 4 * Journal.ChunkLength);
        }

        journal.Trim();
        // A file system on a disk may need a block for itself.
        Assert.InRange(Allocated(), 0, atFirst + 8192);
        journal.Complete(journal.Begin("begun"u8), "."u8);
        Assert.Equal(["begun."], Drain(journal));
    }

    [Fact]
    public void The_age_is_the_oldest_records()
    {
        using Journal journal = Open();
        Assert.Null(journal.State.Since);
        DateTimeOffset start = _time.GetUtcNow();
        journal.TryAppend("x"u8);
        _time.Advance(TimeSpan.FromMinutes(1));
        journal.TryAppend("y"u8);
        Assert.Equal(start, journal.State.Since);
        journal.Acknowledge(journal.Peek(1, 99), 1);
        Assert.Equal(_time.GetUtcNow(), journal.State.Since);
    }

    [Fact]
    public void A_closed_journal_takes_nothing()
    {
        Journal journal = Open();
        int slot = journal.Begin("begun"u8);
        journal.Dispose();
        Assert.False(journal.TryAppend("x"u8));
        Assert.Equal(IEventSink.NoPlace, journal.Begin("x"u8));
        journal.Complete(slot, default);
        using Journal next = Open();
        Assert.Equal(["begun!"], Drain(next));
    }

    [Fact]
    public async Task Many_threads_lose_nothing_and_nothing_comes_twice()
    {
        const int Threads = 8, Each = 5000;
        using Journal journal = Open(64 * Journal.ChunkLength);
        List<string> sent = [];
        Task[] writers = [.. Enumerable.Range(0, Threads).Select(thread => Task.Run(() =>
        {
            for (int i = 0; i < Each; i++)
            {
                if (i % 2 == 0) Assert.True(journal.TryAppend(Bytes($"{thread}-{i}")));
                else journal.Complete(journal.Begin(Bytes($"{thread}-{i}")), default);
            }
        }))];
        Task all = Task.WhenAll(writers);
        while (!all.IsCompleted || journal.State.Used > 0)
        {
            await Task.WhenAny(journal.WhenFilled(), all);
            sent.AddRange(Drain(journal));
        }

        await all;
        Assert.Equal(Threads * Each, sent.Count);
        Assert.Equal(Threads * Each, sent.Distinct().Count());
    }

    private static int RecordLength(string payload) => RecordHeaderLength + payload.Length;

    private byte[] ReadAll()
    {
        // By a program that does not heed the lock of the journal that has it open.
        string copy = File + ".copy";
        Run("cp", File, copy);
        return System.IO.File.ReadAllBytes(copy);
    }

    /// <summary>Bytes of the file that have pages: blocks of 512, as stat(2) counts.</summary>
    private long Allocated()
    {
        return long.Parse(Run("stat", "-c", "%b", File), CultureInfo.InvariantCulture) * 512;
    }

    private static string Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
        return output;
    }
}
