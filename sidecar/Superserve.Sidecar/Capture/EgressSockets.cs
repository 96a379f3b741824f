using System.Net.Sockets;
using Superserve.Sidecar.Configuration;

namespace Superserve.Sidecar.Capture;

/// <summary>
/// Makes every socket by which the sidecar itself reaches out. Under transparent capture they carry <see cref="Mark"/>, which lets
/// them past the rules of the pod's network; the sandbox lacks the capability to set it.
/// </summary>
internal sealed class EgressSockets(SidecarOptions options)
{
    /// <summary>The mark (SO_MARK) of the sidecar's own packets. It counts in the pod's network namespace alone.</summary>
    public const int Mark = 0x5353;

    // <asm-generic/socket.h>
    private const int SolSocket = 1;
    private const int SoMark = 36;

    /// <summary>A new socket, marked where the rules ask for it.</summary>
    /// <exception cref="InvalidOperationException">The mark cannot be set.</exception>
    public Socket Create(AddressFamily family, SocketType type, ProtocolType protocol) =>
        options.Capture == CaptureMode.Transparent ? CreateMarked(family, type, protocol) : new Socket(family, type, protocol);

    /// <summary>A new socket with the mark.</summary>
    /// <exception cref="InvalidOperationException">The mark cannot be set.</exception>
    public static Socket CreateMarked(AddressFamily family, SocketType type, ProtocolType protocol)
    {
        Socket socket = new(family, type, protocol);
        try
        {
            SetMarkOf(socket);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Marks a new socket where the rules ask for it.</summary>
    /// <exception cref="InvalidOperationException">The mark cannot be set.</exception>
    public void SetMark(Socket socket)
    {
        if (options.Capture == CaptureMode.Transparent) SetMarkOf(socket);
    }

    private static void SetMarkOf(Socket socket)
    {
        try
        {
            socket.SetRawSocketOption(SolSocket, SoMark, BitConverter.GetBytes(Mark));
        }
        catch (SocketException exception)
        {
            throw new InvalidOperationException(
                $"The sidecar cannot mark its connections ({exception.SocketErrorCode}), and the pod's network lets out no others. It needs the capability NET_RAW, and before Linux 5.17 NET_ADMIN (value sidecar.netAdmin). In a pod admission writes them: look at what changed the pod after it.", exception);
        }
    }
}
