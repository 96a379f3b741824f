using System.ComponentModel;
using System.Diagnostics;
using System.Text;

namespace Superserve.Sidecar.Capture;

/// <summary>Runs <c>nft</c>. It applies what it is given as one transaction: all or nothing.</summary>
internal static class NftProgram
{
    private const int MaxMessageLength = 4096;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    /// <summary>Where it is: on PATH, or where Debian and others have it.</summary>
    public static string? Find(string? path) =>
        (path ?? "").Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries).Append("/usr/sbin")
            .Select(folder => Path.Combine(folder, "nft")).FirstOrDefault(File.Exists);

    /// <summary>Gives it a script.</summary>
    /// <returns>Null, or what it said when it failed.</returns>
    public static async Task<string?> ApplyAsync(string program, string script)
    {
        ProcessStartInfo start = new(program, ["-f", "-"]) { UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment.Clear();
        // Its messages are looked into.
        start.Environment["LC_ALL"] = "C";
        using CancellationTokenSource timeout = new(Patience, TimeProvider.System);
        Process process;
        try
        {
            process = Process.Start(start)!;
        }
        catch (Win32Exception exception)
        {
            return $"{program} cannot be run: {exception.Message}";
        }

        using (process)
        {
            try
            {
                Task<string> output = ReadAsync(process.StandardOutput, timeout.Token);
                Task<string> errors = ReadAsync(process.StandardError, timeout.Token);
                await WriteAsync(process.StandardInput, script, timeout.Token);
                string message = $"{await errors}{await output}".Trim();
                await process.WaitForExitAsync(timeout.Token);
                if (process.ExitCode == 0) return null;
                return message.Length > 0 ? message : $"exit status {process.ExitCode}, without a message";
            }
            catch (OperationCanceledException)
            {
                return $"no end within {Patience.TotalSeconds} s";
            }
            finally
            {
                if (!process.HasExited) process.Kill(entireProcessTree: true);
            }
        }
    }

    private static async Task WriteAsync(StreamWriter input, string script, CancellationToken cancellationToken)
    {
        try
        {
            await input.WriteAsync(script.AsMemory(), cancellationToken);
            input.Close();
        }
        catch (IOException)
        {
            // It ended before it had read everything; it says why.
        }
    }

    /// <summary>Reads to the end, and keeps the beginning.</summary>
    private static async Task<string> ReadAsync(StreamReader reader, CancellationToken cancellationToken)
    {
        StringBuilder kept = new();
        char[] buffer = new char[MaxMessageLength];
        while (await reader.ReadAsync(buffer, cancellationToken) is var count and > 0)
            kept.Append(buffer, 0, Math.Min(count, MaxMessageLength - kept.Length));
        return kept.ToString();
    }
}
