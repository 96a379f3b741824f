using System.Globalization;
using System.IO.Compression;
using System.Net.Security;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Sidecar.Tests.Http1;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>Connections share buffers: what one does at its worst moment is never seen by another.</summary>
public sealed class NeighbourTests
{
    private const string Host = "api.service.test";
    private const int Clients = 4, Rounds = 40;

    [Fact]
    public async Task Clients_beside_ones_that_break_off_at_any_point_get_what_is_theirs_and_nothing_else()
    {
        await using WireService service = WireService.Start(Host, ServeAsync);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", "real-credential-0123456789", Host));
        Task[] honest = [.. Enumerable.Range(1, Clients).Select(seed => Task.Run(() => EchoAsync(sidecar, new Dice((ulong)seed * 77_777))))];
        Task[] others = [.. Enumerable.Range(1, Clients).Select(seed => Task.Run(() => BreakOffAsync(sidecar, new Dice((ulong)seed * 99_999))))];
        await Task.WhenAll([.. honest, .. others]);
    }

    private static async Task EchoAsync(TestSidecar sidecar, Dice dice)
    {
        RawClient client = await sidecar.OpenTlsAsync(Host);
        try
        {
            for (int i = 0; i < Rounds; i++)
            {
                byte[] body = new byte[dice.Next(1, 60_000)];
                dice.NextBytes(body);
                string text = Wire.Text(body);
                await client.SendAsync($"POST /echo HTTP/1.1\r\nHost: {Host}\r\n{Authorization(sidecar, dice)}Content-Length: {body.Length}\r\n\r\n");
                foreach (byte[] piece in dice.Cut(body, 20_000)) await client.SendAsync(piece);
                RawResponse response = await client.ReadResponseAsync();
                Assert.True(response.Status == 200 && response.Body == text, $"{response.Status} {response.Body.Length} of {text.Length}");
                bool isEarly = dice.Next(3) == 0;
                if (isEarly)
                {
                    // Answered while it is still on its way: whether the connection is kept only the sidecar knows.
                    await client.SendAsync($"POST /early HTTP/1.1\r\nHost: {Host}\r\n{Authorization(sidecar, dice)}Content-Length: {body.Length}\r\n\r\n");
                    await client.SendAsync(body);
                    Assert.Equal(new string('#', 20_000), (await client.ReadResponseAsync()).Body);
                }

                if (!isEarly && dice.Next(4) > 0) continue;
                await client.DisposeAsync();
                client = await sidecar.OpenTlsAsync(Host);
            }
        }
        finally
        {
            await client.DisposeAsync();
        }
    }

    private static async Task BreakOffAsync(TestSidecar sidecar, Dice dice)
    {
        for (int i = 0; i < Rounds; i++)
        {
            await using RawClient client = await sidecar.OpenTlsAsync(Host);
            string path = ((string[])["/echo", "/early", "/switch", "/zip", "/cut", "/silent"])[dice.Next(6)];
            string framing = dice.Next(4) switch
            {
                0 => "",
                1 => "Content-Length: 30000\r\n",
                2 => "Transfer-Encoding: chunked\r\n",
                _ => "Connection: Upgrade\r\nUpgrade: websocket\r\n" + (dice.Next(2) == 0 ? "Content-Length: 30000\r\n" : ""),
            };
            try
            {
                await client.SendAsync($"GET {path} HTTP/1.1\r\nHost: {Host}\r\n{Authorization(sidecar, dice)}{framing}\r\n");
                for (int sent = dice.Next(4); sent > 0; sent--) await client.SendAsync(framing.StartsWith('T') ? $"1388\r\n{new string('#', 5000)}\r\n" : new string('#', 5000));
                if (path is not ("/echo" or "/silent") && dice.Next(2) == 0) await client.ReadSomeAsync();
                switch (dice.Next(4))
                {
                    case 0: client.Abort(); break;
                    case 1: client.EndSending(); break;
                    case 2: await ((SslStream)client.Stream).ShutdownAsync(); break;
                }

                // What comes late finds nobody's buffer.
                await client.SendAsync(new string('#', 5000));
            }
            catch (Exception exception) when (exception is IOException or ObjectDisposedException or InvalidOperationException)
            {
                // The sidecar was through with it.
            }
        }
    }

    private static string Authorization(TestSidecar sidecar, Dice dice) => dice.Next(2) == 0 ? "" : $"Authorization: Bearer {sidecar.StandIn("KEY")}\r\n";

    private static async Task ServeAsync(WireConnection connection)
    {
        while (await connection.ReadHeadAsync() is { Length: > 0 } head)
        {
            switch (head.Split(' ')[1])
            {
                case "/echo":
                    if (RawService.Field(head, "Content-Length") is not { } length) return;
                    string body = await connection.ReadAsync(int.Parse(length, CultureInfo.InvariantCulture));
                    await connection.SendAsync("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                    for (int at = 0; at < body.Length; at += 9_000)
                    {
                        string piece = body[at..Math.Min(body.Length, at + 9_000)];
                        await connection.SendAsync($"{piece.Length:x}\r\n{piece}\r\n");
                    }

                    await connection.SendAsync("0\r\n\r\n");
                    break;
                case "/early":
                    await connection.SendAsync($"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n{new string('#', 20_000)}");
                    if (RawService.Field(head, "Transfer-Encoding") is not null) return;
                    await connection.ReadAsync(int.Parse(RawService.Field(head, "Content-Length") ?? "0", CultureInfo.InvariantCulture));
                    break;
                case "/switch":
                    await connection.SendAsync($"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n{new string('#', 5_000)}");
                    await connection.ReadSomeAsync();
                    await connection.SendAsync(new string('#', 5_000));
                    return;
                case "/zip":
                    await connection.SendAsync("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n");
                    string zipped = Wire.Text(Zip());
                    for (int at = 0; at < zipped.Length; at += 700)
                    {
                        string piece = zipped[at..Math.Min(zipped.Length, at + 700)];
                        await connection.SendAsync($"{piece.Length:x}\r\n{piece}\r\n");
                    }

                    await connection.SendAsync("0\r\n\r\n");
                    break;
                case "/cut":
                    await connection.SendAsync($"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n{new string('#', 10_000)}");
                    return;
                default:
                    await connection.ReadToEndAsync();
                    return;
            }
        }
    }

    private static byte[] Zip()
    {
        using MemoryStream bytes = new();
        using (GZipStream zip = new(bytes, CompressionLevel.NoCompression)) zip.Write(Wire.Bytes(new string('#', 50_000)));
        return bytes.ToArray();
    }
}
