using System.IO.Pipelines;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Microsoft.AspNetCore.Http.Features;

namespace Superserve.Sidecar.Proxy;

/// <summary>A stream as the pair of pipes that the HTTP server reads and writes.</summary>
/// <param name="stream">What is read and written: a connection, or TLS on it.</param>
/// <param name="connection">The connection.</param>
internal sealed class StreamPipe(Stream stream, SocketStream connection) : IDuplexPipe
{
    /// <summary>What is written at once leaves in writes of this size: room for some frames, so that TLS records are full ones.</summary>
    private const int WriteLength = 64 * 1024;

    public PipeReader Input { get; } = PipeReader.Create(stream, new StreamPipeReaderOptions(bufferSize: 16 * 1024, minimumReadSize: 4 * 1024, leaveOpen: true, useZeroByteReads: true));

    public PipeWriter Output { get; } = PipeWriter.Create(stream == connection ? stream : new GatheringStream(stream, connection), new StreamPipeWriterOptions(minimumBufferSize: WriteLength, leaveOpen: true));

    public async Task CompleteAsync()
    {
        await Input.CompleteAsync();
        await Output.CompleteAsync();
    }
}

/// <summary>TLS on a connection, of which the records of one write leave together instead of one by one.</summary>
internal sealed class GatheringStream(Stream stream, SocketStream connection) : WriteOnlyStream
{
    private const int RecordLength = 16 * 1024;

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        bool isOneRecord = buffer.Length <= RecordLength;
        if (!isOneRecord) connection.Hold();
        await stream.WriteAsync(buffer, cancellationToken);
        if (!isOneRecord) await connection.SendHeldAsync(cancellationToken);
    }

    public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}

/// <summary>
/// Tells the HTTP server which protocol a connection speaks. It takes HTTP/2 only from a TLS connection with that protocol
/// negotiated, so plain HTTP/2 says the same of itself; whether a request came over TLS is <see cref="SandboxConnection.Handling"/>.
/// </summary>
internal sealed class NegotiatedProtocol(ReadOnlyMemory<byte> protocol) : ITlsApplicationProtocolFeature, ITlsConnectionFeature
{
    public ReadOnlyMemory<byte> ApplicationProtocol { get; } = protocol;

    public X509Certificate2? ClientCertificate { get; set; }

    public Task<X509Certificate2?> GetClientCertificateAsync(CancellationToken cancellationToken) => Task.FromResult<X509Certificate2?>(null);
}
