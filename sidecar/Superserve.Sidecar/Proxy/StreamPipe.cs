using System.IO.Pipelines;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Microsoft.AspNetCore.Http.Features;

namespace Superserve.Sidecar.Proxy;

/// <summary>A stream as the pair of pipes that the HTTP server reads and writes.</summary>
internal sealed class StreamPipe(Stream stream) : IDuplexPipe
{
    public PipeReader Input { get; } = PipeReader.Create(stream, new StreamPipeReaderOptions(bufferSize: 16 * 1024, minimumReadSize: 4 * 1024, leaveOpen: true, useZeroByteReads: true));

    public PipeWriter Output { get; } = PipeWriter.Create(stream, new StreamPipeWriterOptions(leaveOpen: true));

    public async Task CompleteAsync()
    {
        await Input.CompleteAsync();
        await Output.CompleteAsync();
    }
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
