using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Superserve.Benchmarks;
using Superserve.Benchmarks.Audit;
using Superserve.Benchmarks.Faults;
using Superserve.Benchmarks.Http;
using Superserve.Benchmarks.Network;
using Superserve.Benchmarks.Soak;
using Superserve.Testing;

// usage: Superserve.Benchmarks [--streams 10000 | --network | --http [what …] | --audit [rows]]: the most simulated sidecars, or the section
// about connections, requests or the audit service alone. With an option the page is not written. What --http takes: HttpBench.
//        Superserve.Benchmarks --soak 60 [30]: traffic for so many minutes, so much a second, and whether the sidecar bears it (status 0).
//        Superserve.Benchmarks --faults [120 [Flood …]]: parts of the audit log fail, for so many seconds each; status 0 where every request is in it once.
if (args is ["--soak", { } minutes, .. string[] rate])
    return await new SoakRun(int.Parse(minutes, CultureInfo.InvariantCulture), rate is [{ } each] ? int.Parse(each, CultureInfo.InvariantCulture) : SoakRun.PerSecond).RunAsync() ? 0 : 1;

if (args is ["--faults", .. string[] faults])
    return await FaultReport.RunAsync(TimeSpan.FromSeconds(faults is [{ } away, ..] ? int.Parse(away, CultureInfo.InvariantCulture) : 120), faults.Length > 1 ? faults[1..] : []) ? 0 : 1;

int most = args is ["--streams", { } number] ? int.Parse(number, CultureInfo.InvariantCulture) : 10_000;
StringBuilder report = new();
string requests = "", connections = "", audit = "";
if (args is [] or ["--http", ..])
{
    await using (HttpBench bench = new(Say, args is [_, .. string[] words] ? words : [])) await bench.RunAsync();
    requests = Take();
}

if (args is [] or ["--network"])
{
    await NetworkBench.RunAsync(Say);
    connections = Take();
}

if (args is [] or ["--audit", ..])
{
    await AuditBench.RunAsync(args is [_, { } rows] ? long.Parse(rows, CultureInfo.InvariantCulture) : AuditBench.Rows, Say);
    audit = Take();
}

if (args is ["--http", ..] or ["--network"] or ["--audit", ..])
{
    Console.WriteLine(requests.Length > 0 ? await FillAsync("Http/section.md", requests) : audit.Length > 0 ? await FillAsync("Audit/section.md", audit) : await FillAsync("Network/section.md", connections));
    return 0;
}

await using BenchCluster cluster = new();
await cluster.StartAsync();
Say($"| figure | p50 | p99 | most |");
Say("|---|---|---|---|");

Row("admission of a pod at 50 a second, 20 s, milliseconds", await AdmissionBench.RunAsync(cluster, "/mutate/pods", 50, TimeSpan.FromSeconds(20)));

List<string> usage = [];
await using (RealSidecar real = await RealSidecar.StartAsync(cluster))
await using (Fleet fleet = new(cluster))
{
    string credential = "the-first-credential";
    int rotation = 0;
    foreach (int count in (most < 10_000 ? (int[])[most] : [1, 100, 1_000, most]))
    {
        if (count > most || count <= fleet.Count) continue;
        long connecting = Stopwatch.GetTimestamp();
        int before = fleet.Count;
        await fleet.GrowAsync(count, credential);
        TimeSpan connected = Stopwatch.GetElapsedTime(connecting);
        // The pods' conditions are written at a bounded rate.
        await Task.Delay(TimeSpan.FromSeconds(5 + ((count - before) / 45.0)), TimeProvider.System);
        (_, TimeSpan cpuBefore) = cluster.Usage();
        TimeSpan idle = TimeSpan.FromSeconds(20);
        await Task.Delay(idle, TimeProvider.System);
        (long rss, TimeSpan cpu) = cluster.Usage();
        usage.Add($"| {count} | {rss / 1e6:0} | {(cpu - cpuBefore) / idle * 100:0.0} | {connected.TotalSeconds:0.0} for {count - before} |");

        (List<double> rotated, List<double> requested) = ([], []);
        // One measurement of few sandboxes says little.
        for (int round = 0; round < (count <= 1_000 ? 50 : 3); round++)
        {
            credential = $"credential-{++rotation}";
            (double milliseconds, long sent) = await real.RotateAsync(credential, () => cluster.RotateAsync(credential));
            requested.Add(milliseconds);
            rotated.AddRange(await fleet.ArrivalsAsync(credential, sent));
        }

        Row($"rotation to the snapshot, {count} sandboxes, milliseconds", [.. rotated.Order()]);
        Row($"rotation to the next request, {count} sandboxes, milliseconds", [.. requested.Order()]);
    }

    (double untilRefused, long revoked) = await real.RevokeAsync(cluster.RevokeAsync);
    Row($"revocation to the snapshot, {fleet.Count} sandboxes, milliseconds", await fleet.ArrivalsAsync("revoked", revoked));
    Row($"revocation to the next request, {fleet.Count} sandboxes, milliseconds", [untilRefused]);
}

Say("");
Say("| connected sandboxes | operator's memory, MB | processor while nothing changes, % of one core | to admit and connect, s |");
Say("|---|---|---|---|");
foreach (string line in usage) Say(line);
if (args.Length == 0) await File.WriteAllTextAsync(Repository.PathTo("docs/benchmarks.md"), string.Join('\n', await FillAsync("head.md", Take()), await FillAsync("Http/section.md", requests), await FillAsync("Network/section.md", connections), await FillAsync("Soak/section.md", ""), await FillAsync("Audit/section.md", audit)));
return 0;

void Say(string line)
{
    Console.WriteLine(line);
    report.AppendLine(line);
}

string Take()
{
    string taken = report.ToString();
    report.Clear();
    return taken;
}

void Row(string what, double[] sorted) =>
    Say(string.Create(CultureInfo.InvariantCulture, $"| {what} | {sorted[sorted.Length / 2]:0.0} | {sorted[(int)(sorted.Length * 0.99)]:0.0} | {sorted[^1]:0.0} |"));

async Task<string> FillAsync(string template, string figures) =>
    (await File.ReadAllTextAsync(Repository.PathTo($"tests/Superserve.Benchmarks/{template}")))
    .Replace("{{machine}}", Machine(), StringComparison.Ordinal)
    .Replace("{{command}}", args.Length == 0 ? "make bench" : $"dotnet run --project tests/Superserve.Benchmarks -c Release -- {string.Join(' ', args)}", StringComparison.Ordinal)
    .Replace("{{figures}}", figures.TrimEnd(), StringComparison.Ordinal);

static string Machine() =>
    $"{Environment.ProcessorCount} cores, {GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 1e9:0} GB, Linux {Environment.OSVersion.Version}, {RuntimeInformation.FrameworkDescription}, {RuntimeInformation.OSArchitecture}";
