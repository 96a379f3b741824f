using System.Text;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using Superserve.Protocol.Audit;
using Superserve.Sidecar.Events;

namespace Superserve.Sidecar.Tests.Audit;

/// <summary>A journal and a list say the same after whatever happens to them.</summary>
[Properties(MaxTest = 300, Arbitrary = [typeof(Scripts)])]
public sealed class JournalProperties
{
    private const int Capacity = 2 * Journal.ChunkLength;
    private const int Slots = 32;

    public enum Kind
    {
        Append,
        Begin,
        Complete,
        Acknowledge,
        Trim,
        Restart,
    }

    /// <summary>One thing that happens; the number is a length, or which one.</summary>
    public sealed record Step(Kind Kind, int Number);

    public sealed record Script(Step[] Steps);

    [Property]
    public void A_journal_keeps_what_a_list_would(Script script)
    {
        string directory = Directory.CreateTempSubdirectory("journal-").FullName;
        try
        {
            Run(script, Path.Combine(directory, "journal"));
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static void Run(Script script, string file)
    {
        // The oracle: records in order, with the number that each has in its boot, and requests under way by their slots.
        List<(int Boot, ulong Sequence, string Text)> records = [];
        SortedDictionary<int, string> underWay = [];
        (int boot, ulong sequence, int texts) = (0, 0, 0);
        int Used() => records.Sum(record => JournalTests.RecordHeaderLength + record.Text.Length);
        int Reserved() => underWay.Values.Sum(Room);
        bool Fits(int size) => Used() + Reserved() + size <= Capacity;
        void Add(string text) => records.Add((boot, ++sequence, text));

        Journal journal = Open(file);
        foreach (Step step in script.Steps)
        {
            string text = $"{texts++}:".PadRight(Math.Max(8, step.Number), 'x');
            switch (step.Kind)
            {
                case Kind.Append:
                    bool isExpected = text.Length <= Journal.MaxRecordLength && Fits(JournalTests.RecordHeaderLength + text.Length);
                    Assert.Equal(isExpected, journal.TryAppend(Encoding.ASCII.GetBytes(text)));
                    if (isExpected) Add(text);
                    break;
                case Kind.Begin:
                    int expected = text.Length <= Journal.MaxBegunLength && underWay.Count < Slots && Fits(Room(text))
                        ? Enumerable.Range(0, Slots).First(slot => !underWay.ContainsKey(slot))
                        : IEventSink.NoPlace;
                    Assert.Equal(expected, journal.Begin(Encoding.ASCII.GetBytes(text)));
                    if (expected >= 0) underWay[expected] = text;
                    break;
                case Kind.Complete when underWay.Count > 0:
                    (int occupied, string begun) = underWay.ElementAt(step.Number % underWay.Count);
                    string outcome = new('.', step.Number % Journal.MaxOutcomeLength);
                    journal.Complete(occupied, Encoding.ASCII.GetBytes(outcome));
                    underWay.Remove(occupied);
                    Add(begun + outcome);
                    break;
                case Kind.Acknowledge when records.Count > 0:
                    JournalBatch batch = journal.Peek(1 + (step.Number % 50), Journal.MaxRecordLength);
                    Assert.InRange(batch.Count, 1, records.Count);
                    Assert.Equal(records[..batch.Count].Select(record => record.Text), JournalTests.Read(batch));
                    Assert.All(records[..batch.Count], (record, i) => Assert.Equal((records[0].Boot, batch.FirstSequence + (ulong)i), (record.Boot, record.Sequence)));
                    int stored = 1 + (step.Number % batch.Count);
                    Assert.True(journal.Acknowledge(batch, batch.FirstSequence + (ulong)stored - 1));
                    records.RemoveRange(0, stored);
                    break;
                case Kind.Trim:
                    journal.Trim();
                    break;
                case Kind.Restart:
                    journal.Dispose();
                    journal = Open(file);
                    Assert.Null(journal.Problem);
                    (boot, sequence) = (boot + 1, 0);
                    foreach (string interrupted in underWay.Values) Add(interrupted + "!");
                    underWay.Clear();
                    break;
                default:
                    break;
            }

            Assert.Equal(Used(), journal.State.Used);
        }

        Assert.Equal(records.Select(record => record.Text), JournalTests.Drain(journal));
        journal.Dispose();
    }

    private static int Room(string begun) => JournalTests.RecordHeaderLength + begun.Length + Journal.MaxOutcomeLength;

    private static Journal Open(string file) => new(Log.Requests, file, Capacity, Slots, "!"u8, TimeProvider.System);

    public static class Scripts
    {
        /// <summary>Often full: records are long, and many.</summary>
        public static Arbitrary<Script> Script()
        {
            Gen<Step> step = Gen.Frequency(
                (8, Of(Kind.Append, 9000)), (6, Of(Kind.Begin, 2100)), (5, Of(Kind.Complete, 5000)), (3, Of(Kind.Acknowledge, 500)), (1, Of(Kind.Trim, 1)), (1, Of(Kind.Restart, 1)));
            return Gen.Choose(0, 150).SelectMany(count => step.ArrayOf(count)).Select(steps => new Script(steps)).ToArbitrary();
        }

        private static Gen<Step> Of(Kind kind, int most) => Gen.Choose(0, most).Select(number => new Step(kind, number));
    }
}
