using System.Text.Json.Nodes;

namespace Superserve.ApiServer.Tests;

/// <summary>A watch read line by line.</summary>
internal sealed class OpenWatch : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly HttpClient _http;
    private readonly HttpResponseMessage _answer;
    private readonly StreamReader _lines;

    private OpenWatch(HttpClient http, HttpResponseMessage answer, StreamReader lines)
    {
        _http = http;
        _answer = answer;
        _lines = lines;
    }

    public static async Task<OpenWatch> StartAsync(EmbeddedApiServer server, string path)
    {
        HttpClient http = server.Client().CreateHttpClient();
        HttpResponseMessage answer = await http.GetAsync(new Uri(path, UriKind.Relative), HttpCompletionOption.ResponseHeadersRead);
        answer.EnsureSuccessStatusCode();
        return new OpenWatch(http, answer, new StreamReader(await answer.Content.ReadAsStreamAsync()));
    }

    /// <summary>The next event; null where the watch has ended.</summary>
    public async Task<JsonNode?> NextNodeAsync()
    {
        using CancellationTokenSource timeout = new(Patience, TimeProvider.System);
        string? line = await _lines.ReadLineAsync(timeout.Token);
        return line is null ? null : JsonNode.Parse(line);
    }

    /// <summary>The next event as "TYPE name".</summary>
    public async Task<string> NextAsync(bool skipBookmarks = false)
    {
        JsonNode? next = await NextNodeAsync();
        while (skipBookmarks && (string?)next?["type"] == "BOOKMARK") next = await NextNodeAsync();
        return $"{next?["type"]} {next?["object"]?["metadata"]?["name"]}";
    }

    public ValueTask DisposeAsync()
    {
        _lines.Dispose();
        _answer.Dispose();
        _http.Dispose();
        return ValueTask.CompletedTask;
    }
}
