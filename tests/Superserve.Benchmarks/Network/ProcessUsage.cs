using System.Globalization;
using Superserve.Testing.Network;

namespace Superserve.Benchmarks.Network;

/// <summary>What a program and its children use, as the kernel counts it.</summary>
internal static class ProcessUsage
{
    /// <summary>The processor time so far; the kernel's work for packets counts for whoever happens to run.</summary>
    public static TimeSpan Cpu(RunningProgram? program) => Tree(program).Aggregate(TimeSpan.Zero, (sum, id) =>
    {
        // Behind the name, which ends with the last parenthesis: utime and stime are fields 14 and 15, in hundredths of a second.
        string[] fields = File.ReadAllText($"/proc/{id}/stat").Split(") ")[^1].Split(' ');
        return sum + TimeSpan.FromMilliseconds(10 * (long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture)));
    });

    /// <summary>The resident memory in bytes, the parts of files that are mapped included.</summary>
    public static long Memory(RunningProgram? program) => Sum(program, "VmRSS:");

    /// <summary>The part of it that no file holds, and that the kernel cannot take back.</summary>
    public static long PrivateMemory(RunningProgram? program) => Sum(program, "RssAnon:");

    private static long Sum(RunningProgram? program, string field) => Tree(program).Sum(id => 1024 * long.Parse(
        File.ReadLines($"/proc/{id}/status").First(line => line.StartsWith(field, StringComparison.Ordinal)).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture));

    private static IEnumerable<int> Tree(RunningProgram? program)
    {
        if (program is null) return [];
        string children = File.ReadAllText($"/proc/{program.Id}/task/{program.Id}/children");
        return [program.Id, .. children.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(id => int.Parse(id, CultureInfo.InvariantCulture))];
    }
}
