namespace Superserve.Testing;

/// <summary>The Helm chart, rendered by the real helm.</summary>
public static class Chart
{
    /// <summary>The manifests of a release with these values, each <c>path=value</c>, one text per object.</summary>
    public static async Task<IReadOnlyList<string>> RenderAsync(string release, string inNamespace, params string[] values)
    {
        string[] arguments = ["template", release, Repository.PathTo("charts/superserve"), "-n", inNamespace, .. values.SelectMany(value => (string[])["--set", value])];
        Outcome outcome = await Tool.Helm.RunAsync("", new Dictionary<string, string>(), arguments);
        Assert.True(outcome.Status == 0, $"helm {string.Join(' ', arguments)}: {outcome}");
        return [.. outcome.Output.Split("\n---\n").Select(text => text.TrimStart('-', '\n')).Where(text => text.Contains("kind:", StringComparison.Ordinal))];
    }

    /// <summary>Whether a manifest is of a kind.</summary>
    public static bool IsKind(string manifest, params string[] kinds) => kinds.Any(kind => manifest.Split('\n').Contains($"kind: {kind}"));
}
