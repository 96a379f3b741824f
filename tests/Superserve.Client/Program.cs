// .NET's own HttpClient. usage: Superserve.Client 1|2
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;

using HttpClient client = new()
{
    BaseAddress = new Uri("https://api.example.com"),
    DefaultRequestVersion = args[0] == "2" ? HttpVersion.Version20 : HttpVersion.Version11,
    DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
};
client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", Environment.GetEnvironmentVariable("API_TOKEN"));

Console.WriteLine(await client.GetStringAsync("/hello"));

byte[] body = RandomNumberGenerator.GetBytes(3 << 20);
using HttpResponseMessage echoed = await client.PostAsync("/echo", new StreamContent(new Unseekable(body)));
byte[] back = await echoed.Content.ReadAsByteArrayAsync();
Console.WriteLine($"{back.Length} {(back.AsSpan().SequenceEqual(body) ? "same" : "other")}");

using StreamReader events = new(await client.GetStreamAsync("/events"));
while (await events.ReadLineAsync() is { } line)
{
    if (line.Length == 0) continue;
    Console.WriteLine(line);
    if (line.EndsWith("one", StringComparison.Ordinal)) await client.GetStringAsync("/release");
}

/// <summary>A body whose length is not known ahead.</summary>
internal sealed class Unseekable(byte[] bytes) : MemoryStream(bytes)
{
    public override bool CanSeek => false;
}
