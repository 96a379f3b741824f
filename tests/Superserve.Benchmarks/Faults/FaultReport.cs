namespace Superserve.Benchmarks.Faults;

/// <summary>All faults, one after the other, as a table.</summary>
internal static class FaultReport
{
    /// <summary>Runs them, or those whose methods' names begin so; whether the log bore them all.</summary>
    public static async Task<bool> RunAsync(TimeSpan away, string[] which)
    {
        await using FaultRun run = await FaultRun.StartAsync(away);
        List<string> notes = [];
        bool isGood = true;
        Console.WriteLine(FaultFigures.Head);
        foreach (Func<Task<FaultFigures>> fault in run.All.Where(fault => which.Length == 0 || which.Any(word => fault.Method.Name.StartsWith(word, StringComparison.Ordinal))))
        {
            FaultFigures figures = await fault();
            Console.WriteLine(figures);
            if (figures.Note.Length > 0) notes.Add(figures.Note);
            if (figures.Problem is { } problem) notes.Add($"{figures.Fault}: {problem}");
            isGood &= figures.Problem is null;
        }

        Console.WriteLine();
        foreach (string note in notes) Console.WriteLine(note);
        Console.WriteLine(isGood ? "Every request that the service saw is in the log once." : "The log is not as it should be.");
        return isGood;
    }
}
