using System.Buffers.Binary;
using Microsoft.AspNetCore.Http;

namespace Superserve.Network.Tests.Clients;

/// <summary>
/// A gRPC service with each kind of call, whose messages are bytes as they are. Written by the protocol (gRPC over HTTP2) and not with a
/// library: it is the clients that are tried.
/// </summary>
internal static class GrpcEcho
{
    private const int FailedPrecondition = 9;

    public static async Task AnswerAsync(HttpContext context)
    {
        context.Response.ContentType = "application/grpc";
        await context.Response.StartAsync();
        string method = context.Request.Path.Value!.Split('/')[^1];
        List<byte> all = [];
        await foreach (byte[] message in ReadAsync(context.Request.Body))
        {
            all.AddRange(message);
            if (method is "Unary" or "Both") await WriteAsync(context.Response, message);
            if (method == "ServerStream")
                for (byte number = (byte)'1'; number <= message[0]; number++) await WriteAsync(context.Response, [number]);
        }

        if (method == "ClientStream") await WriteAsync(context.Response, [.. all]);
        context.Response.AppendTrailer("grpc-status", $"{(method == "Fail" ? FailedPrecondition : 0)}");
        if (method == "Fail") context.Response.AppendTrailer("grpc-message", "not now");
        context.Response.AppendTrailer("answered", method);
    }

    private static async IAsyncEnumerable<byte[]> ReadAsync(Stream body)
    {
        byte[] head = new byte[5];
        while (await body.ReadAtLeastAsync(head, head.Length, throwOnEndOfStream: false) == head.Length)
        {
            byte[] message = new byte[BinaryPrimitives.ReadInt32BigEndian(head.AsSpan(1))];
            await body.ReadExactlyAsync(message);
            yield return message;
        }
    }

    private static async Task WriteAsync(HttpResponse response, byte[] message)
    {
        byte[] frame = new byte[5 + message.Length];
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(1), message.Length);
        message.CopyTo(frame, 5);
        await response.Body.WriteAsync(frame);
        await response.Body.FlushAsync();
    }
}
