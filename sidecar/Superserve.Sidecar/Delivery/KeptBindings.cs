using System.Collections.Immutable;
using Google.Protobuf;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;
using Superserve.Protocol;
using Superserve.Sidecar.Trust;
using Message = Superserve.Protocol.Snapshot;

namespace Superserve.Sidecar.Delivery;

/// <summary>
/// The bindings that the sandbox has or had, in the state directory: a restarted sidecar goes on obeying those that are lost. The
/// file is a snapshot message with bindings alone, so that it is checked as one.
/// </summary>
internal sealed class KeptBindings(string stateDirectory)
{
    private const int MaxLength = 8 * SnapshotMapping.MaxMessageLength;

    private readonly string _file = Path.Combine(stateDirectory, "bindings");
    private byte[] _written = [];

    /// <summary>Reads what was kept.</summary>
    /// <exception cref="InvalidOperationException">There is a file, and it cannot be used: the pod's network rules are not known.</exception>
    public KnownBindings Load()
    {
        if (!File.Exists(_file)) return KnownBindings.None;
        string problem;
        try
        {
            if (new FileInfo(_file).Length > MaxLength) throw new IOException("it is too long");
            _written = File.ReadAllBytes(_file);
            if (SnapshotMapping.TryToBindings(Message.Parser.ParseFrom(_written).Bindings, out ImmutableArray<BindingRules> bindings, out IReadOnlyList<SpecError> errors))
                return new KnownBindings([], bindings);
            problem = errors[0].ToString();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            problem = exception.Message;
        }

        throw new InvalidOperationException($"{_file} cannot be used: {problem} It holds the network rules that this pod has to obey; make the pod anew.");
    }

    /// <summary>Keeps them, if they changed.</summary>
    /// <exception cref="IOException">They cannot be kept.</exception>
    public void Save(KnownBindings known)
    {
        byte[] bytes = new Message { Bindings = { known.All.Select(SnapshotMapping.ToMessage) } }.ToByteArray();
        if (bytes.AsSpan().SequenceEqual(_written)) return;
        AtomicFile.Write(_file, bytes, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        _written = bytes;
    }
}
