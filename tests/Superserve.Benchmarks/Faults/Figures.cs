using System.Globalization;

namespace Superserve.Benchmarks.Faults;

/// <summary>Reads a page of metrics.</summary>
internal static class Figures
{
    private static readonly HttpClient Client = new(new SocketsHttpHandler { UseProxy = false });

    /// <summary>The sum of a metric's values, of those lines that have a label.</summary>
    public static async Task<long> SumAsync(int port, string name, string label = "")
    {
        string page = await Client.GetStringAsync(new Uri($"http://127.0.0.1:{port}/metrics"));
        return page.Split('\n')
            .Where(line => line.StartsWith(name, StringComparison.Ordinal) && line[name.Length..] is ['{' or ' ', ..] && line.Contains(label, StringComparison.Ordinal))
            // With a timestamp behind the value, or without.
            .Sum(line => (long)double.Parse(line[(line.LastIndexOf('}') is var end and >= 0 ? end + 1 : name.Length)..].Split(' ', StringSplitOptions.RemoveEmptyEntries)[0], CultureInfo.InvariantCulture));
    }

    /// <summary>Whether /readyz says yes.</summary>
    public static async Task<bool> IsReadyAsync(int port)
    {
        using HttpResponseMessage answer = await Client.GetAsync(new Uri($"http://127.0.0.1:{port}/readyz"));
        return answer.IsSuccessStatusCode;
    }
}
