namespace Superserve.Sidecar.Http1;

/// <summary>A message that is no HTTP/1.1, or could be read in two ways.</summary>
/// <param name="message">What is wrong with it; nothing of the message itself.</param>
/// <param name="status">What a client that sent it is answered.</param>
internal sealed class Http1FormatException(string message, int status = StatusCodes.Status400BadRequest) : IOException(message)
{
    public int Status { get; } = status;
}
