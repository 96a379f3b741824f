using System.Diagnostics;
using Superserve.Testing;

namespace Superserve.Benchmarks.Faults;

/// <summary>The wall clock of single processes, which can be moved while they run: a library of a few lines that the C compiler makes.</summary>
internal sealed class MovableClock(string directory)
{
    private string Library => Path.Combine(directory, "clock.so");

    private string Moved => Path.Combine(directory, "clock");

    public async Task MakeAsync()
    {
        MoveTo(TimeSpan.Zero);
        using Process compiler = Process.Start("gcc", ["-shared", "-fPIC", "-O1", "-o", Library, Repository.PathTo("tests/Superserve.Benchmarks/Faults/clock.c")]);
        await compiler.WaitForExitAsync();
        if (compiler.ExitCode != 0) throw new InvalidOperationException("gcc does not compile clock.c.");
    }

    /// <summary>So that a process to be started has this clock.</summary>
    public void Give(ProcessStartInfo start)
    {
        start.Environment["LD_PRELOAD"] = Library;
        start.Environment["FAULT_CLOCK"] = Moved;
    }

    /// <summary>How far it is from the machine's, from now on.</summary>
    public void MoveTo(TimeSpan distance)
    {
        // In place: the file is mapped.
        using FileStream file = new(Moved, FileMode.OpenOrCreate, FileAccess.Write, FileShare.ReadWrite);
        file.Write(BitConverter.GetBytes(distance.Ticks * TimeSpan.NanosecondsPerTick));
    }
}
